#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dedicate zones, pods, clusters and hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dedication
short_description: Dedicate zones, pods, clusters and hosts
description:
  - Keep a zone, a pod, a cluster or a host for one domain and those below it, or for one account.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  resource_type:
    description: What is dedicated.
    type: str
    required: true
    choices: [zone, pod, cluster, host]
  resource:
    description: Name or id of it.
    type: str
    required: true
  zone:
    description: Name or id of the zone that O(resource) is looked for in.
    type: str
  domain:
    description:
      - Name, path (as C(ROOT/department)) or id of the domain that it is for.
      - Needed to create a new one. Cannot change after creation.
    type: str
  account:
    description:
      - Name or id of the only account of O(domain) that it is for.
      - Cannot change after creation.
    type: str
  state:
    description: Whether it is dedicated. With V(absent) it is released, whoever it was for.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
"""

EXAMPLES = r"""
- name: Keep a cluster for a department
  cloudwright.cloud.dedication:
    resource_type: cluster
    resource: c1
    zone: lab
    domain: ROOT/department
"""

RETURN = r"""
entity:
  description:
    - The dedication with the fields of the API, as it is now. In check mode, as it would be.
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

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Choice, Entity


def account_name(run):
    """The name of the account that the task names by name or id."""
    return run.referred["account"]["name"] if run.wanted("account") else None


def dedicated(kind):
    """The dedication of one kind."""
    word, ident = kind.capitalize(), f"{kind}id"
    return Entity(
        f"dedicated_{kind}",
        create=f"dedicate{word}",
        delete=f"releaseDedicated{word}",
        key=None,
        derived={"account": account_name},
        address={f"releaseDedicated{word}": {ident: ident}},
        needs={"required_by": {"account": ["domain"]}},
        fields={
            "resource_type": {"type": "str", "required": True, "choices": list(KINDS), "use": "task"},
            "zone": {"type": "str", "ref": "zone", "use": "scope"},
            "resource": {
                "type": "str",
                "required": True,
                "ref": kind,
                "within": () if kind == "zone" else ("zone",),
                "api": ident,
                "find": True,
                "update": False,
            },
            "domain": {"type": "str", "ref": "domain", "needed": True, "update": False},
            "account": {"type": "str", "ref": "account", "within": ("domain",), "create": False, "update": False},
        },
    )


KINDS = ("zone", "pod", "cluster", "host")
ENTITY = Choice("resource_type", {kind: dedicated(kind) for kind in KINDS})

if __name__ == "__main__":
    ENTITY.main()
