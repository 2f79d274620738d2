"""What lies in the pools of this host, whoever put it there, and whether it can be a disk."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from mgmt_server.agent.images import format_of, information, looks_like
from mgmt_server.agent.places import Directory, Place, pool_place
from mgmt_server.agent.run import run
from mgmt_server.agent.storage import Storage
from mgmt_server.agent.stores import COPYING, scratch
from mgmt_server.errors import Failed
from mgmt_server.protocol.machine import Disk, DiskFile, Pool, PoolFile, Unmanaged

HEAD = 1 << 20  # bytes of a file that tell what it is
REPAIRS = ("", "leaks", "all")
FOUND_WRONG = (0, 2, 3)  # qemu-img check: sound, corrupt, space lost; anything else: it could not look


def files(storage: Storage, pool: Pool, folder: str) -> list[PoolFile]:
    return pool_place(storage.config, pool).files(folder)


def look(storage: Storage, machines: list[Unmanaged], pool: Pool, names: list[str]) -> list[DiskFile]:
    """`machines`: all of this host, which keep their disks for themselves."""
    place = pool_place(storage.config, pool)
    used = {disk.source: machine.name for machine in machines for disk in machine.disks}
    return [_looked_at(storage, place, name, used) for name in names]


def _looked_at(storage: Storage, place: Place, name: str, used: Mapping[str, str]) -> DiskFile:
    try:
        there = place.size(name)
    except Failed as error:
        return DiskFile(name, refused=str(error))  # a name that no disk of ours could have
    if there is None:
        return DiskFile(name, refused="it is not there")
    where = place.where(name)
    with scratch(storage.config) as head:
        if isinstance(place, Directory):
            if os.path.islink(where) or not os.path.isfile(where):
                return DiskFile(name, refused="it is no plain file")
            path = where
        else:
            head.write_bytes(place.read(name, HEAD))
            path = str(head)
        format = format_of(path)
        try:
            if where in used:
                raise Failed(f"the machine {used[where]} of this host has it")
            found = information(where, looks_like(path, "QCOW2"))
            if isinstance(place, Directory):
                run(["qemu-img", "info", "-f", "qcow2", where], limited=True)  # fails while somebody writes to it
        except Failed as error:
            return DiskFile(name, format, there[1], refused=str(error))
    return DiskFile(name, format, there[1], found.virtual_size)


def check(storage: Storage, disk: Disk, repair: str) -> dict[str, str]:
    """What qemu-img finds wrong with a disk's file, and has put right."""
    if repair not in REPAIRS:
        raise Failed(f"{repair[:50]!r} is no kind of repair: leaks and all are")
    argv = ["qemu-img", "check", "--output=json", "-f", "qcow2", *(["-r", repair] if repair else [])]
    told = json.loads(run([*argv, storage.source(disk)], COPYING, fine=FOUND_WRONG))
    return {name: str(value) for name, value in told.items() if name != "filename"}
