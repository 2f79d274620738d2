#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage ISOs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: iso
short_description: Manage ISOs
description:
  - Register, change and delete ISO images, from which machines are installed.
  - A new ISO is waited for until it is downloaded and ready.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the ISO.
    type: str
  display_text:
    description: Text that users see beside the name. A new ISO gets its name.
    type: str
  zone:
    description:
      - Name or id of the zone.
      - Needed to create a new one.
    type: str
  url:
    description:
      - Address from which the server downloads the image.
      - Needed to create a new one.
      - Only sent at creation.
    type: str
  os_type:
    description:
      - Description or id of the operating system that it installs, such as V(Other Linux (64-bit\)).
      - Needed to create a new one that is bootable.
    type: str
  bootable:
    description: Whether machines may start from it.
    type: bool
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
    description: Whether processors and memory of its guests may change while they run.
    type: bool
  password_enabled:
    description: Whether the guests that it installs take passwords.
    type: bool
  arch:
    description: Architecture of the processors that it is for.
    type: str
    choices: [x86_64, aarch64]
  checksum:
    description: Checksum of the file, with or without its algorithm in braces. Only sent at creation.
    type: str
  domain:
    description: Name, path (as C(ROOT/department)) or id of the domain.
    type: str
  account:
    description: Name of the account that owns the ISO. Needs O(domain).
    type: str
  project:
    description: Name or id of the project that owns the ISO.
    type: str
  state:
    description: Whether the ISO exists.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
"""

EXAMPLES = r"""
- name: Have an ISO to install from
  cloudwright.cloud.iso:
    name: installer
    zone: lab
    url: http://10.91.0.13/installer.iso
    os_type: Other Linux (64-bit)
"""

RETURN = r"""
entity:
  description:
    - The ISO with the fields of the API, as it is now. In check mode, as it would be.
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

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity
from ansible_collections.cloudwright.cloud.plugins.module_utils._images import broken

PERMISSIONS = "updateIsoPermissions"
ENTITY = Entity(
    "iso",
    create="registerIso",
    update="updateIso",
    delete="deleteIso",
    always={"isofilter": "self"},
    ready={"isready": True},
    broken=broken,
    fields={
        "name": {"type": "str"},
        "display_text": {"type": "str", "initial": lambda params: params["name"]},
        "zone": {"type": "str", "ref": "zone", "find": True, "needed": True, "update": False},
        "url": {"type": "str", "needed": True, "shown": False},
        "os_type": {"type": "str", "ref": "os_type"},
        "bootable": {"type": "bool"},
        "is_public": {"type": "bool", "via": PERMISSIONS},
        "is_featured": {"type": "bool", "via": PERMISSIONS},
        "is_extractable": {"type": "bool", "via": PERMISSIONS},
        "is_dynamically_scalable": {"type": "bool"},
        "password_enabled": {"type": "bool"},
        "arch": {"type": "str", "choices": ["x86_64", "aarch64"]},
        "checksum": {"type": "str", "shown": False},
        "domain": {"type": "str", "ref": "domain", "find": True, "update": False},
        "account": {"type": "str", "find": True, "update": False},
        "project": {"type": "str", "ref": "project", "find": True, "update": False},
    },
)

if __name__ == "__main__":
    ENTITY.main()
