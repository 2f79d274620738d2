#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage the API keys of a user."""

from __future__ import annotations

DOCUMENTATION = r"""
module: user_keys
short_description: Manage the API keys of a user
description:
  - Have API keys for a user, or new ones.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  user:
    description: Name or id of the user.
    type: str
    required: true
  domain:
    description: Name, path or id of the domain of the user.
    type: str
  account:
    description: Name of the account of the user. Needs O(domain).
    type: str
  regenerate:
    description: Make new keys even if there are some. The old ones are worthless then, and the task always reports a
      change.
    type: bool
    default: false
  return_secret:
    description:
      - Whether to return the secret key. Use C(no_log) on the task then.
      - A server tells a secret key once, when it is made. Of keys that were there already, it is returned only by
        servers that still tell it. Use O(regenerate) where it was lost.
    type: bool
    default: false
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.no_job
"""

EXAMPLES = r"""
- name: Have keys for a user
  cloudwright.cloud.user_keys:
    user: admin
    return_secret: true
  no_log: true
  register: keys
"""

RETURN = r"""
api_key:
  description: The API key. None in check mode when there would be a new one.
  returned: success
  type: str
secret_key:
  description: The secret key. None for keys that were there already, if the server does not tell it again.
  returned: when O(return_secret) is true
  type: str
user_id:
  description: Id of the user.
  returned: success
  type: str
"""

from ansible_collections.cloudwright.cloud.plugins.module_utils._client import API_SPEC, WAIT_SPEC, entity_of
from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Runnable
from ansible_collections.cloudwright.cloud.plugins.module_utils._kinds import lookup


class UserKeys(Runnable):
    """Keys have no name of their own: they are there or not."""

    OPTIONS = {
        "user": {"type": "str", "required": True},
        "domain": {"type": "str"},
        "account": {"type": "str"},
        "regenerate": {"type": "bool", "default": False, "no_log": False},
        "return_secret": {"type": "bool", "default": False, "no_log": False},
    }
    argument_spec = {**API_SPEC, **WAIT_SPEC, **OPTIONS}

    def converge(self, client, params, check_mode=False):
        """Read the keys; make new ones if there are none, or if told to."""
        scope = {"account": params["account"]}
        if params["domain"]:
            scope["domainid"] = lookup(client, "domain", params["domain"])["id"]
        user = lookup(client, "user", params["user"], **scope)
        keys = {} if params["regenerate"] else entity_of(client.call("getUserKeys", id=user["id"])) or {}
        changed = not keys.get("apikey")
        result = {"changed": changed, "user_id": user["id"]}
        if changed:
            result["diff"] = {"before": {"keys": user.get("apikey") or None}, "after": {"keys": "new keys"}}
            if check_mode:
                return {**result, "api_key": None}
            keys = entity_of(client.call("registerUserKeys", id=user["id"]))
        result["api_key"] = keys["apikey"]
        if params["return_secret"]:
            result["secret_key"] = keys.get("secretkey")
        return result


ENTITY = UserKeys()

if __name__ == "__main__":
    ENTITY.main()
