#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage templates."""

from __future__ import annotations

DOCUMENTATION = r"""
module: template
short_description: Manage templates
description:
  - Register templates, make them from disks and snapshots, change and delete them.
  - A new template is waited for until it is downloaded and ready.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the template.
    type: str
  url:
    description:
      - Address from which the server downloads the image.
      - A new one needs it, or O(path), O(volume), O(vm) or O(snapshot).
      - Cannot change after creation.
    type: str
  format:
    description:
      - Format of the image, such as V(QCOW2), V(RAW) or V(VHD).
      - Needed with O(url) and O(path) to create a new one.
      - Cannot change after creation.
    type: str
  hypervisor:
    description:
      - Hypervisor that the image is for.
      - Needed with O(url) and O(path) to create a new one.
      - Cannot change after creation.
    type: str
  volume:
    description:
      - Name or id of the volume that a new template is made from, looked for in O(zone).
      - Its machine has to be stopped. Only sent at creation.
    type: str
  vm:
    description: Name or id of the stopped machine from whose root disk a new template is made. Only sent at creation.
    type: str
  snapshot:
    description: Name or id of the snapshot that a new template is made from. Only sent at creation.
    type: str
  os_type:
    description:
      - Description or id of the guest's operating system, such as V(Other Linux (64-bit\)).
      - Needed to create a new one from a disk or a snapshot.
    type: str
  template_tag:
    description: Tag of the hosts that may run its machines.
    type: str
  template_type:
    description: What it is for. A new one gets V(USER).
    type: str
    choices: [USER, VNF, BUILTIN]
  ssh_key_enabled:
    description: Whether the server sets an SSH key in new machines.
    type: bool
  requires_hvm:
    description: Whether it needs hardware virtualisation.
    type: bool
  details:
    description: Details for the hypervisor. Only the given keys are compared.
    type: dict
  forced:
    description: With O(state=absent), remove the template even if machines were made of it.
    type: bool
  state:
    description: Whether the template exists.
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
- name: Have a template
  cloudwright.cloud.template:
    name: tiny
    zone: lab
    url: http://10.91.0.13/tiny.qcow2
    format: QCOW2
    hypervisor: KVM
    os_type: Other Linux (64-bit)
    is_public: true

- name: Have one made from a snapshot
  cloudwright.cloud.template:
    name: web
    zone: lab
    snapshot: before-upgrade
    os_type: Other Linux (64-bit)
"""

RETURN = r"""
entity:
  description:
    - The template with the fields of the API, as it is now. In check mode, as it would be.
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

MADE_FROM = ("volume", "vm", "snapshot")


def made_here(params):
    """Whether a new template is made from what the cloud has."""
    return any(params.get(name) for name in MADE_FROM)


def fetched(params):
    """Whether a new template is an image from elsewhere."""
    return not made_here(params)


def downloaded(params):
    """Whether the server gets it by itself."""
    return fetched(params) and not params.get("path")


def creating(params):
    """The command that makes a new template."""
    if made_here(params):
        return "createTemplate"
    return "getUploadParamsForTemplate" if params.get("path") else "registerTemplate"


ENTITY = Entity(
    "template",
    create=creating,
    sends="path",
    update="updateTemplate",
    delete="deleteTemplate",
    always={"templatefilter": "self"},
    ready={"isready": True},
    broken=broken,
    needs={
        "mutually_exclusive": [("url", "path", *MADE_FROM), *(("direct_download", n) for n in ("path", *MADE_FROM))]
    },
    fields={
        **fields("updateTemplatePermissions"),
        "url": {"type": "str", "needed": downloaded, "update": False},
        "format": {"type": "str", "needed": fetched, "update": False},
        "hypervisor": {"type": "str", "needed": fetched, "update": False},
        "volume": {"type": "str", "ref": "volume", "within": ("zone", "domain", "account", "project"), "shown": False},
        "vm": {
            "type": "str",
            "ref": "root_volume",
            "api": "volumeid",
            "within": ("zone", "domain", "account", "project"),
            "shown": False,
        },
        "snapshot": {"type": "str", "ref": "snapshot", "within": ("domain", "account", "project"), "shown": False},
        "ssh_key_enabled": {"type": "bool"},
        "requires_hvm": {"type": "bool"},
        "template_tag": {"type": "str"},
        "template_type": {"type": "str", "choices": ["USER", "VNF", "BUILTIN"]},
        "details": {"type": "dict"},
        "forced": {"type": "bool", "use": "delete"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
