#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List machines that hosts have and the cloud does not know."""

from __future__ import annotations

DOCUMENTATION = r"""
module: unmanaged_vm_info
short_description: List machines that hosts have and the cloud does not know
description:
  - List the machines of a cluster's hosts that the cloud does not know, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  zone:
    description: Name or id of the zone.
    type: str
  cluster:
    description: Name or id of the cluster, looked for in O(zone).
    type: str
    required: true
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.listed
  - cloudwright.cloud.api.named
"""

EXAMPLES = r"""
- name: Read what could be taken over
  cloudwright.cloud.unmanaged_vm_info:
    zone: lab
    cluster: c1
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
    "unmanaged_vm",
    by=("name",),
    filters={
        "zone": {"type": "str", "ref": "zone", "use": "scope"},
        "cluster": {"type": "str", "ref": "cluster", "within": ("zone",), "required": True},
    },
)

if __name__ == "__main__":
    ENTITY.main()
