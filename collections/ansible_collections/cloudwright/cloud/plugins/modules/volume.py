#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage volumes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: volume
short_description: Manage volumes
description:
  - Create, change, attach, detach, move and delete disks of machines.
  - A new disk gets its place on storage when a machine first has it, unless O(storage_pool) says where it shall be.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the volume.
    type: str
  zone:
    description:
      - Name or id of the zone.
      - Needed to create a new one. Cannot change after creation.
    type: str
  disk_offering:
    description:
      - Name or id of the disk offering. Another one changes what an existing volume gets, also while its machine runs.
      - Needed to create a new one that is not made from O(snapshot), O(url) or O(path).
    type: str
  size:
    description:
      - Size in GiB, where the disk offering leaves that open.
      - An existing volume grows also while its machine runs. It becomes smaller only with O(shrink_ok).
    type: int
  shrink_ok:
    description: Whether the volume may become smaller, which loses what is at its end.
    type: bool
  min_iops:
    description: Least operations per second, where the disk offering leaves that open.
    type: int
  max_iops:
    description: Most operations per second, where the disk offering leaves that open.
    type: int
  auto_migrate:
    description: Whether the volume may move to another pool when its own does not suit another disk offering.
    type: bool
  snapshot:
    description:
      - Name or id of the snapshot whose content the new volume shall hold.
      - Cannot change after creation.
    type: str
  url:
    description: Address from which the server downloads the content of the new volume. Only sent at creation.
    type: str
  path:
    description:
      - Local file that is sent to the server, instead of O(url).
      - It is read where the task runs, which is the controller unless the task is delegated. Only sent at creation.
    type: path
  format:
    description: Format of the image of O(url) or O(path), such as V(QCOW2). Only sent at creation.
    type: str
  checksum:
    description: Checksum of that image, with or without its algorithm in braces. Only sent at creation.
    type: str
  vm:
    description:
      - Name or id of the machine that shall have the volume, looked for in O(zone).
      - A volume that another machine has is taken from there.
      - Without it, the volume is left where it is; see O(state=detached).
    type: str
  device_id:
    description: Place in the machine, used when an existing volume is attached. By default the next free one.
    type: int
  storage_pool:
    description:
      - Name or id of the storage pool, looked for in O(zone), for administrators.
      - A volume that lies in another one is moved. One that has no place yet is left alone.
    type: str
  live_migrate:
    description: Whether the volume may move while its machine runs.
    type: bool
  display_volume:
    description: Whether users see it.
    type: bool
  delete_protection:
    description: Whether the volume is protected from being deleted.
    type: bool
  forced:
    description: With O(state=absent) or O(state=destroyed), detach the volume from its machine first.
    type: bool
  state:
    description:
      - What the volume shall be.
      - V(present) recovers one that was destroyed.
      - V(absent) removes it for good. V(destroyed) leaves a volume that can be recovered until the server expunges it.
    type: str
    choices: [present, detached, destroyed, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
  - cloudwright.cloud.fields.owner
"""

EXAMPLES = r"""
- name: Have a disk of 20 GiB in a machine
  cloudwright.cloud.volume:
    name: web1-data
    zone: lab
    disk_offering: Custom
    size: 20
    vm: web1

- name: Have a disk with what a snapshot holds
  cloudwright.cloud.volume:
    name: web1-restored
    zone: lab
    snapshot: before-upgrade

- name: Have a disk with what a file here holds
  cloudwright.cloud.volume:
    name: web1-old
    zone: lab
    path: /srv/images/web1-old.qcow2
    format: QCOW2

- name: Take it from its machine and remove it for good
  cloudwright.cloud.volume:
    name: web1-data
    zone: lab
    forced: true
    state: absent
"""

RETURN = r"""
entity:
  description:
    - The volume with the fields of the API, as it is now. In check mode, as it would be.
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
from ansible_collections.cloudwright.cloud.plugins.module_utils._compare import UNKNOWN
from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity, State
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import OWNED

GIB = 2**30
RESIZE = "resizeVolume"


def check(params):
    """A volume cannot be in a machine and in none."""
    if params["vm"] and params["state"] == "detached":
        raise ApiError("vm and state=detached exclude each other: leave vm out")


def size(volume):
    """GiB, as requests have it."""
    return volume["size"] // GIB if volume.get("size") is not None else UNKNOWN


def pool(volume):
    """The pool; only administrators are told, and a new volume has none."""
    return volume.get("storageid", UNKNOWN)


def moves(run, volume):
    """Back from the destroyed ones, out of the machine that has it, and into the one that shall."""
    named = {"id": volume["id"]}
    here = volume.get("virtualmachineid")
    wanted = run.wanted("vm")
    if volume.get("state") == "Destroy":
        yield "state", "Destroy", "Ready", "recoverVolume", named
    if here and (run.params["state"] == "detached" or (wanted and wanted != here)):
        run.predicted["virtualmachineid"] = wanted
        yield "vm", here, wanted, "detachVolume", named
    if wanted and wanted != here:
        run.predicted["virtualmachineid"] = wanted
        device = {"deviceid": run.params["device_id"]}
        yield "vm", here, wanted, "attachVolume", {**named, "virtualmachineid": wanted, **device}


def brought(params):
    """Whether a new volume is an image from elsewhere."""
    return bool(params.get("url") or params.get("path"))


def creating(params):
    """The command that makes a new volume."""
    if params.get("path"):
        return "getUploadParamsForVolume"
    return "uploadVolume" if params.get("url") else "createVolume"


def end(command):
    """The way to the end, by way of leaving the machine where the task allows that."""

    def path(run, volume):
        detach = run.params["forced"] and volume.get("virtualmachineid")
        return ["detachVolume", command] if detach else [command]

    return path


ENTITY = Entity(
    "volume",
    create=creating,
    sends="path",
    needs={"mutually_exclusive": [("snapshot", "url", "path")]},
    derived={
        "format": lambda run: run.params["format"] if brought(run.params) else None,
        "checksum": lambda run: run.params["checksum"] if brought(run.params) else None,
    },
    update="updateVolume",
    delete="deleteVolume",
    ignore=("Expunging", "Expunged"),
    check=check,
    prepare=moves,
    address={"migrateVolume": {"volumeid": "id"}},
    states={
        "present": State(),
        "detached": State(),
        "destroyed": State(gone=True, goal=("Destroy",), path=end("destroyVolume")),
        "absent": State(gone=True, path=end("deleteVolume")),
    },
    fields={
        "name": {"type": "str"},
        "zone": {"type": "str", "ref": "zone", "find": True, "needed": True, "update": False},
        "disk_offering": {"type": "str", "ref": "disk_offering", "via": RESIZE},
        "size": {"type": "int", "read": size, "via": RESIZE},
        "shrink_ok": {"type": "bool", "use": "task", "along": (RESIZE,)},
        "min_iops": {"type": "int", "via": RESIZE},
        "max_iops": {"type": "int", "via": RESIZE},
        "auto_migrate": {"type": "bool", "use": "task", "along": (RESIZE,)},
        "snapshot": {"type": "str", "ref": "snapshot", "within": ("domain", "account", "project"), "update": False},
        "url": {"type": "str", "shown": False},
        "path": {"type": "path", "use": "task"},
        "format": {"type": "str", "needed": brought, "use": "task"},
        "checksum": {"type": "str", "use": "task"},
        "vm": {
            "type": "str",
            "ref": "vm",
            "api": "virtualmachineid",
            "within": ("zone", "domain", "account", "project"),
            "shown": False,
        },
        "device_id": {"type": "int", "use": "task"},
        "storage_pool": {
            "type": "str",
            "ref": "storage_pool",
            "within": ("zone",),
            "api": "storageid",
            "read": pool,
            "via": "migrateVolume",
        },
        "live_migrate": {"type": "bool", "use": "task", "along": ("migrateVolume",)},
        "display_volume": {"type": "bool"},
        "delete_protection": {"type": "bool", "create": False},
        **OWNED,
        "forced": {"type": "bool", "use": "task"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
