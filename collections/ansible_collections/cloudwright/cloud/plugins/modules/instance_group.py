#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage instance groups."""

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_group
short_description: Manage instance groups
description:
  - Have groups by which users sort their machines. A machine is put into one with O(cloudwright.cloud.vm#module:group).
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the instance group.
    type: str
  state:
    description: Whether the instance group exists. The machines of one that is deleted stay.
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
- name: Have a group
  cloudwright.cloud.instance_group:
    name: front
"""

RETURN = r"""
entity:
  description:
    - The instance group with the fields of the API, as it is now. In check mode, as it would be.
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

ENTITY = Entity(
    "instance_group",
    create="createInstanceGroup",
    update="updateInstanceGroup",
    delete="deleteInstanceGroup",
    fields={
        "name": {"type": "str"},
        **OWNED,
    },
)

if __name__ == "__main__":
    ENTITY.main()
