#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage domains."""

from __future__ import annotations

DOCUMENTATION = r"""
module: domain
short_description: Manage domains
description:
  - Create, rename, move and delete domains.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  path:
    description:
      - Path of the domain, such as V(ROOT/department/team). The domain above has to be there.
      - With O(id), another path renames or moves the domain. What is below follows.
    type: str
  network_domain:
    description: Network domain of new networks whose account has none of its own.
    type: str
  cleanup:
    description: Whether deletion takes along the accounts and domains in it, with all that they own. Without, a domain
      with anything in it stays.
    type: bool
  state:
    description: Whether the domain exists.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
"""

EXAMPLES = r"""
- name: Have a domain for a department
  cloudwright.cloud.domain:
    path: ROOT/department
    network_domain: department.example.org

- name: Rename it
  cloudwright.cloud.domain:
    id: "{{ domain_id }}"
    path: ROOT/division
"""

RETURN = r"""
entity:
  description:
    - The domain with the fields of the API, as it is now. In check mode, as it would be.
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

from ansible_collections.cloudwright.cloud.plugins.module_utils._client import ApiError
from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity
from ansible_collections.cloudwright.cloud.plugins.module_utils._kinds import lookup


def check(options):
    """Refuse what is no whole path: a name alone may be that of a domain anywhere."""
    path = options.get("path")
    if path is not None and path != "ROOT" and (not path.startswith("ROOT/") or "" in path.split("/")):
        raise ApiError(f"path {path!r} is not the path of a domain: give all of it, such as ROOT/department/team")


def above(run):
    """Id of the domain above the one that the task names."""
    return lookup(run.client, "domain", run.params["path"].rpartition("/")[0])["id"]


def last(run):
    """The domain's own name."""
    return run.params["path"].rpartition("/")[2]


def placed(run, domain):
    """The steps from the path that the domain has to the one that it should have."""
    path, now = run.params.get("path"), domain.get("path")
    if run.created or path is None or path == now:
        return []
    run.predicted["path"] = path
    steps = []
    if last(run) != domain["name"]:
        steps.append(("path", now, path, "updateDomain", {"id": domain["id"], "name": last(run)}))
    if path.rpartition("/")[0] != now.rpartition("/")[0]:
        place = {"domainid": domain["id"], "parentdomainid": above(run)}
        steps.append(("path", now, path, "moveDomain", place))
    return steps


ENTITY = Entity(
    "domain",
    create="createDomain",
    update="updateDomain",
    delete="deleteDomain",
    key="path",
    check=check,
    derived={"name": last, "parentdomainid": above},
    prepare=placed,
    fields={
        "path": {"type": "str", "create": False, "use": "task"},
        "network_domain": {"type": "str"},
        "cleanup": {"type": "bool", "use": "delete"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
