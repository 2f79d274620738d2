#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage snapshots of machines."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_snapshot
short_description: Manage snapshots of machines
description:
  - Take, delete and go back to snapshots of machines, of all disks together and of the memory if wanted.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description:
      - Name of the snapshot.
      - Cannot change after creation.
    type: str
  vm:
    description:
      - Name or id of the machine.
      - Needed to create a new one.
    type: str
  description:
    description:
      - A remark on it.
      - Cannot change after creation.
    type: str
  memory:
    description:
      - Whether to keep the memory of a running machine, too.
      - Cannot change after creation.
    type: bool
  zone:
    description: Name or id of the zone in which the machine is looked for.
    type: str
  state:
    description:
      - What the snapshot shall be.
      - V(reverted) makes the machine what it was when the snapshot was taken, and always reports a change.
        With memory it runs afterwards, without it is stopped.
    type: str
    choices: [present, absent, reverted]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
  - cloudwright.cloud.fields.owner
"""

EXAMPLES = r"""
- name: Keep a machine as it is now, with its memory
  cloudwright.cloud.vm_snapshot:
    name: before-upgrade
    vm: web1
    memory: true

- name: Go back to it
  cloudwright.cloud.vm_snapshot:
    name: before-upgrade
    vm: web1
    state: reverted
"""

RETURN = r"""
entity:
  description:
    - The snapshot with the fields of the API, as it is now. In check mode, as it would be.
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
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import OWNED_BESIDE

NAMED = {"vmsnapshotid": "id"}
ENTITY = Entity(
    "vm_snapshot",
    create="createVMSnapshot",
    delete="deleteVMSnapshot",
    ignore=("Expunging",),
    address={"deleteVMSnapshot": NAMED, "revertToVMSnapshot": NAMED},
    states={
        "present": State(),
        "absent": State(gone=True),
        "reverted": State(always="reverted", exists=True, path={"*": ["revertToVMSnapshot"]}),
    },
    fields={
        "name": {"type": "str", "field": "displayname", "update": False},
        "vm": {
            "type": "str",
            "ref": "vm",
            "api": "virtualmachineid",
            "within": ("zone", "domain", "account", "project"),
            "find": True,
            "needed": True,
            "update": False,
        },
        "description": {"type": "str", "update": False},
        "memory": {
            "type": "bool",
            "api": "snapshotmemory",
            "read": lambda found: found.get("type") == "DiskAndMemory",
            "update": False,
        },
        "zone": {"type": "str", "ref": "zone", "use": "scope"},
        **OWNED_BESIDE,
    },
)

if __name__ == "__main__":
    ENTITY.main()
