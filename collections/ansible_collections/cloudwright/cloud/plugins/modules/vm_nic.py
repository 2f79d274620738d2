#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage single NICs of virtual machines."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_nic
short_description: Manage single NICs of virtual machines
description:
  - Give machines NICs and take them away, one at a time. M(cloudwright.cloud.vm) does so for all of a machine.
  - A machine has at most one NIC in each network.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  network:
    description: Name or id of the network of the NIC, looked for in O(zone).
    type: str
    required: true
  ip_address:
    description: Address in the network. By default a new NIC gets a free one. Changing it needs a stopped machine.
    type: str
  mac_address:
    description:
      - MAC address of the NIC. By default the server chooses one.
      - Cannot change after creation.
    type: str
  default:
    description:
      - V(true) makes it the default NIC of its machine.
      - With V(false) another one has to be the default one.
    type: bool
  state:
    description: Whether the machine has the NIC. The default one cannot be taken away.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.fields.owner
  - cloudwright.cloud.fields.machine
"""

EXAMPLES = r"""
- name: Have a NIC in another network
  cloudwright.cloud.vm_nic:
    vm: web1
    zone: lab
    network: back
    ip_address: 10.1.2.20

- name: Use it by default
  cloudwright.cloud.vm_nic:
    vm: web1
    zone: lab
    network: back
    default: true
"""

RETURN = r"""
entity:
  description:
    - The NIC with the fields of the API, as it is now. In check mode, as it would be.
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

from ansible_collections.cloudwright.cloud.plugins.module_utils._client import ApiError
from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import MACHINE

ADDRESS = "updateVmNicIp"
IN_ITS_VM = {"virtualmachineid": "virtualmachineid", "nicid": "id"}


def default(run, nic):
    """Make it the default one."""
    wanted = run.params["default"]
    if wanted is False and nic.get("isdefault"):
        raise ApiError("default: it is the default NIC, and stays it until another one is made the default one")
    if wanted and not nic.get("isdefault"):
        named = {"virtualmachineid": nic["virtualmachineid"], "nicid": nic["id"]}
        yield "default", False, True, "updateDefaultNicForVirtualMachine", named
        run.predicted["isdefault"] = True


ENTITY = Entity(
    "nic",
    key=None,
    create="addNicToVirtualMachine",
    delete="removeNicFromVirtualMachine",
    answers=False,
    prepare=default,
    address={"removeNicFromVirtualMachine": IN_ITS_VM, ADDRESS: {"nicid": "id"}},
    fields={
        **MACHINE,
        "vm": {**MACHINE["vm"], "find": True, "update": False},
        "network": {
            "type": "str",
            "required": True,
            "ref": "network",
            "within": ("zone", "domain", "account", "project"),
            "find": True,
            "update": False,
        },
        "ip_address": {"type": "str", "via": ADDRESS},
        "mac_address": {"type": "str", "update": False},
        "default": {"type": "bool", "use": "task"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
