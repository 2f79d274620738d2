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
    description: Name or id of the zone that the setting is for, or that O(cluster) or O(storage_pool) is looked for in.
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
    description: Name, path or id of the domain that the setting is for, or that O(account) is looked for in.
    type: str
  account:
    description: Name or id of the account that the setting is for.
    type: str
  state:
    description: Whether the setting has O(value), or what holds without one. This is the server's default, and in a
      zone, a domain and so on what holds around it.
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

- name: Promise twice the processors that the hosts of a cluster have
  cloudwright.cloud.configuration:
    name: cpu.overprovisioning.factor
    value: "2"
    zone: lab
    cluster: c1

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
from ansible_collections.cloudwright.cloud.plugins.module_utils._kinds import by_id, list_entities

# where a value holds that has none of its own: option -> (fields of its entity, parameter of the list), nearest first
AROUND = {
    "cluster": [("zoneid", "zoneid")],
    "storage_pool": [("clusterid", "clusterid"), ("zoneid", "zoneid")],
    "image_store": [("zoneid", "zoneid")],
    "domain": [("parentdomainid", "domainid")],
    "account": [("domainid", "domainid")],
}
HANDED_DOWN = {
    "domain": "enable.domain.settings.for.child.domain",
    "account": "enable.account.settings.for.domain",
}


def read(run, name, **scope):
    """The value of a setting, None where it has none."""
    found = list_entities(run.client, "configuration", name=name, **scope)
    return next((setting.get("value") for setting in found if setting["name"] == name), None)


def around(run):
    """The value that holds around the scope of the task; None when the task is for the whole installation."""
    scopes = [name for name in ("zone", *AROUND) if run.params.get(name) and not run.only_scope(name)]
    for scope in scopes:
        entity = by_id(run.client, run.entity.fields[scope]["ref"], run.wanted(scope)) or {}
        for field, parameter in AROUND.get(scope, ()):
            down = HANDED_DOWN.get(scope)
            if entity.get(field) and (down is None or read(run, down) == "true"):
                value = read(run, run.params["name"], **{parameter: entity[field]})
                if value is not None:
                    return value
        return read(run, run.params["name"])
    return None


def reset(run, setting):
    """The step back to what holds without a value, if the setting is not there already."""
    if run.params["state"] != "default":
        return []
    value, outer = setting.get("value"), around(run)
    default = setting.get("defaultvalue") if outer is None else outer
    if same(default, value):
        return []
    named = run.target(setting)
    if "imagestoreuuid" in named:  # the parameter has another name here
        named["imagestoreid"] = named.pop("imagestoreuuid")
    return [("value", value, default, "resetConfiguration", named)]


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
        "zone": {
            "type": "str",
            "ref": "zone",
            "find": True,
            "unless": ("cluster", "storage_pool", "image_store"),
            "use": "scope",
        },
        "cluster": {"type": "str", "ref": "cluster", "within": ("zone",), "find": True, "use": "scope"},
        "storage_pool": {
            "type": "str",
            "ref": "storage_pool",
            "within": ("zone",),
            "api": "storageid",
            "find": True,
            "use": "scope",
        },
        "image_store": {
            "type": "str",
            "ref": "image_store",
            "within": ("zone",),
            "api": "imagestoreuuid",
            "find": True,
            "use": "scope",
        },
        "domain": {"type": "str", "ref": "domain", "find": True, "unless": ("account",), "use": "scope"},
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
