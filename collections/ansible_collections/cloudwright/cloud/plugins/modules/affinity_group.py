#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage affinity groups."""

from __future__ import annotations

DOCUMENTATION = r"""
module: affinity_group
short_description: Manage affinity groups
description:
  - Have groups of machines that share a host, or never do.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description:
      - Name of the affinity group.
      - Cannot change after creation.
    type: str
  type:
    description:
      - Whether the machines share a host, and whether that is a must or a wish.
      - Needed to create a new one. Cannot change after creation.
    type: str
    choices: [host anti-affinity, host affinity, non-strict host anti-affinity, non-strict host affinity]
  description:
    description:
      - What it is for.
      - Cannot change after creation.
    type: str
  state:
    description: Whether the affinity group exists.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
  - cloudwright.cloud.fields.owner
"""

EXAMPLES = r"""
- name: Keep machines apart
  cloudwright.cloud.affinity_group:
    name: web
    type: host anti-affinity
"""

RETURN = r"""
entity:
  description:
    - The affinity group with the fields of the API, as it is now. In check mode, as it would be.
    - None when there is none any more.
  returned: success
  type: dict
job_id:
  description: Id of the last job that the server started for the task.
  returned: when there was one
  type: str
duration:
  description: Seconds that the task took.
  returned: when there was a job
  type: float
"""

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import OWNED

TYPES = ["host anti-affinity", "host affinity", "non-strict host anti-affinity", "non-strict host affinity"]
ENTITY = Entity(
    "affinity_group",
    create="createAffinityGroup",
    delete="deleteAffinityGroup",
    fields={
        "name": {"type": "str", "update": False},
        "type": {"type": "str", "choices": TYPES, "needed": True, "update": False},
        "description": {"type": "str", "update": False},
        **OWNED,
    },
)

if __name__ == "__main__":
    ENTITY.main()
