#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage network service providers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: network_service_provider
short_description: Manage network service providers
description:
  - Add, enable, disable and delete the service providers of a physical network.
  - Enabling a provider that works through virtual routers enables its virtual router element as well.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the provider, such as V(VirtualRouter) or V(SecurityGroupProvider).
    type: str
  zone:
    description: Name or id of the zone.
    type: str
  physical_network:
    description: Name or id of the physical network, looked for in O(zone).
    type: str
    required: true
  services:
    description: Services that it offers. The server knows them unless given.
    type: list
    elements: str
  state:
    description:
      - Whether the network service provider exists.
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
- name: Let virtual routers serve the network
  cloudwright.cloud.network_service_provider:
    name: VirtualRouter
    zone: lab
    physical_network: net
    state: enabled
"""

RETURN = r"""
entity:
  description:
    - The network service provider with the fields of the API, as it is now. In check mode, as it would be.
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

ELEMENTS = {
    "VirtualRouter": ("listVirtualRouterElements", "configureVirtualRouterElement"),
    "VpcVirtualRouter": ("listVirtualRouterElements", "configureVirtualRouterElement"),
    "InternalLbVm": ("listInternalLoadBalancerElements", "configureInternalLoadBalancerElement"),
}


def element(run, provider):
    """The element behind a provider must be enabled before the provider can be."""
    listing, configure = ELEMENTS.get(provider.get("name"), (None, None))
    if listing is None or run.params["state"] != "enabled":
        return []
    found = run.client.list(listing, nspid=provider["id"])
    idle = [item["id"] for item in found if not item.get("enabled")]
    return [("element", "Disabled", "Enabled", configure, {"id": ident, "enabled": True}) for ident in idle]


ENTITY = Entity(
    "network_service_provider",
    create="addNetworkServiceProvider",
    update="updateNetworkServiceProvider",
    delete="deleteNetworkServiceProvider",
    states={**PRESENT_ABSENT, **switches("state")},
    prepare=element,
    fields={
        "name": {"type": "str", "update": False},
        "zone": {"type": "str", "ref": "zone", "use": "scope"},
        "physical_network": {
            "type": "str",
            "required": True,
            "ref": "physical_network",
            "within": ("zone",),
            "find": True,
            "update": False,
        },
        "services": {"type": "list", "elements": "str", "api": "servicelist"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
