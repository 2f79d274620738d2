#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take over machines that hosts have, and let them go."""

from __future__ import annotations

DOCUMENTATION = r"""
module: unmanaged_vm
short_description: Take over machines that hosts have, and let them go
description:
  - Take over a stopped machine of a host that the cloud does not know, with its disks where they are.
  - Make the cloud forget a machine that its host keeps.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name that the machine has in the cloud, and its host name.
    type: str
  instance:
    description: What the host calls it. By default O(name).
    type: str
  zone:
    description: Name or id of the zone.
    type: str
  cluster:
    description:
      - Name or id of the cluster of its host, looked for in O(zone).
      - Needed to take it over.
    type: str
  service_offering:
    description:
      - Name or id of the service offering that it gets.
      - Needed to take it over.
    type: str
  template:
    description: Name or id of the template that it is said to be from.
    type: str
  display_name:
    description: Name that users see.
    type: str
  nics:
    description: The networks of its NICs.
    type: list
    elements: dict
    suboptions:
      nic:
        description: Id of the NIC as M(cloudwright.cloud.unmanaged_vm_info) has it, which is its MAC address.
        type: str
        required: true
      network:
        description: Name or id of the network.
        type: str
        required: true
      ip_address:
        description: Address in the network. By default a free one.
        type: str
  data_disks:
    description: The offerings of its data disks.
    type: list
    elements: dict
    suboptions:
      disk:
        description: Id of the disk as M(cloudwright.cloud.unmanaged_vm_info) has it.
        type: str
        required: true
      disk_offering:
        description: Name or id of the disk offering.
        type: str
        required: true
  forced:
    description:
      - Whether a NIC whose MAC address another one has gets a new one.
      - Whether a machine that is let go loses the ISO in its drive first.
    type: bool
  migrate_allowed:
    description: Whether disks, and a machine that runs, move where they are not where their offerings want them.
    type: bool
  host:
    description:
      - Name or id of the host that keeps a stopped machine which is let go, looked for in O(zone).
      - By default the one on which it ran last.
    type: str
  state:
    description: Whether the cloud has the machine. What it lets go stays on its host as it is.
    type: str
    choices: [managed, unmanaged]
    default: managed
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
  - cloudwright.cloud.fields.owner
"""

EXAMPLES = r"""
- name: Take over a machine
  cloudwright.cloud.unmanaged_vm:
    name: old-mail
    instance: mail.example.org
    zone: lab
    cluster: c1
    service_offering: Small Instance
    nics:
      - nic: "52:54:00:12:34:56"
        network: guests

- name: Let it go
  cloudwright.cloud.unmanaged_vm:
    name: old-mail
    zone: lab
    state: unmanaged
"""

RETURN = r"""
entity:
  description:
    - The virtual machine with the fields of the API, as it is now. In check mode, as it would be.
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
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import OWNED
from ansible_collections.cloudwright.cloud.plugins.module_utils._kinds import lookup
from ansible_collections.cloudwright.cloud.plugins.module_utils._machines import place


def networks(run):
    """The networks of its NICs."""
    where = place(run)
    nics = run.params["nics"] or []
    named = [(nic["nic"], lookup(run.client, "network", nic["network"], **where)["id"]) for nic in nics]
    return [{"nic": nic, "network": network} for nic, network in named] or None


def addresses(run):
    """The addresses of its NICs: what is not given is chosen by the server."""
    return [{"nic": nic["nic"], "ip4Address": nic["ip_address"] or "auto"} for nic in run.params["nics"] or []] or None


def disks(run):
    """The offerings of its data disks."""
    given = run.params["data_disks"] or []
    named = [(disk["disk"], lookup(run.client, "disk_offering", disk["disk_offering"])["id"]) for disk in given]
    return [{"disk": disk, "diskOffering": offering} for disk, offering in named] or None


ENTITY = Entity(
    "vm",
    create="importUnmanagedInstance",
    delete="unmanageVirtualMachine",
    ignore=("Destroyed", "Expunging"),
    states={"managed": State(), "unmanaged": State(gone=True)},
    derived={"nicnetworklist": networks, "nicipaddresslist": addresses, "datadiskofferinglist": disks},
    fields={
        "name": {"type": "str", "api": "hostname", "field": "name", "update": False},
        "instance": {"type": "str", "api": "name", "initial": lambda params: params["name"], "shown": False},
        "zone": {"type": "str", "ref": "zone", "find": True, "use": "scope"},
        "cluster": {"type": "str", "ref": "cluster", "within": ("zone",), "needed": True, "shown": False},
        "service_offering": {"type": "str", "ref": "service_offering", "needed": True, "shown": False},
        "template": {"type": "str", "ref": "template", "within": ("zone",), "shown": False},
        "display_name": {"type": "str", "update": False},
        "nics": {
            "type": "list",
            "elements": "dict",
            "options": {
                "nic": {"type": "str", "required": True},
                "network": {"type": "str", "required": True},
                "ip_address": {"type": "str"},
            },
            "use": "task",
        },
        "data_disks": {
            "type": "list",
            "elements": "dict",
            "options": {
                "disk": {"type": "str", "required": True},
                "disk_offering": {"type": "str", "required": True},
            },
            "use": "task",
        },
        "forced": {"type": "bool", "shown": False, "along": ("unmanageVirtualMachine",)},
        "migrate_allowed": {"type": "bool", "shown": False},
        "host": {"type": "str", "ref": "host", "within": ("zone",), "use": "delete"},
        **OWNED,
    },
)

if __name__ == "__main__":
    ENTITY.main()
