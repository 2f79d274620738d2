"""Which of two files a machine has for its disk: hosts tell that, behind all that they were to do with the machine."""

from __future__ import annotations

from uuid import uuid4

from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.protocol.machine import Disk, Move


def lies_there(host: HostRef, source: Disk, target: Disk, machine: str) -> bool | None:
    """Whether the machine has its disk in the target. None where its host does not tell.

    Each question has an id of its own: what was told of an earlier try says nothing of a later one.
    """
    try:
        return disks.settle_disk(uuid4(), host, source, target, machine)
    except (Failed, Unavailable):
        return None


def went(source: HostRef, target: HostRef, machine: str, move: Move) -> bool | None:
    """Whether a machine has gone to its target, by one of the disks that were to go with it. None: nobody can tell.

    The source is asked behind its part in the move: it has let go of the machine by then, or keeps it for good. What
    the target has says nothing before, for a machine that is about to come looks like one that came.
    """
    try:
        if not disks.settle_disk(uuid4(), source, move.source, move.target, machine):
            return False
    except Unavailable:
        return None
    except Failed:  # it does not know the machine any more
        pass
    return lies_there(target, move.source, move.target, machine) or None
