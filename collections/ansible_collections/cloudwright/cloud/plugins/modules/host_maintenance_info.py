#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read whether hosts are out of service."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_maintenance_info
short_description: Read whether hosts are out of service
description:
  - List hosts with how far they are out of service, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  resource_state:
    description: Return only those in this state, such as V(Maintenance) or V(ErrorInMaintenance).
    type: str
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
  - cloudwright.cloud.fields.place
"""

EXAMPLES = r"""
- name: Read what keeps a host from being empty
  cloudwright.cloud.host_maintenance_info:
    name: kvm1
  register: found
"""

RETURN = r"""
entities:
  description: What was found.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Id of the host.
      returned: always
      type: str
    name:
      description: Name of the host.
      returned: always
      type: str
    zoneid:
      description: Id of its zone.
      returned: always
      type: str
    state:
      description: Whether it answers.
      returned: always
      type: str
    resourcestate:
      description: C(Enabled), C(Disabled), C(PrepareForMaintenance), C(Maintenance), C(ErrorInMaintenance) and so on.
      returned: always
      type: str
    in_maintenance:
      description: Whether it is empty and takes no machines.
      returned: always
      type: bool
    told:
      description: How many machines have left, or which cannot move and why. Empty when there is nothing to tell.
      returned: always
      type: str
"""

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import EntityInfo
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import PLACE

ENTITY = EntityInfo(
    "host_maintenance",
    filters={
        **PLACE,
        "resource_state": {"type": "str"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
