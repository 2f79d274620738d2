#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage projects."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project
short_description: Manage projects
description:
  - Create, change, suspend and delete projects.
  - Its members are managed with M(cloudwright.cloud.project_member).
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the project.
    type: str
  domain:
    description:
      - Name, path (as C(ROOT/department)) or id of the domain.
      - Needed unless O(id) is given. Cannot change after creation.
    type: str
  display_text:
    description: Description. By default the name.
    type: str
  account:
    description:
      - Name of the account in O(domain) that administers the project. By default that of the task's user.
      - Another one has to be a member, and takes the place of the administrator. It is not compared while the project
        has several administrators.
    type: str
  cleanup:
    description: Whether deletion takes along all that the project owns. Without, a project that owns something stays.
    type: bool
  state:
    description:
      - Whether the project exists, and can be used.
      - The machines of a V(suspended) project are stopped, and nothing is made or started in it.
    type: str
    choices: [present, active, suspended, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
"""

EXAMPLES = r"""
- name: Have a project
  cloudwright.cloud.project:
    name: shop
    domain: ROOT/department
    account: web
"""

RETURN = r"""
entity:
  description:
    - The project with the fields of the API, as it is now. In check mode, as it would be.
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

from ansible_collections.cloudwright.cloud.plugins.module_utils._compare import UNKNOWN
from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity, State


def administrator(project):
    """The account that administers the project, if it is one alone."""
    names = list(dict.fromkeys(one["account"] for one in project.get("owner", ()) if "account" in one))
    return names[0] if len(names) == 1 else UNKNOWN


ENTITY = Entity(
    "project",
    create="createProject",
    update="updateProject",
    delete="deleteProject",
    needs={"required_one_of": [("domain", "id")]},
    states={
        "present": State(),
        "active": State(goal=("Active",), path={"*": ("activateProject",)}),
        "suspended": State(goal=("Suspended",), path={"*": ("suspendProject",)}),
        "absent": State(gone=True),
    },
    fields={
        "name": {"type": "str"},
        "domain": {"type": "str", "ref": "domain", "find": True, "update": False},
        "display_text": {"type": "str"},
        "account": {"type": "str", "read": administrator},
        "cleanup": {"type": "bool", "use": "delete"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
