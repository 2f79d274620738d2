#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List limits of domains, accounts and projects."""

from __future__ import annotations

DOCUMENTATION = r"""
module: resource_limit_info
short_description: List limits of domains, accounts and projects
description:
  - List the limits of a domain, an account or a project. By default those of the task's own account.
  - The O(name) of a limit is the type of what is limited, such as V(user_vm).
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  domain:
    description: Name, path (as C(ROOT/department)) or id of the domain, or of the domain of O(account) or O(project).
    type: str
  account:
    description: Name of the account. Needs O(domain).
    type: str
  project:
    description: Name or id of the project, looked for in O(domain).
    type: str
  tag:
    description: Return only limits of what is on hosts or storage with this tag.
    type: str
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.listed
  - cloudwright.cloud.api.named
"""

EXAMPLES = r"""
- name: Read how many machines an account may have
  cloudwright.cloud.resource_limit_info:
    domain: ROOT/department
    account: web
    name: user_vm
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
    "resource_limit",
    by=("name",),
    filters={
        "domain": {"type": "str", "ref": "domain", "unless": ("project",)},
        "account": {"type": "str"},
        "project": {"type": "str", "ref": "project", "within": ("domain",)},
        "tag": {"type": "str"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
