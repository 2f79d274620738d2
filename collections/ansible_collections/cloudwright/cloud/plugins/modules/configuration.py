#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage settings."""

from __future__ import annotations

DOCUMENTATION = r"""
module: configuration
short_description: Manage settings
description:
  - Change settings of the server, or of one zone, cluster, storage pool, image store, domain or account.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the setting.
    type: str
    required: true
  value:
    description: Value of the setting. Needed with O(state=present).
    type: str
  zone:
    description: Name or id of the zone that the setting is for.
    type: str
  cluster:
    description: Name or id of the cluster that the setting is for.
    type: str
  storage_pool:
    description: Name or id of the storage pool that the setting is for.
    type: str
  image_store:
    description: Name or id of the image store that the setting is for.
    type: str
  domain:
    description: Name, path or id of the domain that the setting is for.
    type: str
  account:
    description: Name or id of the account that the setting is for.
    type: str
  state:
    description: Whether the setting has O(value), or the server's default.
    type: str
    choices: [present, default]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
"""

EXAMPLES = r"""
- name: Expunge machines an hour after they were destroyed
  cloudwright.cloud.configuration:
    name: expunge.delay
    value: "3600"

- name: Go back to the default
  cloudwright.cloud.configuration:
    name: expunge.delay
    state: default
"""

RETURN = r"""
entity:
  description:
    - The configuration with the fields of the API, as it is now. In check mode, as it would be.
    - None when there is none any more.
  returned: success
  type: dict
"""

from ansible_collections.cloudwright.cloud.plugins.module_utils._compare import same
from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity, State


def reset(run, setting):
    """The step back to the default, if the setting is not there already."""
    value, default = setting.get("value"), setting.get("defaultvalue")
    if run.params["state"] != "default" or same(default, value):
        return []
    return [("value", value, default, "resetConfiguration", run.target(setting))]


ENTITY = Entity(
    "configuration",
    update="updateConfiguration",
    target=("name", "zone", "cluster", "storage_pool", "image_store", "domain", "account"),
    states={"present": State(), "default": State()},
    prepare=reset,
    needs={"required_if": [("state", "present", ["value"])]},
    fields={
        "name": {"type": "str", "required": True},
        "value": {"type": "str"},
        "zone": {"type": "str", "ref": "zone", "find": True, "use": "scope"},
        "cluster": {"type": "str", "ref": "cluster", "within": ("zone",), "find": True, "use": "scope"},
        "storage_pool": {"type": "str", "ref": "storage_pool", "api": "storageid", "find": True, "use": "scope"},
        "image_store": {"type": "str", "ref": "image_store", "api": "imagestoreuuid", "find": True, "use": "scope"},
        "domain": {"type": "str", "ref": "domain", "find": True, "use": "scope"},
        "account": {
            "type": "str",
            "ref": "account",
            "within": ("domain",),
            "find": True,
            "use": "scope",
        },
    },
)

if __name__ == "__main__":
    ENTITY.main()
