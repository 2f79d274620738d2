#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List ranges of addresses."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vlan_ip_range_info
short_description: List ranges of addresses
description:
  - List ranges of addresses, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  zone:
    description: Name or id of the zone.
    type: str
  physical_network:
    description: Name or id of the physical network, looked for in O(zone).
    type: str
  network:
    description: Name or id of the network.
    type: str
  for_virtual_network:
    description: Return only public ranges, or only the others.
    type: bool
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
"""

EXAMPLES = r"""
- name: Read ranges of addresses
  cloudwright.cloud.vlan_ip_range_info:
    zone: lab
  register: found
"""

RETURN = r"""
entities:
  description: What was found, with the fields of the API.
  returned: success
  type: list
  elements: dict
"""

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import EntityInfo

ENTITY = EntityInfo(
    "vlan_ip_range",
    filters={
        "zone": {"type": "str", "ref": "zone"},
        "physical_network": {"type": "str", "ref": "physical_network", "within": ("zone",)},
        "network": {"type": "str", "ref": "network", "within": ("zone",)},
        "for_virtual_network": {"type": "bool"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
