#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List accounts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: account_info
short_description: List accounts
description:
  - List accounts, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  domain:
    description: Name, path (as C(ROOT/department)) or id of the domain.
    type: str
  recursive:
    description: Whether to return accounts of the domains below O(domain), too.
    type: bool
    default: false
  state:
    description: Return only accounts in this state.
    type: str
    choices: [enabled, disabled, locked]
  account_type:
    description: Return only accounts of this type.
    type: str
    choices: [user, root_admin, domain_admin, resource_admin]
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
"""

EXAMPLES = r"""
- name: Read the accounts of a domain
  cloudwright.cloud.account_info:
    domain: ROOT/department
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

TYPES = {"user": 0, "root_admin": 1, "domain_admin": 2, "resource_admin": 3}

ENTITY = EntityInfo(
    "account",
    filters={
        "domain": {"type": "str", "ref": "domain"},
        "recursive": {"type": "bool", "api": "isrecursive", "default": False},
        "state": {"type": "str", "choices": ["enabled", "disabled", "locked"]},
        "account_type": {"type": "str", "choices": list(TYPES), "encode": TYPES.get},
    },
)

if __name__ == "__main__":
    ENTITY.main()
