#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List dedicated ranges of guest VLANs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_vlan_range_info
short_description: List dedicated ranges of guest VLANs
description:
  - List ranges of guest VLANs that are kept for accounts and projects, or find one.
  - The O(name) of a range is its first and last VLAN, as V(100-109).
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  zone:
    description: Name or id of the zone.
    type: str
  physical_network:
    description: Name or id of the physical network, looked for in O(zone).
    type: str
  domain:
    description: Name, path (as C(ROOT/department)) or id of the domain, or of the domain of O(account) or O(project).
    type: str
  account:
    description: Name of the account that they are for. Needs O(domain).
    type: str
  project:
    description: Name or id of the project that they are for, looked for in O(domain).
    type: str
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
"""

EXAMPLES = r"""
- name: Read the VLANs that an account keeps
  cloudwright.cloud.guest_vlan_range_info:
    zone: lab
    domain: ROOT/department
    account: web
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
    "guest_vlan_range",
    filters={
        "zone": {"type": "str", "ref": "zone"},
        "physical_network": {"type": "str", "ref": "physical_network", "within": ("zone",)},
        "domain": {"type": "str", "ref": "domain", "unless": ("project",)},
        "account": {"type": "str"},
        "project": {"type": "str", "ref": "project", "within": ("domain",)},
    },
)

if __name__ == "__main__":
    ENTITY.main()
