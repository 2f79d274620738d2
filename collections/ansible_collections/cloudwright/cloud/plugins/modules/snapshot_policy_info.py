#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List policies of snapshots."""

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot_policy_info
short_description: List policies of snapshots
description:
  - List policies of snapshots, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Return only policies of volumes of this name.
    type: str
  id:
    description: Return only this one.
    type: str
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.listed
  - cloudwright.cloud.fields.disk
  - cloudwright.cloud.fields.owner
  - cloudwright.cloud.fields.list_all
"""

EXAMPLES = r"""
- name: Read policies of snapshots
  cloudwright.cloud.snapshot_policy_info:
    volume: web1-data
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
    "snapshot_policy",
    filters={
        **DISK,
        **LISTED,
    },
)

if __name__ == "__main__":
    ENTITY.main()
