# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the less usual options of the module vm, in plugins/module_utils/_vm_fields.py."""

from __future__ import annotations


class ModuleDocFragment:
    """What a machine is made of, how it is served, and how long."""

    DOCUMENTATION = r"""
options:
  custom_id:
    description:
      - Id of the machine, a UUID, for administrators. Changing it needs a stopped machine.
      - A task that changes it finds the machine by its name.
    type: str
  display_vm:
    description: Whether users see the machine, for administrators.
    type: bool
  snapshot:
    description:
      - Name or id of a snapshot of a root disk that a new machine's is made of, instead of O(template).
      - Only sent at creation.
    type: str
  volume:
    description:
      - Name or id of a free disk that becomes a new machine's root disk, instead of O(template).
      - Only sent at creation.
    type: str
  override_disk_offering:
    description:
      - Name or id of the disk offering of the root disk, instead of the service offering's own. Only sent at creation.
      - M(cloudwright.cloud.volume) changes that of a disk that exists.
    type: str
  copy_image_tags:
    description: Whether a new machine gets the tags of its template. Only sent at creation.
    type: bool
  deployment_planner:
    description:
      - Planner that chooses where the machine is started, such as V(UserDispersingPlanner), for administrators.
      - It is sent when the machine is made or started, and not compared.
    type: str
  nic_multiqueue_number:
    description:
      - Queues of each NIC, V(-1) for as many as processors.
      - Changing it needs a stopped machine.
    type: int
  nic_packed_virtqueues_enabled:
    description: Whether NICs have packed queues. Changing it needs a stopped machine.
    type: bool
  iothreads_enabled:
    description: Whether a thread of their own serves the disks. Changing it needs a stopped machine.
    type: bool
  io_driver_policy:
    description: How the disks are read and written. Changing it needs a stopped machine.
    type: str
    choices: [native, threads, io_uring, storage_specific]
  extra_config:
    description:
      - Pieces of the hypervisor's configuration (libvirt's XML) with blank lines between, where the server allows them.
      - A first line such as C(memory-backing:) is a piece's name; those without have their number.
      - It replaces what the machine has, which needs a stopped machine, and cannot be taken away.
    type: str
  dhcp_options:
    description: What DHCP tells the guest besides the usual. Networks that are not named keep what they have.
    type: list
    elements: dict
    suboptions:
      network:
        description: Name or id of a network of the machine.
        type: str
        required: true
      options:
        description: Values by the options' codes, all of them. Nothing for none.
        type: dict
        required: true
  lease_duration:
    description:
      - After how many days the machine's lease ends, where the server has leases. V(-1) for none.
      - A lease that differs is replaced and begins anew. A machine that exists without one gets none.
    type: int
  lease_expiry_action:
    description: What is done when the lease ends. A new lease needs it with O(lease_duration).
    type: str
    choices: [STOP, DESTROY]
"""
