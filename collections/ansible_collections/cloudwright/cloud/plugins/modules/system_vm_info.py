#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List system VMs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: system_vm_info
short_description: List system VMs
description:
  - List secondary storage VMs and console proxies, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  zone:
    description: Name or id of the zone.
    type: str
  host:
    description: Name or id of the host, looked for in O(zone).
    type: str
  type:
    description: Return only those that do this.
    type: str
    choices: [consoleproxy, secondarystoragevm]
  state:
    description: Return only those in this state, such as V(Running).
    type: str
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
"""

EXAMPLES = r"""
- name: Read the console proxy of a zone
  cloudwright.cloud.system_vm_info:
    zone: lab
    type: consoleproxy
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
    "system_vm",
    filters={
        "zone": {"type": "str", "ref": "zone"},
        "host": {"type": "str", "ref": "host", "within": ("zone",)},
        "type": {"type": "str", "api": "systemvmtype", "choices": ["consoleproxy", "secondarystoragevm"]},
        "state": {"type": "str"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
