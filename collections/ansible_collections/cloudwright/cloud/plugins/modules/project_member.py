#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage the members of projects."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_member
short_description: Manage the members of projects
description:
  - Add accounts or single users to projects, change their part in them and take them out.
  - Where the server wants members to be invited, it sends an invitation. Who has not accepted yet is no member.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  project:
    description: Name or id of the project, looked for in O(domain).
    type: str
    required: true
  domain:
    description: Name, path (as C(ROOT/department)) or id of the domain of the project.
    type: str
  account:
    description: Name of the account, all of whose users are members.
    type: str
  user:
    description: Name or id of a user, looked for in O(domain), that is a member by itself.
    type: str
  role:
    description: Part of the member in the project. By default V(Regular). The last V(Admin) cannot go.
    type: str
    choices: [Admin, Regular]
  state:
    description: Whether the account or user is a member.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
"""

EXAMPLES = r"""
- name: Let an account administer the project
  cloudwright.cloud.project_member:
    project: shop
    domain: ROOT/department
    account: web
    role: Admin

- name: Take a user out
  cloudwright.cloud.project_member:
    project: shop
    domain: ROOT/department
    user: bob
    state: absent
"""

RETURN = r"""
entity:
  description:
    - The member with the fields of the API, as it is now. In check mode, as it would be.
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


def account_alone(member):
    """The account of a member that is no single user."""
    return None if member.get("userid") else member.get("account")


def username(run):
    """The name of the user that the task names by name or id."""
    return run.referred["user"]["username"] if run.wanted("user") else None


ENTITY = Entity(
    "project_member",
    create=lambda options: "addUserToProject" if options["user"] else "addAccountToProject",
    delete=lambda options: "deleteUserFromProject" if options["user"] else "deleteAccountFromProject",
    key=None,
    needs={"required_one_of": [("account", "user")], "mutually_exclusive": [("account", "user")]},
    derived={"username": username},
    address={
        "updateProject": {"id": "projectid", "account": account_alone, "userid": "userid"},
        "deleteAccountFromProject": {"projectid": "projectid", "account": "account"},
        "deleteUserFromProject": {"projectid": "projectid", "userid": "userid"},
    },
    fields={
        "domain": {"type": "str", "ref": "domain", "use": "scope"},
        "project": {
            "type": "str",
            "required": True,
            "ref": "project",
            "within": ("domain",),
            "find": True,
            "update": False,
        },
        "account": {"type": "str", "match": True, "read": account_alone, "update": False},
        "user": {
            "type": "str",
            "ref": "user",
            "within": ("domain",),
            "match": True,
            "create": False,
            "use": "task",
        },
        "role": {
            "type": "str",
            "choices": ["Admin", "Regular"],
            "api": "roletype",
            "field": "role",
            "via": "updateProject",
        },
    },
)

if __name__ == "__main__":
    ENTITY.main()
