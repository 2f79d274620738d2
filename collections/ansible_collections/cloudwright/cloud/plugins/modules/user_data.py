#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage user data."""

from __future__ import annotations

DOCUMENTATION = r"""
module: user_data
short_description: Manage user data
description:
  - Register user data under a name, for machines to be deployed with.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description:
      - Name of the user data.
      - Cannot change after creation.
    type: str
  user_data:
    description:
      - The text itself, not encoded.
      - Needed to create a new one. Cannot change after creation.
    type: str
  params:
    description:
      - Names of the variables in it.
      - Cannot change after creation.
    type: list
    elements: str
  state:
    description: Whether the user data exists. Such as a machine or template uses cannot be deleted.
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
- name: Have user data
  cloudwright.cloud.user_data:
    name: web
    user_data: |
      #cloud-config
      packages: [nginx]
"""

RETURN = r"""
entity:
  description:
    - The user data with the fields of the API, as it is now. In check mode, as it would be.
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

import base64

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import OWNED

ENTITY = Entity(
    "user_data",
    create="registerUserData",
    delete="deleteUserData",
    fields={
        "name": {"type": "str", "update": False},
        "user_data": {
            "type": "str",
            "needed": True,
            "no_log": True,
            "encode": lambda text: base64.b64encode(text.encode()).decode(),
            "update": False,
        },
        "params": {"type": "list", "elements": "str", "update": False},
        **OWNED,
    },
)

if __name__ == "__main__":
    ENTITY.main()
