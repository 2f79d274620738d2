#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List clusters."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_info
short_description: List clusters
description:
  - List clusters, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  zone:
    description: Name or id of the zone.
    type: str
  pod:
    description: Name or id of the pod, looked for in O(zone).
    type: str
  hypervisor:
    description: Return only those of this hypervisor.
    type: str
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
"""

EXAMPLES = r"""
- name: Read clusters
  cloudwright.cloud.cluster_info:
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
    "cluster",
    filters={
        "zone": {"type": "str", "ref": "zone"},
        "pod": {"type": "str", "ref": "pod", "within": ("zone",)},
        "hypervisor": {"type": "str"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
