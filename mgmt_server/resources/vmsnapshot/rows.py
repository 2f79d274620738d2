"""What a machine's snapshots keep others from doing."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.db import now
from mgmt_server.errors import InvalidValue
from mgmt_server.model.snapshot import VmSnapshot


def of_machine(tx: Session, vm_id: int) -> list[VmSnapshot]:
    """Those that are there or are being made, the oldest first."""
    rows = select(VmSnapshot).where(VmSnapshot.vm_id == vm_id, VmSnapshot.removed.is_(None))
    return list(tx.scalars(rows.order_by(VmSnapshot.id)))


def refuse_with_snapshots(tx: Session, vm_id: int, what: str) -> None:
    """Raises InvalidValue while the machine has snapshots: they are kept in its disks as these are now.

    what: what cannot be done, as the end of a sentence: "a disk cannot be attached"
    """
    found = [s.display_name or s.name for s in of_machine(tx, vm_id) if s.state != "Error"]
    if found:
        more = ", ..." if len(found) > 3 else ""
        raise InvalidValue(
            f"The machine has snapshots ({', '.join(found[:3])}{more}): {what} while it has. Delete them with "
            "deleteVMSnapshot first"
        )


def refuse_with_remains(tx: Session, vm_id: int, what: str) -> None:
    """As `refuse_with_snapshots`, and also while one is in Error: what its host made of it may lie in the disks still.

    It goes with deleteVMSnapshot, from the disks that the machine has then and under the name that it has then: what
    left before would never be rid of it.
    """
    refuse_with_snapshots(tx, vm_id, what)
    failed = [s.display_name or s.name for s in of_machine(tx, vm_id)]
    if failed:
        more = ", ..." if len(failed) > 3 else ""
        raise InvalidValue(
            f"The machine has snapshots in Error ({', '.join(failed[:3])}{more}), of which its disks may hold parts "
            f"still: {what} while it has. Delete them with deleteVMSnapshot first"
        )


def gone_with(tx: Session, vm_id: int) -> None:
    """A machine is removed for good, and its snapshots with its disks."""
    live = update(VmSnapshot).where(VmSnapshot.vm_id == vm_id, VmSnapshot.removed.is_(None))
    tx.execute(live.values(state="Removed", removed=now(), current=False).execution_options(synchronize_session=False))
