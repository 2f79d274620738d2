#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage secondary addresses of NICs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_nic_secondary_ip
short_description: Manage secondary addresses of NICs
description:
  - Reserve further addresses for NICs of virtual machines. The guest configures them by itself.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  ip_address:
    description: The address.
    type: str
  network:
    description: Name or id of the network of the NIC. By default it is the default NIC of the machine.
    type: str
  state:
    description: Whether the NIC has the address.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
  - cloudwright.cloud.fields.owner
  - cloudwright.cloud.fields.machine
"""

EXAMPLES = r"""
- name: Have an address for a service beside that of the machine
  cloudwright.cloud.vm_nic_secondary_ip:
    vm: web1
    zone: lab
    ip_address: 10.1.1.200
"""

RETURN = r"""
entity:
  description:
    - The address with the fields of the API, as it is now. In check mode, as it would be.
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
from ansible_collections.cloudwright.cloud.plugins.module_utils._kinds import list_entities


def its_nic(run):
    """The NIC that a new address is for."""
    nics = list_entities(run.client, "nic", virtualmachineid=run.wanted("vm"))
    network = run.wanted("network")
    for nic in nics:
        if nic.get("isdefault") if network is None else nic["networkid"] == network:
            return nic["id"]
    raise ApiError(f"vm {run.params['vm']!r} has no NIC in network {run.params['network']!r}")


ENTITY = Entity(
    "nic_address",
    key="ip_address",
    create="addIpToNic",
    delete="removeIpFromNic",
    answers=False,
    derived={"nicid": its_nic},
    fields={
        "ip_address": {"type": "str"},
        **MACHINE,
        "vm": {**MACHINE["vm"], "find": True, "use": "scope"},
        "network": {
            "type": "str",
            "ref": "network",
            "within": ("zone", "domain", "account", "project"),
            "find": True,
            "use": "scope",
        },
    },
)

if __name__ == "__main__":
    ENTITY.main()
