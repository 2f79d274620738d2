#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage tags of resources."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tag
short_description: Manage tags of resources
description:
  - Put tags on machines, disks, networks and so on, and take them off.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  resource_type:
    description: Kind of the resource.
    type: str
    required: true
    choices: [UserVm, Template, ISO, Volume, Network, PublicIpAddress, Project, Account, User]
  resource:
    description: Name or id of the resource.
    type: str
    required: true
  zone:
    description: Name or id of the zone that the resource is looked for in.
    type: str
  domain:
    description: Name, path (as C(ROOT/department)) or id of the domain that the resource is looked for in.
    type: str
  account:
    description: Name of the account that owns the resource. Needs O(domain).
    type: str
  project:
    description: Name or id of the project that owns the resource, looked for in O(domain).
    type: str
  tags:
    description: Keys with their values. With O(state=absent) only the keys count, and values may be empty.
    type: dict
    required: true
  exclusive:
    description: Whether tags with other keys than those in O(tags) are taken off.
    type: bool
    default: false
  state:
    description: Whether the resource has the tags.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
"""

EXAMPLES = r"""
- name: Mark a machine
  cloudwright.cloud.tag:
    resource_type: UserVm
    resource: web1
    tags:
      tier: front
      owner: shop

- name: Leave a machine this tag alone
  cloudwright.cloud.tag:
    resource_type: UserVm
    resource: web1
    tags: {tier: front}
    exclusive: true
"""

RETURN = r"""
entity:
  description:
    - What is on the resource now. In check mode, what would be.
    - None when there is no such resource.
  returned: success
  type: dict
  contains:
    tags:
      description: All tags of the resource, keys with their values.
      returned: success
      type: dict
      sample: {tier: front, owner: shop}
job_id:
  description: Id of the last job that the server started for the task.
  returned: when there was one
  type: str
duration:
  description: Seconds that the task took.
  returned: when there was a job
  type: float
"""

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Choice, Entity, State

KINDS = {
    "UserVm": "vm",
    "Template": "template",
    "ISO": "iso",
    "Volume": "volume",
    "Network": "network",
    "PublicIpAddress": "public_ip_address",
    "Project": "project",
    "Account": "account",
    "User": "user",
}


def differing(run, resource):
    """The steps from the tags that the resource has to those that it should have."""
    have, options = resource["tags"], run.params
    wanted = {key: str(value) for key, value in options["tags"].items()}
    if options["state"] == "absent":
        put, off = {}, [key for key in wanted if key in have]
    else:
        put = {key: value for key, value in wanted.items() if have.get(key) != value}
        off = [key for key in have if key in put or (options["exclusive"] and key not in wanted)]
    after = {**{key: value for key, value in have.items() if key not in off}, **put}
    run.predicted["tags"] = after
    steps = []
    if off:
        steps.append(("deleteTags", [{"key": key} for key in off]))
    if put:
        steps.append(("createTags", [{"key": key, "value": value} for key, value in put.items()]))
    return [("tags", have, after, command, {**run.target(resource), "tags": tags}) for command, tags in steps]


def tagged(kind):
    """The tags of one kind of resource."""
    return Entity(
        "tags",
        key=None,
        target=("resource_type", "resource"),
        states={"present": State(), "absent": State(moot=True)},
        prepare=differing,
        fields={
            "resource_type": {"type": "str", "required": True, "choices": list(KINDS), "find": True, "use": "scope"},
            "resource": {
                "type": "str",
                "required": True,
                "ref": kind,
                "within": ("zone", "domain", "account", "project"),
                "find": ("resourceid", "projectid") if kind == "project" else "resourceid",
                "api": "resourceids",
                "use": "scope",
            },
            "zone": {"type": "str", "ref": "zone", "use": "scope"},
            "domain": {"type": "str", "ref": "domain", "use": "scope"},
            "account": {"type": "str", "use": "scope"},
            "project": {"type": "str", "ref": "project", "within": ("domain",), "find": True, "use": "scope"},
            "tags": {"type": "dict", "required": True, "use": "task"},
            "exclusive": {"type": "bool", "default": False, "use": "task"},
        },
    )


ENTITY = Choice("resource_type", {name: tagged(kind) for name, kind in KINDS.items()})

if __name__ == "__main__":
    ENTITY.main()
