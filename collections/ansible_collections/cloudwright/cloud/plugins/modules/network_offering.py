#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage network offerings."""

from __future__ import annotations

DOCUMENTATION = r"""
module: network_offering
short_description: Manage network offerings
description:
  - Create, change, enable, disable and delete offerings of networks.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the network offering.
    type: str
  display_text:
    description: Text that users see beside the name. A new network offering gets its name.
    type: str
  guest_ip_type:
    description:
      - Kind of the networks.
      - Needed to create a new one.
      - Cannot change after creation.
    type: str
    choices: [Isolated, Shared, L2]
  traffic_type:
    description:
      - Traffic of the networks. A new offering is for V(Guest).
      - Cannot change after creation.
    type: str
  supported_services:
    description:
      - Services of the networks. Unless given, those of O(service_providers).
      - Cannot change after creation.
    type: list
    elements: str
  service_providers:
    description:
      - Services and the provider of each, such as C(VirtualRouter) for C(Dhcp).
      - Cannot change after creation.
    type: dict
  service_capabilities:
    description: Capabilities, each a dictionary with C(service), C(capabilitytype) and C(capabilityvalue). Only sent
      at creation.
    type: list
    elements: dict
  specify_vlan:
    description:
      - Whether a new network says which VLAN it uses.
      - Cannot change after creation.
    type: bool
  specify_ip_ranges:
    description:
      - Whether a new network says which addresses it has.
      - Cannot change after creation.
    type: bool
  availability:
    description: Whether users may, must or cannot use it.
    type: str
    choices: [Optional, Required, Unavailable]
  conserve_mode:
    description:
      - Whether one public address may serve several services.
      - Cannot change after creation.
    type: bool
  egress_default_policy:
    description:
      - Whether what leaves is allowed unless a rule forbids it.
      - Cannot change after creation.
    type: bool
  is_persistent:
    description:
      - Whether networks are there before their first machine.
      - Cannot change after creation.
    type: bool
  for_vpc:
    description:
      - Whether the networks are tiers of a VPC.
      - Cannot change after creation.
    type: bool
  network_rate:
    description:
      - Rate limit in Mbit/s.
      - Cannot change after creation.
    type: int
  max_connections:
    description: Most connections of the load balancer.
    type: int
  service_offering:
    description:
      - Name or id of the offering for the virtual routers.
      - Cannot change after creation.
    type: str
  tags:
    description: Tags that a physical network must have.
    type: list
    elements: str
  domains:
    description: Names, paths or ids of the only domains that may use it.
    type: list
    elements: str
  zones:
    description: Names or ids of the only zones in which it can be used.
    type: list
    elements: str
  state:
    description:
      - Whether the network offering exists.
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
- name: Have an offering of shared networks with names and addresses
  cloudwright.cloud.network_offering:
    name: shared-untagged
    guest_ip_type: Shared
    specify_vlan: true
    specify_ip_ranges: true
    service_providers:
      Dhcp: VirtualRouter
      Dns: VirtualRouter
      UserData: VirtualRouter
    state: enabled
"""

RETURN = r"""
entity:
  description:
    - The network offering with the fields of the API, as it is now. In check mode, as it would be.
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


def pairs(providers):
    """{service: provider} as the API's list of pairs."""
    return [{"service": service, "provider": provider} for service, provider in providers.items()]


def provided(offering):
    """The same list, as an offering shows it."""
    services = offering.get("service", [])
    return [{"service": s["name"], "provider": p["name"]} for s in services for p in s.get("provider", [])]


ENTITY = Entity(
    "network_offering",
    create="createNetworkOffering",
    update="updateNetworkOffering",
    delete="deleteNetworkOffering",
    states={**PRESENT_ABSENT, **switches("state")},
    fields={
        "name": {"type": "str"},
        "display_text": {"type": "str", "initial": lambda params: params["name"]},
        "guest_ip_type": {
            "type": "str",
            "choices": ["Isolated", "Shared", "L2"],
            "needed": True,
            "update": False,
        },
        "traffic_type": {"type": "str", "initial": "Guest", "update": False},
        "supported_services": {
            "type": "list",
            "elements": "str",
            "initial": lambda params: list(params["service_providers"] or {}) or None,
            "read": lambda offering: [service["name"] for service in offering.get("service", [])],
            "update": False,
        },
        "service_providers": {
            "type": "dict",
            "api": "serviceproviderlist",
            "encode": pairs,
            "read": provided,
            "update": False,
        },
        "service_capabilities": {
            "type": "list",
            "elements": "dict",
            "api": "servicecapabilitylist",
            "shown": False,
        },
        "specify_vlan": {"type": "bool", "update": False},
        "specify_ip_ranges": {"type": "bool", "update": False},
        "availability": {"type": "str", "choices": ["Optional", "Required", "Unavailable"]},
        "conserve_mode": {"type": "bool", "update": False},
        "egress_default_policy": {"type": "bool", "update": False},
        "is_persistent": {"type": "bool", "update": False},
        "for_vpc": {"type": "bool", "update": False},
        "network_rate": {"type": "int", "update": False},
        "max_connections": {"type": "int"},
        "service_offering": {"type": "str", "ref": "service_offering", "update": False},
        "tags": {"type": "list", "elements": "str"},
        "domains": {"type": "list", "elements": "str", "ref": "domain", "api": "domainid"},
        "zones": {"type": "list", "elements": "str", "ref": "zone", "api": "zoneid"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
