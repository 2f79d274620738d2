#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host
short_description: Manage hosts
description:
  - Take hosts into a cluster, change them, put them into maintenance and remove them.
  - A new host is waited for until it is Up.
  - The host is known by O(name). If the server names it otherwise when it is added, it is renamed.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the host.
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
  cluster:
    description:
      - Name or id of the cluster, looked for in O(pod) and O(zone).
      - Needed to create a new one.
    type: str
  hypervisor:
    description:
      - Hypervisor of the host, such as V(KVM) or V(Simulator).
      - Needed to create a new one.
      - Cannot change after creation.
    type: str
  url:
    description: Address of the host, such as V(http://kvm1). Unless given it is made of O(name). Only sent when the
      host is added.
    type: str
  username:
    description: User to log in with, where the hypervisor needs one. Only sent when the host is added.
    type: str
  password:
    description: Password to log in with, where the hypervisor needs one. Only sent when the host is added.
    type: str
  host_tags:
    description: Tags by which service offerings choose the host.
    type: list
    elements: str
  forced:
    description: With O(state=absent), remove the host at once. Otherwise it goes through maintenance, which moves its
      machines away.
    type: bool
  state:
    description:
      - Whether the host is in the cluster.
      - V(enabled) and V(disabled) say whether new machines may start on it, V(maintenance) moves its machines away.
    type: str
    choices: [present, absent, enabled, disabled, maintenance]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
"""

EXAMPLES = r"""
- name: Take a host into the cluster
  cloudwright.cloud.host:
    name: kvm1
    zone: lab
    pod: pod1
    cluster: c1
    hypervisor: KVM
    url: http://kvm1
"""

RETURN = r"""
entity:
  description:
    - The host with the fields of the API, as it is now. In check mode, as it would be.
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

ENABLE = {"allocationstate": "Enable"}
DISABLE = {"allocationstate": "Disable"}
ENTITY = Entity(
    "host",
    create="addHost",
    update="updateHost",
    delete="deleteHost",
    state_field="resourcestate",
    ready={"state": "Up"},
    states={
        "present": State(),
        "absent": State(
            gone=True,
            path={"Maintenance": ["deleteHost"], "*": ["prepareHostForMaintenance", "deleteHost"]},
        ),
        "enabled": State(
            goal=("Enabled",),
            path={"Disabled": [("updateHost", ENABLE)], "*": ["cancelHostMaintenance"]},
        ),
        "disabled": State(
            goal=("Disabled",),
            path={
                "Enabled": [("updateHost", DISABLE)],
                "Maintenance": ["cancelHostMaintenance", ("updateHost", DISABLE)],
            },
        ),
        "maintenance": State(goal=("Maintenance",), path={"*": ["prepareHostForMaintenance"]}),
    },
    fields={
        "name": {"type": "str", "create": False},
        "zone": {"type": "str", "ref": "zone", "find": True, "needed": True, "update": False},
        "pod": {
            "type": "str",
            "ref": "pod",
            "within": ("zone",),
            "find": True,
            "needed": True,
            "update": False,
        },
        "cluster": {
            "type": "str",
            "ref": "cluster",
            "within": ("zone", "pod"),
            "find": True,
            "needed": True,
            "update": False,
        },
        "hypervisor": {"type": "str", "needed": True, "update": False},
        "url": {"type": "str", "initial": lambda params: "http://" + params["name"], "shown": False},
        "username": {"type": "str", "shown": False},
        "password": {"type": "str", "no_log": True, "shown": False},
        "host_tags": {
            "type": "list",
            "elements": "str",
            "read": lambda host: host.get("explicithosttags", host.get("hosttags")),
        },
        "forced": {"type": "bool", "use": "delete"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
