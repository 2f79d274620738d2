#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage management controllers of hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_out_of_band
short_description: Manage management controllers of hosts
description:
  - Tell the server where the management controller of a host is and how to get in, and whether it may be used.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the host.
    type: str
  driver:
    description: How the controller is spoken to. V(simulator) is for simulated hosts.
    type: str
    choices: [ipmitool, redfish, simulator]
  address:
    description: Name or address of the controller.
    type: str
  port:
    description: Its port, such as V(623) for IPMI and V(443) for Redfish.
    type: int
  username:
    description: User to log in as.
    type: str
  password:
    description:
      - Password of that user.
      - Needed whenever something of the others changes. It is compared with nothing.
    type: str
  state:
    description: Whether the controller may be used.
    type: str
    choices: [enabled, disabled]
    default: enabled
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
  - cloudwright.cloud.fields.place
"""

EXAMPLES = r"""
- name: Use the controller of a host
  cloudwright.cloud.host_out_of_band:
    name: kvm1
    zone: lab
    driver: ipmitool
    address: 10.91.1.11
    port: 623
    username: operator
    password: "{{ ipmi_password }}"
"""

RETURN = r"""
entity:
  description:
    - The controller of the host, with the fields of the API, as it is now. In check mode, as it would be.
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
from ansible_collections.cloudwright.cloud.plugins.module_utils._compare import same
from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity, State
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import PLACED

CONFIGURE = "configureOutOfBandManagement"
ENABLE = "enableOutOfBandManagementForHost"
DISABLE = "disableOutOfBandManagementForHost"
TOLD = ("driver", "address", "port", "username")


def configured(run, host):
    """All of it is sent where something of it differs."""
    given = {name: run.params[name] for name in TOLD if run.params[name] is not None}
    changed = [name for name in given if not same(given[name], host.get(name))]
    if not changed:
        return
    whole = {**{name: host[name] for name in TOLD if host.get(name)}, **given, "password": run.params["password"]}
    missing = [name for name in (*TOLD, "password") if whole.get(name) is None]
    if missing:
        raise ApiError(f"host {host['name']!r}: to change its controller, {', '.join(missing)} is needed too")
    for name in changed:
        run.note(name, host.get(name), given[name])
        run.predicted[name] = given[name]
    last = changed[-1]
    yield last, host.get(last), given[last], CONFIGURE, {"hostid": host["id"], **whole}


ENTITY = Entity(
    "host_out_of_band",
    answers=False,
    prepare=configured,
    address=dict.fromkeys((ENABLE, DISABLE), {"hostid": "id"}),
    states={
        "enabled": State(goal=("Enabled",), path={"*": [ENABLE]}),
        "disabled": State(goal=("Disabled",), path={"*": [DISABLE]}),
    },
    fields={
        "name": {"type": "str"},
        **PLACED,
        "driver": {"type": "str", "choices": ["ipmitool", "redfish", "simulator"], "use": "task"},
        "address": {"type": "str", "use": "task"},
        "port": {"type": "int", "use": "task"},
        "username": {"type": "str", "use": "task"},
        "password": {"type": "str", "no_log": True, "use": "task"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
