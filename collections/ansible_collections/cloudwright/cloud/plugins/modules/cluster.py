#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage clusters."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster
short_description: Manage clusters
description:
  - Create, change, enable, disable and delete clusters of hosts.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the cluster.
    type: str
  zone:
    description:
      - Name or id of the zone.
      - Needed to create a new one.
    type: str
  pod:
    description:
      - Name or id of the pod, looked for in O(zone).
      - Needed to create a new one.
    type: str
  hypervisor:
    description:
      - Hypervisor of the hosts, such as V(KVM), V(XenServer), V(VMware) or V(Simulator).
      - Needed to create a new one.
      - Cannot change after creation.
    type: str
  cluster_type:
    description:
      - Who manages the cluster. A new one is V(CloudManaged).
      - Cannot change after creation.
    type: str
    choices: [CloudManaged, ExternalManaged]
  arch:
    description: Processor architecture of the hosts.
    type: str
    choices: [x86_64, aarch64]
  state:
    description:
      - Whether the cluster exists.
      - V(enabled) and V(disabled) create it if need be, V(present) leaves both alone.
    type: str
    choices: [present, absent, enabled, disabled]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
"""

EXAMPLES = r"""
- name: Have a cluster
  cloudwright.cloud.cluster:
    name: c1
    zone: lab
    pod: pod1
    hypervisor: KVM
"""

RETURN = r"""
entity:
  description:
    - The cluster with the fields of the API, as it is now. In check mode, as it would be.
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

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import PRESENT_ABSENT, Entity, switches

ENTITY = Entity(
    "cluster",
    create="addCluster",
    update="updateCluster",
    delete="deleteCluster",
    state_field="allocationstate",
    states={**PRESENT_ABSENT, **switches("allocationstate")},
    fields={
        "name": {"type": "str", "api": "clustername", "field": "name"},
        "zone": {"type": "str", "ref": "zone", "find": True, "needed": True, "update": False},
        "pod": {
            "type": "str",
            "ref": "pod",
            "within": ("zone",),
            "find": True,
            "needed": True,
            "update": False,
        },
        "hypervisor": {"type": "str", "field": "hypervisortype", "needed": True, "update": False},
        "cluster_type": {
            "type": "str",
            "choices": ["CloudManaged", "ExternalManaged"],
            "initial": "CloudManaged",
            "update": False,
        },
        "arch": {"type": "str", "choices": ["x86_64", "aarch64"]},
    },
)

if __name__ == "__main__":
    ENTITY.main()
