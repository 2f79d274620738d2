#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage the rules of roles."""

from __future__ import annotations

DOCUMENTATION = r"""
module: role_permission
short_description: Manage the rules of roles
description:
  - Add, change, order and remove the rules of roles.
  - The first rule of a role that fits a command decides. What no rule fits is denied.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  role:
    description: Name or id of the role.
    type: str
    required: true
  rule:
    description: Name of a command, or a part of one with C(*), such as V(listVirtual*).
    type: str
    required: true
  permission:
    description:
      - Whether the rule allows or denies.
      - Needed to create a new one.
    type: str
    choices: [allow, deny]
  description:
    description:
      - Why.
      - Cannot change after creation.
    type: str
  position:
    description: Place of the rule among those of the role, from 1. A new rule comes last unless it is given.
    type: int
  state:
    description: Whether the rule exists.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
"""

EXAMPLES = r"""
- name: Let the role read everything but users
  cloudwright.cloud.role_permission:
    role: Auditor
    rule: "{{ item.rule }}"
    permission: "{{ item.permission }}"
    position: "{{ position + 1 }}"
  loop:
    - {rule: listUsers, permission: deny}
    - {rule: "list*", permission: allow}
  loop_control:
    index_var: position
"""

RETURN = r"""
entity:
  description:
    - The rule with the fields of the API, as it is now. In check mode, as it would be.
    - None when there is none any more.
  returned: success
  type: dict
"""

from ansible_collections.cloudwright.cloud.plugins.module_utils._client import ApiError
from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity
from ansible_collections.cloudwright.cloud.plugins.module_utils._kinds import list_entities


def check(options):
    """Positions are counted from 1."""
    if options.get("position") is not None and options["position"] < 1:
        raise ApiError(f"position {options['position']} is none: the first rule of a role has 1")


def placed(run, rule):
    """The step that puts the rule where it should be."""
    wanted = run.params["position"]
    if wanted is None:
        return []
    order = [other["id"] for other in list_entities(run.client, "role_permission", roleid=rule["roleid"])]
    now, wanted = order.index(rule["id"]) + 1, min(wanted, len(order))
    if now == wanted:
        return []
    order.remove(rule["id"])
    order.insert(wanted - 1, rule["id"])
    return [("position", now, wanted, "updateRolePermission", {"roleid": rule["roleid"], "ruleorder": order})]


ENTITY = Entity(
    "role_permission",
    create="createRolePermission",
    update="updateRolePermission",
    delete="deleteRolePermission",
    key="rule",
    target=("role", "rule"),
    check=check,
    prepare=placed,
    address={
        "updateRolePermission": {"roleid": "roleid", "ruleid": "id"},
        "deleteRolePermission": {"id": "id"},
    },
    fields={
        "role": {"type": "str", "required": True, "ref": "role", "find": True, "update": False},
        "rule": {"type": "str", "required": True, "update": False},
        "permission": {"type": "str", "choices": ["allow", "deny"], "needed": True},
        "description": {"type": "str", "update": False},
        "position": {"type": "int", "create": False, "use": "task"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
