#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take hosts out of service and back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_maintenance
short_description: Take hosts out of service and back
description:
  - Empty a host for work on it, and give it back.
  - Its machines move to other hosts, without being stopped where that is possible.
  - When something cannot move, the task fails with what the server says of it. The host takes no new machines until
    it is given back.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the host.
    type: str
  state:
    description: Whether the host is out of service.
    type: str
    choices: [maintenance, enabled]
    default: maintenance
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
  - cloudwright.cloud.fields.place
"""

EXAMPLES = r"""
- name: Empty a host
  cloudwright.cloud.host_maintenance:
    name: kvm1
    wait_timeout: 3600

- name: Give it back
  cloudwright.cloud.host_maintenance:
    name: kvm1
    state: enabled
"""

RETURN = r"""
entity:
  description:
    - The host with the fields of the API, as it is now. In check mode, as it would be.
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
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import PLACED

STUCK = ("ErrorInMaintenance", "ErrorInPrepareForMaintenance")


def broken(host):
    """Why it will never be empty, or None; the job itself tells more."""
    if host.get("resourcestate") in STUCK:
        return f"is {host['resourcestate']}: some machines cannot move; see the host's events and alerts"
    return None


ENTITY = Entity(
    "host",
    state_field="resourcestate",
    broken=broken,
    states={
        "maintenance": State(goal=("Maintenance",), path={"*": ["prepareHostForMaintenance"]}),
        "enabled": State(
            goal=("Enabled",),
            path={"Disabled": [("updateHost", {"allocationstate": "Enable"})], "*": ["cancelHostMaintenance"]},
        ),
    },
    fields={
        "name": {"type": "str"},
        **PLACED,
    },
)

if __name__ == "__main__":
    ENTITY.main()
