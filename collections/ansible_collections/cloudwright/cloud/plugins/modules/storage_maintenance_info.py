#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read whether storage pools are out of service."""

from __future__ import annotations

DOCUMENTATION = r"""
module: storage_maintenance_info
short_description: Read whether storage pools are out of service
description:
  - List storage pools with how far they are out of service, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
  - cloudwright.cloud.fields.place
"""

EXAMPLES = r"""
- name: Read whether a pool is out of service
  cloudwright.cloud.storage_maintenance_info:
    name: primary
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
      description: Id of the pool.
      returned: always
      type: str
    name:
      description: Name of the pool.
      returned: always
      type: str
    zoneid:
      description: Id of its zone.
      returned: always
      type: str
    state:
      description: C(Up), C(Disabled), C(PrepareForMaintenance), C(Maintenance) or C(ErrorInMaintenance).
      returned: always
      type: str
    in_maintenance:
      description: Whether no machine uses it, and none may.
      returned: always
      type: bool
    disksizeallocated:
      description: Bytes of the disks that lie on it.
      returned: always
      type: int
"""

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import EntityInfo
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import PLACE

ENTITY = EntityInfo(
    "storage_maintenance",
    filters={
        **PLACE,
    },
)

if __name__ == "__main__":
    ENTITY.main()
