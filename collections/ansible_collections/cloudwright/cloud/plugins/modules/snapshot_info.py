#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List snapshots of volumes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot_info
short_description: List snapshots of volumes
description:
  - List snapshots of volumes, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  zone:
    description: Name or id of the zone.
    type: str
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
  - cloudwright.cloud.fields.disk
  - cloudwright.cloud.fields.owner
  - cloudwright.cloud.fields.list_all
"""

EXAMPLES = r"""
- name: Read snapshots of volumes
  cloudwright.cloud.snapshot_info:
    vm: web1
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
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import DISK, LISTED

ENTITY = EntityInfo(
    "snapshot",
    filters={
        "zone": {"type": "str", "ref": "zone"},
        **DISK,
        **LISTED,
    },
)

if __name__ == "__main__":
    ENTITY.main()
