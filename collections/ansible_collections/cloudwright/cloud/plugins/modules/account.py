#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage accounts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: account
short_description: Manage accounts
description:
  - Create, change, shut out and delete accounts.
  - A new account comes with a first user. More users are made with M(cloudwright.cloud.user).
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the account.
    type: str
  domain:
    description:
      - Name, path (as C(ROOT/department)) or id of the domain.
      - Needed unless O(id) is given. Cannot change after creation.
    type: str
  role:
    description: Name or id of the role of the account. By default that of O(account_type).
    type: str
  account_type:
    description:
      - Type of the account. By default that of O(role), or V(user).
      - Cannot change after creation, but for that of another O(role).
    type: str
    choices: [user, root_admin, domain_admin, resource_admin]
  network_domain:
    description: Network domain of the account's new networks.
    type: str
  username:
    description: Name of the first user, by default that of the account. Of use at creation only.
    type: str
  password:
    description:
      - Password of the first user. Of use at creation only.
      - Needed to create a new one.
    type: str
  first_name:
    description:
      - First name of the first user. Of use at creation only.
      - Needed to create a new one.
    type: str
  last_name:
    description:
      - Last name of the first user. Of use at creation only.
      - Needed to create a new one.
    type: str
  email:
    description:
      - Address of the first user. Of use at creation only.
      - Needed to create a new one.
    type: str
  timezone:
    description: Time zone of the first user, such as V(Europe/Zurich). Of use at creation only.
    type: str
  api_key_access:
    description: Whether calls with API keys of the account's users are answered. With V(inherit), the domain says.
    type: str
    choices: [enabled, disabled, inherit]
  state:
    description:
      - Whether the account exists, and who is let in.
      - V(disabled) shuts its users out and stops its machines.
      - V(locked) lets what is there run on, and nothing new be made.
      - V(absent) deletes all that it owns, too.
    type: str
    choices: [present, enabled, disabled, locked, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
"""

EXAMPLES = r"""
- name: Have an account with its first user
  cloudwright.cloud.account:
    name: web
    domain: ROOT/department
    role: User
    username: alice
    password: "{{ first_password }}"
    first_name: Alice
    last_name: Example
    email: alice@example.org

- name: Shut it out
  cloudwright.cloud.account:
    name: web
    domain: ROOT/department
    state: disabled
"""

RETURN = r"""
entity:
  description:
    - The account with the fields of the API, as it is now. In check mode, as it would be.
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

TYPES = {"user": 0, "root_admin": 1, "domain_admin": 2, "resource_admin": 3}
DISABLE = ("disableAccount", {"lock": False})
LOCK = ("disableAccount", {"lock": True})

ENTITY = Entity(
    "account",
    create="createAccount",
    update="updateAccount",
    delete="deleteAccount",
    needs={"required_one_of": [("domain", "id")]},
    states={
        "present": State(),
        "enabled": State(goal=("enabled",), path={"*": ("enableAccount",)}),
        "disabled": State(goal=("disabled",), path={"*": (DISABLE,)}),
        "locked": State(goal=("locked",), path={"disabled": ("enableAccount", LOCK), "*": (LOCK,)}),
        "absent": State(gone=True),
    },
    fields={
        "name": {"type": "str", "api": "account", "field": "name", "update": "newname"},
        "domain": {"type": "str", "ref": "domain", "find": True, "update": False},
        "role": {"type": "str", "ref": "role"},
        "account_type": {
            "type": "str",
            "choices": list(TYPES),
            "encode": TYPES.get,
            "initial": lambda options: None if options["role"] else TYPES["user"],
            "update": False,
        },
        "network_domain": {"type": "str"},
        "username": {"type": "str", "initial": lambda options: options["name"], "shown": False},
        "password": {"type": "str", "no_log": True, "needed": True, "shown": False},
        "first_name": {"type": "str", "needed": True, "shown": False},
        "last_name": {"type": "str", "needed": True, "shown": False},
        "email": {"type": "str", "needed": True, "shown": False},
        "timezone": {"type": "str", "shown": False},
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
