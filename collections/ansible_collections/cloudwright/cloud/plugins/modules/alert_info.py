#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List alerts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: alert_info
short_description: List alerts
description:
  - List what operators should know, the latest first.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  type:
    description: Return only alerts of this type, a number.
    type: int
  keyword:
    description: Return only alerts with this word in what they say.
    type: str
  limit:
    description: How many alerts to return at most.
    type: int
    default: 500
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
"""

EXAMPLES = r"""
- name: Read the alerts
  cloudwright.cloud.alert_info:
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
    "alert",
    filters={
        "type": {"type": "int"},
        "keyword": {"type": "str", "no_log": False},
        "limit": {"type": "int", "default": 500, "use": "limit"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
