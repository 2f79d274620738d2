#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage virtual machines."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm
short_description: Manage virtual machines
description:
  - Deploy, change, start, stop, restart, destroy and expunge virtual machines.
  - A machine that was destroyed and is not yet expunged is recovered when it is wanted again.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the machine, and its host name.
    type: str
  display_name:
    description: Name that users see.
    type: str
  zone:
    description:
      - Name or id of the zone.
      - Needed to create a new one.
    type: str
  template:
    description:
      - Name or id of the template, looked for in O(zone).
      - Needed to create a new one.
      - Cannot change after creation.
    type: str
  service_offering:
    description:
      - Name or id of the service offering. Changing it needs a stopped machine, unless it can grow while it runs.
      - Needed to create a new one.
    type: str
  disk_offering:
    description: Name or id of the offering of a data disk. Only sent at creation.
    type: str
  root_disk_size:
    description: Size of the root disk in GiB. Only sent at creation.
    type: int
  networks:
    description:
      - Names or ids of the networks, looked for in O(zone).
      - Cannot change after creation.
    type: list
    elements: str
  ip_address:
    description:
      - Address in the first network.
      - Cannot change after creation.
    type: str
  ssh_key_pairs:
    description:
      - Names of the SSH key pairs that the machine trusts.
      - Cannot change after creation.
    type: list
    elements: str
  user_data:
    description: Text that the machine can read from its virtual router.
    type: str
  affinity_groups:
    description: Names or ids of the affinity groups. Changing them needs a stopped machine.
    type: list
    elements: str
  security_groups:
    description: Names or ids of the security groups.
    type: list
    elements: str
  group:
    description: Name of the group in which users see the machine.
    type: str
  ha_enabled:
    description: Whether it is started again after its host failed.
    type: bool
  host:
    description: Name or id of the host to start on. Only sent at creation.
    type: str
  hypervisor:
    description:
      - Hypervisor, where the template leaves a choice.
      - Cannot change after creation.
    type: str
  keyboard:
    description: Keyboard of the console, such as V(us). Only sent at creation.
    type: str
  details:
    description: Details for the hypervisor. Only the given keys are compared.
    type: dict
  domain:
    description: Name, path (as C(ROOT/department)) or id of the domain.
    type: str
  account:
    description: Name of the account that owns the virtual machine. Needs O(domain).
    type: str
  project:
    description: Name or id of the project that owns the virtual machine.
    type: str
  state:
    description:
      - What the machine shall be.
      - V(present) takes it running or stopped, and starts a new one.
      - V(absent) is the same as V(destroyed). Such a machine can be recovered until the server expunges it.
      - V(expunged) removes it for good.
      - V(restarted) always reports a change.
    type: str
    choices: [present, absent, started, stopped, restarted, destroyed, expunged]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
"""

EXAMPLES = r"""
- name: Have a running machine
  cloudwright.cloud.vm:
    name: web1
    zone: lab
    template: tiny
    service_offering: Small Instance
    networks: [guests]
    state: started

- name: Remove it for good
  cloudwright.cloud.vm:
    name: web1
    zone: lab
    state: expunged
"""

RETURN = r"""
entity:
  description:
    - The virtual machine with the fields of the API, as it is now. In check mode, as it would be.
    - None when there is none any more.
  returned: success
  type: dict
password:
  description: Password of a new machine whose template takes one. Use C(no_log) to keep it out of the output.
  returned: when the server set one
  type: str
job_id:
  description: Id of the last job that the server started for the task.
  returned: when there was one
  type: str
duration:
  description: Seconds that the task took.
  returned: when there was a job
  type: float
"""

import base64

from ansible_collections.cloudwright.cloud.plugins.module_utils._compare import UNKNOWN
from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity, State


def ids(entries, name="id"):
    """The ids in a list of an answer."""
    return [entry[name] for entry in entries or []]


def user_data(found):
    """What the server shows; it leaves user data out unless asked."""
    return found.get("userdata", UNKNOWN)


START = "startVirtualMachine"
RECOVER = "recoverVirtualMachine"
GONE = State(gone=True, goal=("Destroyed",), path={"*": ["destroyVirtualMachine"]})
ENTITY = Entity(
    "vm",
    create="deployVirtualMachine",
    update="updateVirtualMachine",
    ignore=("Expunging",),
    reveal={"password": "password"},
    states={
        "present": State(goal=("Running", "Stopped"), path={"Destroyed": [RECOVER]}),
        "absent": GONE,
        "started": State(goal=("Running",), path={"Stopped": [START], "Destroyed": [RECOVER, START]}),
        "stopped": State(
            goal=("Stopped",),
            create={"startvm": False},
            path={"Running": ["stopVirtualMachine"], "Destroyed": [RECOVER]},
            first=True,
        ),
        "restarted": State(
            always="restarted",
            goal=("Running",),
            path={"Running": ["rebootVirtualMachine"], "Stopped": [START], "Destroyed": [RECOVER, START]},
        ),
        "destroyed": GONE,
        "expunged": State(
            gone=True,
            path={"Destroyed": ["expungeVirtualMachine"], "*": [("destroyVirtualMachine", {"expunge": True})]},
        ),
    },
    fields={
        "name": {"type": "str"},
        "display_name": {"type": "str"},
        "zone": {"type": "str", "ref": "zone", "find": True, "needed": True, "update": False},
        "template": {"type": "str", "ref": "template", "within": ("zone",), "needed": True, "update": False},
        "service_offering": {
            "type": "str",
            "ref": "service_offering",
            "needed": True,
            "via": "scaleVirtualMachine",
        },
        "disk_offering": {"type": "str", "ref": "disk_offering", "shown": False},
        "root_disk_size": {"type": "int", "shown": False},
        "networks": {
            "type": "list",
            "elements": "str",
            "ref": "network",
            "within": ("zone", "domain", "account", "project"),
            "read": lambda found: ids(found.get("nic"), "networkid"),
            "update": False,
        },
        "ip_address": {
            "type": "str",
            "read": lambda found: ids(found.get("nic"), "ipaddress")[:1],
            "update": False,
        },
        "ssh_key_pairs": {"type": "list", "elements": "str", "api": "keypairs", "no_log": False, "update": False},
        "user_data": {
            "type": "str",
            "encode": lambda text: base64.b64encode(text.encode()).decode(),
            "read": user_data,
        },
        "affinity_groups": {
            "type": "list",
            "elements": "str",
            "ref": "affinity_group",
            "read": lambda found: ids(found.get("affinitygroup")),
            "via": "updateVMAffinityGroup",
        },
        "security_groups": {
            "type": "list",
            "elements": "str",
            "ref": "security_group",
            "read": lambda found: ids(found.get("securitygroup")),
        },
        "group": {"type": "str"},
        "ha_enabled": {"type": "bool", "api": "haenable", "create": False},
        "host": {"type": "str", "ref": "host", "within": ("zone",), "shown": False},
        "hypervisor": {"type": "str", "update": False},
        "keyboard": {"type": "str", "shown": False},
        "details": {"type": "dict"},
        "domain": {"type": "str", "ref": "domain", "find": True, "update": False},
        "account": {"type": "str", "find": True, "update": False},
        "project": {"type": "str", "ref": "project", "find": True, "update": False},
    },
)

if __name__ == "__main__":
    ENTITY.main()
