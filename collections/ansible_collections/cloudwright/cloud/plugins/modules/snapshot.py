#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage snapshots of volumes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot
short_description: Manage snapshots of volumes
description:
  - Take, delete and go back to snapshots of disks. Their machines run on meanwhile.
  - A snapshot of a disk that was deleted is named without O(volume) and O(vm).
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the snapshot.
    type: str
  zones:
    description: Names or ids of the zones to copy a new snapshot to. Only sent at creation.
    type: list
    elements: str
  zone:
    description: Name or id of the zone in which the disk and its machine are looked for.
    type: str
  state:
    description:
      - What the snapshot shall be.
      - V(reverted) makes the disk what it was when the snapshot was taken, and always reports a change. A machine that
        has the disk must be stopped for it.
    type: str
    choices: [present, absent, reverted]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
  - cloudwright.cloud.fields.disk
  - cloudwright.cloud.fields.owner
"""

EXAMPLES = r"""
- name: Keep the root disk of a machine as it is now
  cloudwright.cloud.snapshot:
    name: before-upgrade
    vm: web1
    zone: lab

- name: Go back to it
  cloudwright.cloud.snapshot:
    name: before-upgrade
    vm: web1
    zone: lab
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
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import OF_DISK, OWNED_BESIDE

ENTITY = Entity(
    "snapshot",
    create="createSnapshot",
    delete="deleteSnapshot",
    needs={"mutually_exclusive": [("volume", "vm")]},
    ignore=("Destroying", "Destroyed"),
    states={
        "present": State(),
        "absent": State(gone=True),
        "reverted": State(always="reverted", exists=True, path={"*": ["revertSnapshot"]}),
    },
    fields={
        "name": {"type": "str"},
        **OF_DISK,
        "zones": {"type": "list", "elements": "str", "ref": "zone", "shown": False},
        "zone": {"type": "str", "ref": "zone", "find": True, "use": "scope"},
        **OWNED_BESIDE,
    },
)

if __name__ == "__main__":
    ENTITY.main()
