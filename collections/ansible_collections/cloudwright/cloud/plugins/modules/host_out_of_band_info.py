#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read management controllers of hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_out_of_band_info
short_description: Read management controllers of hosts
description:
  - List what hosts tell of their management controllers, or find one. Passwords are told nowhere.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
  - cloudwright.cloud.fields.place
"""

EXAMPLES = r"""
- name: Read which hosts are switched on
  cloudwright.cloud.host_out_of_band_info:
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
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import PLACE

ENTITY = EntityInfo(
    "host_out_of_band",
    filters={
        **PLACE,
    },
)

if __name__ == "__main__":
    ENTITY.main()
