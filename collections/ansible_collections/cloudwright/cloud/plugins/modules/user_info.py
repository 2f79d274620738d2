#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List users."""

from __future__ import annotations

DOCUMENTATION = r"""
module: user_info
short_description: List users
description:
  - List users, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  domain:
    description: Name, path (as C(ROOT/department)) or id of the domain.
    type: str
  account:
    description: Name of the account of the users. Needs O(domain).
    type: str
  state:
    description: Return only users in this state.
    type: str
    choices: [enabled, disabled, locked]
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
"""

EXAMPLES = r"""
- name: Read the users of an account
  cloudwright.cloud.user_info:
    domain: ROOT/department
    account: web
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

ENTITY = EntityInfo(
    "user",
    filters={
        "domain": {"type": "str", "ref": "domain"},
        "account": {"type": "str"},
        "state": {"type": "str", "choices": ["enabled", "disabled", "locked"]},
    },
)

if __name__ == "__main__":
    ENTITY.main()
