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
  - A destroyed machine that is not yet expunged is recovered when it is wanted again.
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
      - A new one needs it, or O(iso), O(snapshot) or O(volume).
      - Cannot change after creation, but with O(state=reinstalled).
    type: str
  iso:
    description:
      - Name or id of the ISO that is in the machine's drive, looked for in O(zone). Empty text takes it out.
      - A new machine without O(template) starts from it.
    type: str
  service_offering:
    description:
      - Name or id of the service offering. Changing it needs a stopped machine, unless it can grow while it runs.
      - Needed to create a new one.
    type: str
  cpu_number:
    description: Number of processors, where the service offering leaves that open.
    type: int
  cpu_speed:
    description: Speed of the processors in MHz, where the service offering leaves that open.
    type: int
  memory:
    description: Memory in MiB, where the service offering leaves that open.
    type: int
  disk_offering:
    description:
      - Name or id of the offering of a data disk, or of the root disk of a machine from an ISO. Only sent at creation.
      - M(cloudwright.cloud.volume) adds disks to machines that exist.
    type: str
  data_disks:
    description: Several data disks of a new machine, instead of O(disk_offering). Only sent at creation.
    type: list
    elements: dict
    suboptions:
      disk_offering:
        description: Name or id of the disk offering.
        type: str
        required: true
      size:
        description: Size in GiB, where the disk offering leaves that open.
        type: int
  root_disk_size:
    description: Size of the root disk in GiB. Only sent at creation, and with O(state=reinstalled).
    type: int
  disk_pools:
    description:
      - Storage pools for disks of the machine, for administrators. Disks that lie elsewhere move, also while it runs.
      - Together with O(host), the machine that runs moves with them at once.
    type: list
    elements: dict
    suboptions:
      volume:
        description: Name or id of the disk.
        type: str
        required: true
      storage_pool:
        description: Name or id of the storage pool, looked for in O(zone).
        type: str
        required: true
  networks:
    description:
      - Names or ids of all networks of the machine, the default one first. They are looked for in O(zone).
      - The machine gets a NIC in each where it has none, and loses those in others.
    type: list
    elements: str
  nics:
    description: The same as O(networks), with addresses.
    type: list
    elements: dict
    suboptions:
      network:
        description: Name or id of the network.
        type: str
        required: true
      ip_address:
        description: Address in the network. Changing it needs a stopped machine.
        type: str
      mac_address:
        description: MAC address of a new NIC.
        type: str
  ip_address:
    description:
      - Address in the first network.
      - Cannot change after creation.
    type: str
  ssh_key_pairs:
    description:
      - Names of the SSH key pairs that the machine trusts.
      - Changing them needs a stopped machine, and gives it a new password where its template takes one.
    type: list
    elements: str
  user_data:
    description:
      - Text that the machine can read from its virtual router.
      - The result's diff has digests of it only.
    type: str
  user_data_name:
    description: Name or id of the registered user data that the machine can read, instead of O(user_data).
    type: str
  user_data_details:
    description:
      - Values of the variables in the user data. They are sent with it; what is not given has no value.
      - The result's diff has digests of them only.
    type: dict
  reset_password:
    description:
      - Whether a machine that exists gets a new password, which its template has to take. It has to be stopped.
      - Reports a change each time.
    type: bool
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
  pod:
    description: Name or id of the pod in which it is started, looked for in O(zone), for administrators.
    type: str
  cluster:
    description: Name or id of the cluster in which it is started, looked for in O(zone) and O(pod), for administrators.
    type: str
  host:
    description:
      - Name or id of the host to be on, for administrators.
      - A machine that runs elsewhere moves there while it runs. One that is stopped is started there.
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
    description: Details for the hypervisor. Only the given keys are compared. Changing them needs a stopped machine.
    type: dict
  boot_type:
    description:
      - Firmware of the machine.
      - Cannot change after creation.
    type: str
    choices: [BIOS, UEFI]
  boot_mode:
    description:
      - How the firmware starts the guest. V(SECURE) needs O(boot_type=UEFI).
      - Cannot change after creation.
    type: str
    choices: [LEGACY, SECURE]
  delete_protection:
    description: Whether the machine is protected from being destroyed.
    type: bool
  dynamic_scaling:
    description: Whether the machine may be scaled while it runs, where zone, template and offering let it.
    type: bool
  assign_from:
    description:
      - Where the machine may be instead. From there it is given to O(account) or O(project), with its disks.
      - It has to be stopped. Its NICs go, and new ones are made in O(networks), or in a network of the new owner.
    type: dict
    suboptions:
      domain:
        description: Name, path or id of the domain of O(assign_from.account).
        type: str
      account:
        description: Name of the account that has it.
        type: str
      project:
        description: Name or id of the project that has it.
        type: str
  state:
    description:
      - What the machine shall be.
      - V(present) takes it running or stopped, and starts a new one.
      - V(absent) is the same as V(destroyed). Such a machine can be recovered until the server expunges it.
      - V(expunged) removes it for good.
      - V(restarted) always reports a change.
      - V(reinstalled) gives a machine a new root disk made from its template or O(template). Always a change.
        Its data disks stay.
    type: str
    choices: [present, absent, started, stopped, restarted, reinstalled, destroyed, expunged]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
  - cloudwright.cloud.fields.owner
  - cloudwright.cloud.vm
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

- name: Have one with two disks, in two networks, apart from its kind
  cloudwright.cloud.vm:
    name: db1
    zone: lab
    template: tiny
    service_offering: Small Instance
    nics:
      - network: front
        ip_address: 10.1.1.20
      - network: back
    data_disks:
      - disk_offering: Small
      - disk_offering: Custom
        size: 40
    affinity_groups: [databases]
    user_data_name: database

- name: Have one for two weeks, with faster disks and a boot server
  cloudwright.cloud.vm:
    name: trial
    zone: lab
    template: tiny
    service_offering: Small Instance
    networks: [front]
    dhcp_options: [{network: front, options: {66: 10.1.1.5, 67: pxelinux.0}}]
    io_driver_policy: io_uring
    iothreads_enabled: true
    lease_duration: 14
    lease_expiry_action: STOP

- name: Make one of a snapshot of another's root disk
  cloudwright.cloud.vm:
    name: db1-copy
    zone: lab
    snapshot: db1-root-monday
    service_offering: Small Instance

- name: Move it to another host while it runs
  cloudwright.cloud.vm:
    name: db1
    zone: lab
    host: kvm2

- name: Give it to another account
  cloudwright.cloud.vm:
    name: db1
    zone: lab
    domain: ROOT/customers
    account: acme
    assign_from:
      domain: ROOT
      account: admin
    state: stopped

- name: Give it a new password
  cloudwright.cloud.vm:
    name: db1
    zone: lab
    state: stopped
    reset_password: true
  register: reset
  no_log: true

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
  description: Password that the server made, where the template takes one. Use C(no_log) to keep it out of the output.
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

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity, State
from ansible_collections.cloudwright.cloud.plugins.module_utils._machines import (
    aside,
    check,
    details,
    dhcp_options,
    differing,
    disks,
    elsewhere,
    new_interfaces,
    source,
)
from ansible_collections.cloudwright.cloud.plugins.module_utils._vm_fields import FIELDS, RESTORE, START
from ansible_collections.cloudwright.cloud.plugins.module_utils._vm_options import first_configuration

RECOVER = "recoverVirtualMachine"
GONE = State(gone=True, goal=("Destroyed",), path={"*": ["destroyVirtualMachine"]})
ENTITY = Entity(
    "vm",
    create="deployVirtualMachine",
    update="updateVirtualMachine",
    ignore=("Expunging",),
    reveal={"password": "password"},
    check=check,
    needs={
        "mutually_exclusive": [
            ("networks", "nics"),
            ("user_data", "user_data_name"),
            ("disk_offering", "data_disks"),
            ("template", "snapshot", "volume"),
        ]
    },
    prepare=differing,
    elsewhere=elsewhere,
    aside=aside,
    derived={
        "templateid": source,
        "datadisksdetails": disks,
        "iptonetworklist": new_interfaces,
        "details": details,
        "extraconfig": first_configuration,
        "dhcpoptionsnetworklist": dhcp_options,
    },
    address={RESTORE: {"virtualmachineid": "id"}},
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
        "reinstalled": State(always="reinstalled", exists=True, path={"*": [RESTORE]}),
        "destroyed": GONE,
        "expunged": State(
            gone=True,
            path={"Destroyed": ["expungeVirtualMachine"], "*": [("destroyVirtualMachine", {"expunge": True})]},
        ),
    },
    fields=FIELDS,
)

if __name__ == "__main__":
    ENTITY.main()
