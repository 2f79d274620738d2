#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage system VMs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: system_vm
short_description: Manage system VMs
description:
  - Start, stop, restart, move and replace the secondary storage VMs and console proxies of zones.
  - A zone has one of each, and looks after them. One that is stopped is started again.
  - One that is destroyed is made anew.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  type:
    description: What the system VM does.
    type: str
    choices: [consoleproxy, secondarystoragevm]
    required: true
  zone:
    description: Name or id of the zone.
    type: str
    required: true
  name:
    description: Name of the system VM, such as V(s-1-VM), where the zone has several of the kind.
    type: str
  host:
    description:
      - Name or id of the host to be on.
      - One that runs elsewhere moves there while it runs.
    type: str
  storage_pool:
    description: Name or id of the storage pool, looked for in O(zone), to which the disk of a stopped one moves.
    type: str
  state:
    description:
      - What it shall be.
      - V(present) takes it running or stopped.
      - V(restarted) and V(renewed) always report a change.
      - V(renewed) destroys it with its disk. Its zone then makes another one.
    type: str
    choices: [present, started, stopped, restarted, renewed]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
"""

EXAMPLES = r"""
- name: Take the console proxy to another host
  cloudwright.cloud.system_vm:
    type: consoleproxy
    zone: lab
    host: kvm2

- name: Have a new one made
  cloudwright.cloud.system_vm:
    type: consoleproxy
    zone: lab
    state: renewed
"""

RETURN = r"""
entity:
  description:
    - The system VM with the fields of the API, as it is now. In check mode, as it would be.
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

START = "startSystemVm"
MIGRATE = "migrateSystemVm"


def moved(run, vm):
    """Where it shall be, and its disk."""
    if vm.get("state") == "Stopped" or run.params["state"] == "stopped":
        wanted, field = run.wanted("storage_pool"), "storageid"
        have = vm.get("storageid")
    else:
        wanted, field, have = run.wanted("host"), "hostid", vm.get("hostid")
    if wanted and wanted != have:
        name = "host" if field == "hostid" else "storage_pool"
        yield name, have, wanted, MIGRATE, {"virtualmachineid": vm["id"], field: wanted}


ENTITY = Entity(
    "system_vm",
    key=None,
    ignore=("Destroyed", "Expunging"),
    prepare=moved,
    states={
        "present": State(goal=("Running", "Stopped")),
        "started": State(goal=("Running",), path={"Stopped": [START]}),
        "stopped": State(goal=("Stopped",), path={"Running": ["stopSystemVm"]}, first=True),
        "restarted": State(
            always="restarted", goal=("Running",), path={"Running": ["rebootSystemVm"], "Stopped": [START]}
        ),
        "renewed": State(always="renewed", exists=True, path={"*": ["destroySystemVm"]}),
    },
    fields={
        "type": {
            "type": "str",
            "choices": ["consoleproxy", "secondarystoragevm"],
            "required": True,
            "api": "systemvmtype",
            "find": True,
            "use": "scope",
        },
        "zone": {"type": "str", "required": True, "ref": "zone", "find": True, "use": "scope"},
        "name": {"type": "str", "find": True, "use": "scope"},
        "host": {"type": "str", "ref": "host", "within": ("zone",), "use": "task"},
        "storage_pool": {"type": "str", "ref": "storage_pool", "within": ("zone",), "use": "task"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
