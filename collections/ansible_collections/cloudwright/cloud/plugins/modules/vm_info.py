#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List virtual machines."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_info
short_description: List virtual machines
description:
  - List virtual machines, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  zone:
    description: Name or id of the zone.
    type: str
  state:
    description: Return only machines in this state, such as V(Running).
    type: str
  host:
    description: Name or id of the host.
    type: str
  network:
    description: Name or id of the network.
    type: str
  service_offering:
    description: Name or id of the service offering.
    type: str
  template:
    description: Name or id of the template that they were made of.
    type: str
  affinity_group:
    description: Name or id of an affinity group that they are in.
    type: str
  group:
    description: Name or id of the instance group.
    type: str
  storage_pool:
    description: Name or id of a storage pool that has a disk of theirs, for administrators.
    type: str
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
  - cloudwright.cloud.fields.owner
  - cloudwright.cloud.fields.list_all
"""

EXAMPLES = r"""
- name: Read virtual machines
  cloudwright.cloud.vm_info:
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
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import LISTED

ENTITY = EntityInfo(
    "vm",
    filters={
        "zone": {"type": "str", "ref": "zone"},
        "state": {"type": "str"},
        "host": {"type": "str", "ref": "host", "within": ("zone",)},
        "network": {"type": "str", "ref": "network", "within": ("zone", "domain", "account", "project")},
        "service_offering": {"type": "str", "ref": "service_offering"},
        "template": {"type": "str", "ref": "template", "within": ("zone",)},
        "affinity_group": {"type": "str", "ref": "affinity_group", "within": ("domain", "account", "project")},
        "group": {"type": "str", "ref": "instance_group", "within": ("domain", "account", "project")},
        "storage_pool": {"type": "str", "ref": "storage_pool", "api": "storageid", "within": ("zone",)},
        **LISTED,
    },
)

if __name__ == "__main__":
    ENTITY.main()
