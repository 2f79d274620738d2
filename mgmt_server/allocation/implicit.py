"""Implicit dedication: a host that a machine of an offering with that planner got, strictly, is its account's alone.

It is so while the machine has the host; nothing is written down. The mode is a detail of the offering,
ImplicitDedicationMode: Strict, or Preferred, which shares where it must.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, aliased

from mgmt_server.allocation.need import Need
from mgmt_server.allocation.planners import IMPLICIT
from mgmt_server.db.kept import Kept
from mgmt_server.model.host import Host
from mgmt_server.model.offering import ServiceOffering
from mgmt_server.model.vm import Vm

MODE, STRICT, PREFERRED = "ImplicitDedicationMode", "Strict", "Preferred"


def mode_of(offering: ServiceOffering, planner: str) -> str:
    if planner != IMPLICIT:
        return ""
    return PREFERRED if str(offering.details.get(MODE, "")).lower() == PREFERRED.lower() else STRICT


def _strict(session: Session) -> tuple[int, ...]:
    rows = session.scalars(select(ServiceOffering).where(ServiceOffering.deployment_planner == IMPLICIT))
    return tuple(sorted(o.id for o in rows if mode_of(o, IMPLICIT) == STRICT))


strict = Kept(_strict)  # offerings whose machines keep others from their host; those deleted have machines still
forget = strict.forget


def matters(need: Need) -> bool:
    return need.implicit == STRICT or bool(strict())


def open_hosts(tx: Session, need: Need) -> list[ColumnElement[bool]]:
    """Hosts that nobody else keeps for himself; for a strict machine, those without machines of others."""
    if not matters(need):
        return []
    other = aliased(Vm)
    there = (other.host_id == Host.id) | (other.target_host_id == Host.id)
    rows = select(other.id).where(there, other.kind == "User", other.removed.is_(None))
    theirs = rows.where(other.account_id != (need.account_id or 0))
    if need.implicit != STRICT:
        theirs = theirs.where(other.service_offering_id.in_(strict()))
    return [~theirs.correlate(Host).exists()]
