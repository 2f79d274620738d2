#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List secondary addresses of NICs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_nic_secondary_ip_info
short_description: List secondary addresses of NICs
description:
  - List the secondary addresses of a machine, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Return only this address.
    type: str
  network:
    description: Name or id of the network of the NIC.
    type: str
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.listed
  - cloudwright.cloud.fields.owner
  - cloudwright.cloud.fields.machine
"""

EXAMPLES = r"""
- name: Read the secondary addresses of a machine
  cloudwright.cloud.vm_nic_secondary_ip_info:
    vm: web1
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
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import MACHINE

ENTITY = EntityInfo(
    "nic_address",
    by=("name",),
    filters={
        **MACHINE,
        "network": {"type": "str", "ref": "network", "within": ("zone", "domain", "account", "project")},
    },
)

if __name__ == "__main__":
    ENTITY.main()
