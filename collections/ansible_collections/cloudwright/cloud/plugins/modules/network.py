#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage guest networks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: network
short_description: Manage guest networks
description:
  - Create, change, restart and delete guest networks.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the network.
    type: str
  zone:
    description:
      - Name or id of the zone.
      - Needed to create a new one.
    type: str
  display_text:
    description: Text that users see beside the name. A new network gets its name.
    type: str
  network_offering:
    description:
      - Name or id of the network offering.
      - Needed to create a new one.
    type: str
  physical_network:
    description:
      - Name or id of the physical network, looked for in O(zone).
      - Cannot change after creation.
    type: str
  vlan:
    description:
      - VLAN of the network, a number or V(untagged), where the offering wants it.
      - Cannot change after creation.
    type: str
  gateway:
    description:
      - Gateway of the guests.
      - Cannot change after creation.
    type: str
  netmask:
    description:
      - Netmask of the guests.
      - Cannot change after creation.
    type: str
  start_ip:
    description: First address of a shared network. Only sent at creation, see M(cloudwright.cloud.vlan_ip_range).
    type: str
  end_ip:
    description: Last address of a shared network. Only sent at creation, see M(cloudwright.cloud.vlan_ip_range).
    type: str
  network_domain:
    description: DNS domain of the guests.
    type: str
  dns1:
    description: First name server of the guests.
    type: str
  dns2:
    description: Second name server of the guests.
    type: str
  acl_type:
    description:
      - Whether an account or a whole domain uses the network.
      - Cannot change after creation.
    type: str
    choices: [Account, Domain]
  forced:
    description: With O(state=absent), remove the network even if it is in use.
    type: bool
  state:
    description:
      - Whether the network exists.
      - V(restarted) makes its virtual routers anew, and always reports a change.
    type: str
    choices: [present, absent, restarted]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
  - cloudwright.cloud.fields.owner
"""

EXAMPLES = r"""
- name: Have a shared network
  cloudwright.cloud.network:
    name: guests
    zone: lab
    network_offering: DefaultSharedNetworkOffering
    vlan: untagged
    gateway: 10.92.0.1
    netmask: 255.255.255.0
    start_ip: 10.92.0.50
    end_ip: 10.92.0.100
"""

RETURN = r"""
entity:
  description:
    - The network with the fields of the API, as it is now. In check mode, as it would be.
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

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import PRESENT_ABSENT, Entity, State
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import OWNED

ENTITY = Entity(
    "network",
    create="createNetwork",
    update="updateNetwork",
    delete="deleteNetwork",
    states={
        **PRESENT_ABSENT,
        "restarted": State(always="restarted", path={"*": [("restartNetwork", {"cleanup": True})]}),
    },
    fields={
        "name": {"type": "str"},
        "zone": {"type": "str", "ref": "zone", "find": True, "needed": True, "update": False},
        "display_text": {"type": "str", "initial": lambda params: params["name"]},
        "network_offering": {"type": "str", "ref": "network_offering", "needed": True},
        "physical_network": {"type": "str", "ref": "physical_network", "within": ("zone",), "update": False},
        "vlan": {"type": "str", "update": False},
        "gateway": {"type": "str", "update": False},
        "netmask": {"type": "str", "update": False},
        "start_ip": {"type": "str", "shown": False},
        "end_ip": {"type": "str", "shown": False},
        "network_domain": {"type": "str"},
        "dns1": {"type": "str"},
        "dns2": {"type": "str"},
        "acl_type": {"type": "str", "choices": ["Account", "Domain"], "update": False},
        **OWNED,
        "forced": {"type": "bool", "use": "delete"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
