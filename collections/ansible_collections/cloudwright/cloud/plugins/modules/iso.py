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
  url:
    description:
      - Address from which the server downloads the image.
      - A new one needs it, or O(path).
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
  state:
    description: Whether the ISO exists.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
  - cloudwright.cloud.fields.image
  - cloudwright.cloud.fields.owner
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
from ansible_collections.cloudwright.cloud.plugins.module_utils._images import broken, fields

PERMISSIONS = "updateIsoPermissions"
ENTITY = Entity(
    "iso",
    create=lambda params: "getUploadParamsForIso" if params.get("path") else "registerIso",
    sends="path",
    needs={"mutually_exclusive": [("url", "path"), ("direct_download", "path")]},
    derived={"format": lambda run: "ISO" if run.params["path"] else None},
    update="updateIso",
    delete="deleteIso",
    always={"isofilter": "self"},
    ready={"isready": True},
    broken=broken,
    fields={
        **fields(PERMISSIONS),
        "url": {"type": "str", "needed": lambda params: not params.get("path"), "shown": False},
        "bootable": {"type": "bool"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
