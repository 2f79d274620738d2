#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take storage pools out of service and back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: storage_maintenance
short_description: Take storage pools out of service and back
description:
  - Empty a storage pool for work on it, and give it back.
  - Disks of running machines move where they fit. Other machines are stopped, and start again when the pool comes back.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the storage pool.
    type: str
  zone:
    description: Name or id of the zone.
    type: str
  state:
    description: Whether the storage pool is out of service.
    type: str
    choices: [maintenance, enabled]
    default: maintenance
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
"""

EXAMPLES = r"""
- name: Empty a pool
  cloudwright.cloud.storage_maintenance:
    name: primary
    wait_timeout: 3600

- name: Give it back
  cloudwright.cloud.storage_maintenance:
    name: primary
    state: enabled
"""

RETURN = r"""
entity:
  description:
    - The storage pool with the fields of the API, as it is now. In check mode, as it would be.
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


def broken(pool):
    """Why it will never be empty, or None; the job itself tells more."""
    if pool.get("state") == "ErrorInMaintenance":
        return "is ErrorInMaintenance: some machines could not be moved or stopped; see the pool's events and alerts"
    return None


ENTITY = Entity(
    "storage_pool",
    broken=broken,
    states={
        "maintenance": State(goal=("Maintenance",), path={"*": ["enableStorageMaintenance"]}),
        "enabled": State(
            goal=("Up",),
            path={"Disabled": [("updateStoragePool", {"enabled": True})], "*": ["cancelStorageMaintenance"]},
        ),
    },
    fields={
        "name": {"type": "str"},
        "zone": {"type": "str", "ref": "zone", "find": True, "use": "scope"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
