#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage users."""

from __future__ import annotations

DOCUMENTATION = r"""
module: user
short_description: Manage users
description:
  - Create, change, move, shut out and delete users.
  - API keys are made with M(cloudwright.cloud.user_keys).
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name that the user logs in with.
    type: str
  domain:
    description:
      - Name, path (as C(ROOT/department)) or id of the domain.
      - Needed unless O(id) is given. Cannot change after creation.
    type: str
  account:
    description:
      - Name of the account that the user belongs to. Another one moves the user there.
      - Needed to create a new one.
    type: str
  password:
    description:
      - Password of the user. See O(update_password).
      - Needed to create a new one.
    type: str
  update_password:
    description:
      - When the user gets O(password).
      - V(on_create) gives it to new users only.
      - V(always) gives it each time. As a server does not tell what password a user has, the task always reports a
        change then.
    type: str
    choices: [on_create, always]
    default: on_create
  first_name:
    description:
      - First name.
      - Needed to create a new one.
    type: str
  last_name:
    description:
      - Last name.
      - Needed to create a new one.
    type: str
  email:
    description:
      - Address.
      - Needed to create a new one.
    type: str
  timezone:
    description: Time zone, such as V(Europe/Zurich).
    type: str
  api_key_access:
    description: Whether calls with the user's API keys are answered. With V(inherit), the account says.
    type: str
    choices: [enabled, disabled, inherit]
  state:
    description: Whether the user exists, and is let in.
    type: str
    choices: [present, enabled, disabled, locked, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
"""

EXAMPLES = r"""
- name: Have a user
  cloudwright.cloud.user:
    name: bob
    domain: ROOT/department
    account: web
    password: "{{ first_password }}"
    first_name: Bob
    last_name: Example
    email: bob@example.org

- name: Give a new password
  cloudwright.cloud.user:
    name: bob
    domain: ROOT/department
    password: "{{ new_password }}"
    update_password: always
"""

RETURN = r"""
entity:
  description:
    - The user with the fields of the API, as it is now. In check mode, as it would be.
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

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity, State


def new_password(run, user):
    """The step that gives a user who is there the password, if that is asked for."""
    password, when = run.params["password"], run.params["update_password"]
    if run.created or when == "on_create" or password is None:
        return []
    given = {"id": user["id"], "password": password}
    return [("password", "not told", "given anew", "updateUser", given)]


ENTITY = Entity(
    "user",
    create="createUser",
    update="updateUser",
    delete="deleteUser",
    prepare=new_password,
    needs={"required_one_of": [("domain", "id")]},
    states={
        "present": State(),
        "enabled": State(goal=("enabled",), path={"*": ("enableUser",)}),
        "disabled": State(goal=("disabled",), path={"*": ("disableUser",)}),
        "locked": State(goal=("locked",), path={"disabled": ("enableUser", "lockUser"), "*": ("lockUser",)}),
        "absent": State(gone=True),
    },
    fields={
        "name": {"type": "str", "api": "username"},
        "domain": {"type": "str", "ref": "domain", "find": True, "update": False},
        "account": {"type": "str", "needed": True, "via": "moveUser"},
        "password": {"type": "str", "no_log": True, "needed": True, "shown": False},
        "update_password": {
            "type": "str",
            "choices": ["on_create", "always"],
            "default": "on_create",
            "no_log": False,
            "use": "task",
        },
        "first_name": {"type": "str", "needed": True},
        "last_name": {"type": "str", "needed": True},
        "email": {"type": "str", "needed": True},
        "timezone": {"type": "str"},
        "api_key_access": {
            "type": "str",
            "choices": ["enabled", "disabled", "inherit"],
            "no_log": False,
            "create": False,
            "encode": str.capitalize,
            "read": lambda found: (found.get("apikeyaccess") or "inherit").capitalize(),
        },
    },
)

if __name__ == "__main__":
    ENTITY.main()
