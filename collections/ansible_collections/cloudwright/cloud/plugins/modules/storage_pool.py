#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage primary storage."""

from __future__ import annotations

DOCUMENTATION = r"""
module: storage_pool
short_description: Manage primary storage
description:
  - Create, change, enable, disable and delete storage pools, and put them into maintenance.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the storage pool.
    type: str
  zone:
    description:
      - Name or id of the zone.
      - Needed to create a new one.
    type: str
  pod:
    description:
      - Name or id of the pod, looked for in O(zone).
      - Cannot change after creation.
    type: str
  cluster:
    description:
      - Name or id of the cluster, looked for in O(pod) and O(zone).
      - Cannot change after creation.
    type: str
  url:
    description:
      - Where the storage is, such as V(nfs://server/path).
      - Needed to create a new one.
      - Cannot change after creation.
    type: str
  scope:
    description:
      - Who uses the pool. V(CLUSTER) if O(cluster) is given, else V(ZONE).
      - Cannot change after creation.
    type: str
    choices: [CLUSTER, ZONE]
  hypervisor:
    description:
      - Hypervisor of the hosts. A pool of a whole zone needs it.
      - Cannot change after creation.
    type: str
  provider:
    description:
      - Storage provider.
      - Cannot change after creation.
    type: str
  tags:
    description: Tags by which offerings choose the pool.
    type: list
    elements: str
  details:
    description: Details for the provider. Only sent at creation.
    type: dict
  forced:
    description: With O(state=absent), remove the pool at once. Otherwise it goes through maintenance.
    type: bool
  state:
    description:
      - Whether the pool exists.
      - V(enabled) and V(disabled) say whether new disks may be placed on it, V(maintenance) stops what uses it.
    type: str
    choices: [present, absent, enabled, disabled, maintenance]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
"""

EXAMPLES = r"""
- name: Have an NFS pool for one cluster
  cloudwright.cloud.storage_pool:
    name: primary
    zone: lab
    pod: pod1
    cluster: c1
    url: nfs://10.91.0.13/srv/export/primary
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

from ansible_collections.cloudwright.cloud.plugins.module_utils._compare import UNKNOWN
from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity, State


def url(pool):
    """The URL of a pool, where the answer can tell."""
    known = pool.get("type") == "NetworkFilesystem" and pool.get("ipaddress") and pool.get("path")
    return "nfs://{ipaddress}{path}".format(**pool) if known else UNKNOWN


ENTITY = Entity(
    "storage_pool",
    create="createStoragePool",
    update="updateStoragePool",
    delete="deleteStoragePool",
    states={
        "present": State(),
        "absent": State(
            gone=True,
            path={"Maintenance": ["deleteStoragePool"], "*": ["enableStorageMaintenance", "deleteStoragePool"]},
        ),
        "enabled": State(
            goal=("Up",),
            path={"Disabled": [("updateStoragePool", {"enabled": True})], "*": ["cancelStorageMaintenance"]},
        ),
        "disabled": State(goal=("Disabled",), path={"Up": [("updateStoragePool", {"enabled": False})]}),
        "maintenance": State(goal=("Maintenance",), path={"*": ["enableStorageMaintenance"]}),
    },
    fields={
        "name": {"type": "str"},
        "zone": {"type": "str", "ref": "zone", "find": True, "needed": True, "update": False},
        "pod": {"type": "str", "ref": "pod", "within": ("zone",), "update": False},
        "cluster": {"type": "str", "ref": "cluster", "within": ("zone", "pod"), "update": False},
        "url": {"type": "str", "needed": True, "read": url, "update": False},
        "scope": {
            "type": "str",
            "choices": ["CLUSTER", "ZONE"],
            "initial": lambda params: "CLUSTER" if params["cluster"] else "ZONE",
            "update": False,
        },
        "hypervisor": {"type": "str", "update": False},
        "provider": {"type": "str", "update": False},
        "tags": {"type": "list", "elements": "str"},
        "details": {"type": "dict", "shown": False},
        "forced": {"type": "bool", "use": "delete"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
