# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the fields in plugins/module_utils/_fields.py."""

from __future__ import annotations


class ModuleDocFragment:
    """Each is a group of options."""

    OWNER = r"""
options:
  domain:
    description: Name, path (as C(ROOT/department)) or id of the domain.
    type: str
  account:
    description: Name of the account that owns it. Needs O(domain).
    type: str
  project:
    description: Name or id of the project that owns it.
    type: str
"""

    LIST_ALL = r"""
options:
  list_all:
    description: Whether to return what other accounts own, too, as far as it may be seen.
    type: bool
    default: false
"""

    PLACE = r"""
options:
  zone:
    description: Name or id of the zone.
    type: str
  pod:
    description: Name or id of the pod, looked for in O(zone).
    type: str
  cluster:
    description: Name or id of the cluster, looked for in O(zone) and O(pod).
    type: str
"""

    DISK = r"""
options:
  volume:
    description: Name or id of the volume.
    type: str
  vm:
    description: Name or id of the machine whose root disk is meant, instead of O(volume).
    type: str
"""

    MACHINE = r"""
options:
  vm:
    description: Name or id of the virtual machine, looked for in O(zone).
    type: str
    required: true
  zone:
    description: Name or id of the zone.
    type: str
"""

    DISKS = r"""
options:
  storage_type:
    description:
      - Whether disks lie on the host or on shared storage.
      - Cannot change after creation.
    type: str
    choices: [local, shared]
  provisioning_type:
    description:
      - How disks take their space.
      - Cannot change after creation.
    type: str
    choices: [thin, sparse, fat]
  cache_mode:
    description: How hosts cache what disks write.
    type: str
    choices: [none, writeback, writethrough]
  customized_iops:
    description:
      - Whether users choose the operations per second of disks themselves.
      - Cannot change after creation.
    type: bool
  min_iops:
    description:
      - Least operations per second.
      - Cannot change after creation.
    type: int
  max_iops:
    description:
      - Most operations per second.
      - Cannot change after creation.
    type: int
  bytes_read_rate:
    description: Most bytes read per second.
    type: int
  bytes_write_rate:
    description: Most bytes written per second.
    type: int
  iops_read_rate:
    description: Most reads per second.
    type: int
  iops_write_rate:
    description: Most writes per second.
    type: int
"""

    RESTRICTED = r"""
options:
  domains:
    description: Names, paths or ids of the only domains that may use it.
    type: list
    elements: str
  zones:
    description: Names or ids of the only zones in which it can be used.
    type: list
    elements: str
"""

    IMAGE = r"""
options:
  display_text:
    description: Text that users see beside the name. A new image gets its name.
    type: str
  zone:
    description:
      - Name or id of the zone.
      - Needed to create a new one.
    type: str
  path:
    description:
      - Local file that is sent to the server, instead of O(url).
      - It is read where the task runs, which is the controller unless the task is delegated. Only sent at creation.
    type: path
  is_public:
    description: Whether all accounts may use it.
    type: bool
  is_featured:
    description: Whether it is shown first.
    type: bool
  is_extractable:
    description: Whether it may be downloaded.
    type: bool
  is_dynamically_scalable:
    description: Whether processors and memory of its machines may change while they run.
    type: bool
  password_enabled:
    description: Whether the server sets passwords in its machines.
    type: bool
  arch:
    description: Architecture of the processors that it is for.
    type: str
    choices: [x86_64, aarch64]
  checksum:
    description: Checksum of the file, with or without its algorithm in braces. Only sent at creation.
    type: str
  direct_download:
    description:
      - Whether hosts fetch it from its O(url) at the first use, so that it is on no secondary storage.
      - Cannot change after creation.
    type: bool
"""
