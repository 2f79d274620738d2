#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List domains."""

from __future__ import annotations

DOCUMENTATION = r"""
module: domain_info
short_description: List domains
description:
  - List domains, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  level:
    description: Return only domains so many levels below C(ROOT).
    type: int
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
"""

EXAMPLES = r"""
- name: Read a domain
  cloudwright.cloud.domain_info:
    name: ROOT/department
  register: found
"""

RETURN = r"""
entities:
  description: What was found, with the fields of the API.
  returned: success
  type: list
  elements: dict
"""

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import EntityInfo

ENTITY = EntityInfo("domain", filters={"level": {"type": "int"}})

if __name__ == "__main__":
    ENTITY.main()
