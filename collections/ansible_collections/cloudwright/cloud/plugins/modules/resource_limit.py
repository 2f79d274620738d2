#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage limits of domains, accounts and projects."""

from __future__ import annotations

DOCUMENTATION = r"""
module: resource_limit
short_description: Manage limits of domains, accounts and projects
description:
  - Set how much a domain, an account or a project may have of something. What is there already stays.
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
  resource_type:
    description: What is limited.
    type: str
    required: true
    choices: [user_vm, public_ip, volume, snapshot, template, project, network, vpc, cpu, memory, primary_storage,
      secondary_storage]
  tag:
    description: Limit only what is on hosts or storage with this tag.
    type: str
  max:
    description: How many at most. Storage counts in GiB, memory in MiB. V(-1) is any number. Needed with
      O(state=present).
    type: int
  state:
    description: V(absent) has the same meaning as O(max=-1).
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
"""

EXAMPLES = r"""
- name: Let a department have 50 machines
  cloudwright.cloud.resource_limit:
    domain: ROOT/department
    resource_type: user_vm
    max: 50

- name: Let one of its accounts have 20 of them
  cloudwright.cloud.resource_limit:
    domain: ROOT/department
    account: web
    resource_type: user_vm
    max: 20
"""

RETURN = r"""
entity:
  description:
    - The limit with the fields of the API, as it is now. In check mode, as it would be.
    - None when what it belongs to does not exist.
  returned: success
  type: dict
"""

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity, State

TYPES = {
    "user_vm": 0,
    "public_ip": 1,
    "volume": 2,
    "snapshot": 3,
    "template": 4,
    "project": 5,
    "network": 6,
    "vpc": 7,
    "cpu": 8,
    "memory": 9,
    "primary_storage": 10,
    "secondary_storage": 11,
}

ENTITY = Entity(
    "resource_limit",
    update="updateResourceLimit",
    key=None,
    target=("resource_type", "tag", "domain", "account", "project"),
    state_field="max",
    states={
        "present": State(),
        "absent": State(gone=True, goal=(-1,), path={"*": (("updateResourceLimit", {"max": -1}),)}),
    },
    needs={
        "required_one_of": [("domain", "project")],
        "mutually_exclusive": [("account", "project")],
        "required_by": {"account": ["domain"]},
        "required_if": [("state", "present", ["max"])],
    },
    fields={
        "domain": {"type": "str", "ref": "domain", "find": True, "unless": ("project",), "use": "scope"},
        "account": {"type": "str", "find": True, "use": "scope"},
        "project": {"type": "str", "ref": "project", "within": ("domain",), "find": True, "use": "scope"},
        "resource_type": {
            "type": "str",
            "required": True,
            "choices": list(TYPES),
            "encode": TYPES.get,
            "find": True,
            "match": True,
            "use": "scope",
        },
        "tag": {"type": "str", "find": True, "match": True, "use": "scope"},
        "max": {"type": "int"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
