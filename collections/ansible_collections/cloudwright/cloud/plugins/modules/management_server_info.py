#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List management servers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: management_server_info
short_description: List management servers
description:
  - List management servers, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  version:
    description: Return only servers of this version.
    type: str
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
"""

EXAMPLES = r"""
- name: Read the management servers
  cloudwright.cloud.management_server_info:
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

ENTITY = EntityInfo("management_server", filters={"version": {"type": "str"}})

if __name__ == "__main__":
    ENTITY.main()
