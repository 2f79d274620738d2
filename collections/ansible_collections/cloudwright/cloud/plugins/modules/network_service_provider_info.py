#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List network service providers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: network_service_provider_info
short_description: List network service providers
description:
  - List network service providers, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  zone:
    description: Name or id of the zone.
    type: str
  physical_network:
    description: Name or id of the physical network, looked for in O(zone).
    type: str
  state:
    description: Return only those in this state.
    type: str
    choices: [Enabled, Disabled]
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
"""

EXAMPLES = r"""
- name: Read network service providers
  cloudwright.cloud.network_service_provider_info:
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
    "network_service_provider",
    filters={
        "zone": {"type": "str", "ref": "zone", "use": "scope"},
        "physical_network": {"type": "str", "ref": "physical_network", "within": ("zone",)},
        "state": {"type": "str", "choices": ["Enabled", "Disabled"]},
    },
)

if __name__ == "__main__":
    ENTITY.main()
