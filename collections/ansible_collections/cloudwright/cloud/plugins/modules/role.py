#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage roles."""

from __future__ import annotations

DOCUMENTATION = r"""
module: role
short_description: Manage roles
description:
  - Create, change, disable and delete roles.
  - What a role allows is said with M(cloudwright.cloud.role_permission).
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the role.
    type: str
  type:
    description: How far the role reaches. Needed to create a new one, unless O(clone_of) is given. Only while no
      account has the role can it change.
    type: str
    choices: [Admin, ResourceAdmin, DomainAdmin, User]
  clone_of:
    description: Name or id of the role whose type and rules a new one gets. Of use at creation only.
    type: str
  description:
    description: What the role is for.
    type: str
  is_public:
    description: Whether others than root administrators see the role.
    type: bool
  state:
    description:
      - Whether the role exists, and can be used.
      - Who has a V(disabled) role can call nothing.
    type: str
    choices: [present, enabled, disabled, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
"""

EXAMPLES = r"""
- name: Have a role of my own that begins with the rules of another
  cloudwright.cloud.role:
    name: Operator of networks
    clone_of: User
    description: Networks, and what is in them
"""

RETURN = r"""
entity:
  description:
    - The role with the fields of the API, as it is now. In check mode, as it would be.
    - None when there is none any more.
  returned: success
  type: dict
job_id:
  description: Id of the last job that the server started for the task.
  returned: when there was one
  type: str
duration:
  description: Seconds that the task took.
  returned: when there was a job
  type: float
"""

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity, State

ENTITY = Entity(
    "role",
    create="createRole",
    update="updateRole",
    delete="deleteRole",
    states={
        "present": State(),
        "enabled": State(goal=("enabled",), path={"*": ("enableRole",)}),
        "disabled": State(goal=("disabled",), path={"*": ("disableRole",)}),
        "absent": State(gone=True),
    },
    fields={
        "name": {"type": "str"},
        "type": {"type": "str", "choices": ["Admin", "ResourceAdmin", "DomainAdmin", "User"]},
        "clone_of": {"type": "str", "ref": "role", "api": "roleid", "shown": False},
        "description": {"type": "str"},
        "is_public": {"type": "bool"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
