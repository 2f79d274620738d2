#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List settings."""

from __future__ import annotations

DOCUMENTATION = r"""
module: configuration_info
short_description: List settings
description:
  - List settings, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  zone:
    description: Name or id of the zone whose values are returned, or in which the other places are looked for.
    type: str
  cluster:
    description: Name or id of the cluster whose values are returned.
    type: str
  storage_pool:
    description: Name or id of the storage pool whose values are returned.
    type: str
  image_store:
    description: Name or id of the image store whose values are returned.
    type: str
  domain:
    description: Name, path or id of the domain whose values are returned, or in which O(account) is looked for.
    type: str
  account:
    description: Name or id of the account whose values are returned.
    type: str
  category:
    description: Return only settings of this category.
    type: str
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
"""

EXAMPLES = r"""
- name: Read settings
  cloudwright.cloud.configuration_info:
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
    "configuration",
    filters={
        "zone": {"type": "str", "ref": "zone", "unless": ("cluster", "storage_pool", "image_store")},
        "cluster": {"type": "str", "ref": "cluster", "within": ("zone",)},
        "storage_pool": {"type": "str", "ref": "storage_pool", "within": ("zone",), "api": "storageid"},
        "image_store": {"type": "str", "ref": "image_store", "within": ("zone",), "api": "imagestoreuuid"},
        "domain": {"type": "str", "ref": "domain", "unless": ("account",)},
        "account": {"type": "str", "ref": "account", "within": ("domain",)},
        "category": {"type": "str"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
