"""In what order jobs about a disk run, and what a disk must be for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.errors import InvalidValue, Unavailable
from mgmt_server.model.vm import Vm, Volume

BUSY = {
    "Creating": "is being created", "Resizing": "is being resized", "Migrating": "is being moved",
    "Snapshotting": "is being copied", "RevertSnapshotting": "is being brought back to a snapshot",
    "Attaching": "is being attached", "UploadOp": "is being uploaded", "Copying": "is being copied to primary storage",
    "Expunging": "is being removed",
}  # fmt: skip


def lock_of(volume: Volume) -> str:
    """With its machine's jobs while it is on one."""
    return f"vm:{volume.vm_id}" if volume.vm_id is not None else f"volume:{volume.id}"


def check_state(volume: Volume, allowed: tuple[str, ...], what: str) -> None:
    """Raises InvalidValue for a disk in another state. `what`: the end of a sentence: "it cannot be resized"."""
    if volume.removed is not None or volume.state in ("Expunged",):
        raise InvalidValue(f"The disk {volume.name} is gone")
    if volume.state not in allowed:
        state = BUSY.get(volume.state)
        told = f"{state}: wait until that has ended" if state else f"is {volume.state}: {what}"
        raise InvalidValue(f"The disk {volume.name} {told}")


def check_settled(volumes: Iterable[Volume]) -> None:
    """Raises Unavailable while nobody knows in which of two pools one of these disks lies.

    For jobs under the lock of its machine: one that moves without harm is met by none of them.
    """
    moving = next((v for v in volumes if v.state == "Migrating"), None)
    if moving is not None:
        raise Unavailable(
            f"Nobody can tell yet where the disk {moving.name} lies: it stays Migrating until the host on which its "
            "machine ran when it was moved tells. See listHosts, and try again then"
        )


def disks_of(tx: Session, vm_id: int) -> Sequence[Volume]:
    return tx.scalars(select(Volume).where(Volume.vm_id == vm_id, Volume.removed.is_(None))).all()


def check_user_disk(tx: Session, volume: Volume) -> None:
    """Raises InvalidValue for the disk of a system VM."""
    vm = tx.get(Vm, volume.vm_id) if volume.vm_id is not None else None
    if vm is not None and vm.kind != "User":
        raise InvalidValue(f"The disk {volume.name} is one of a system VM: it goes with that")


def same_place(volume: Volume, vm_id: int | None) -> None:
    """Raises InvalidValue when a disk was attached or detached between the call and its job."""
    if volume.vm_id != vm_id:
        raise InvalidValue(f"The disk {volume.name} has been attached or detached meanwhile: look, and try again")
