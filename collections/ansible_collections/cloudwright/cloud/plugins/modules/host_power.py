#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Switch hosts on and off."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_power
short_description: Switch hosts on and off
description:
  - Switch the power of a host through its management controller; see M(cloudwright.cloud.host_out_of_band).
  - Machines on the host are not moved away first; see M(cloudwright.cloud.host_maintenance).
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the host.
    type: str
  timeout:
    description: Seconds that the controller may take.
    type: int
  state:
    description:
      - What the host's power shall be, compared with what the controller told last.
      - V(shutdown) asks the host's operating system to end, V(off) does not ask.
      - V(cycled), V(reset) and V(asked) are things to do, and report a change each time. V(asked) only asks the
        controller how it is.
    type: str
    choices: ['on', 'off', shutdown, cycled, reset, asked]
    default: 'on'
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
  - cloudwright.cloud.fields.place
"""

EXAMPLES = r"""
- name: Switch a host off that was emptied
  cloudwright.cloud.host_power:
    name: kvm1
    zone: lab
    state: shutdown
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

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity, State
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import PLACED

POWER = "issueOutOfBandManagementPowerAction"


def switched(action, *goal):
    """A state that a power action brings about; without a goal it is done each time."""
    return State(goal=goal, always="" if goal else action.lower(), path={"*": [(POWER, {"action": action})]})


ENTITY = Entity(
    "host_out_of_band",
    state_field="powerstate",
    answers=False,
    address={POWER: {"hostid": "id"}},
    states={
        "on": switched("ON", "On"),
        "off": switched("OFF", "Off"),
        "shutdown": switched("SOFT", "Off"),
        "cycled": switched("CYCLE"),
        "reset": switched("RESET"),
        "asked": switched("STATUS"),
    },
    fields={
        "name": {"type": "str"},
        **PLACED,
        "timeout": {"type": "int", "use": "task", "along": (POWER,)},
    },
)

if __name__ == "__main__":
    ENTITY.main()
