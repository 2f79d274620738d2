"""Which service offerings can be as large as somebody asks, and which a machine could change to."""

from __future__ import annotations

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.vm import Vm

TOP = {"cpus": "maxcpunumber", "memory": "maxmemory"}  # in the details of offerings that leave it open


def at_least(tx: Session, **wanted: int | None) -> ColumnElement[bool] | None:
    """Offerings that have so much of `cpus`, `speed` and `memory`, or let users choose so much."""
    asked = {name: value for name, value in wanted.items() if value is not None}
    if not asked:
        return None
    # bounds are in the details, which no database compares alike: there are few offerings
    found = tx.scalars(select(ServiceOffering).where(ServiceOffering.removed.is_(None)))
    return ServiceOffering.id.in_([o.id for o in found if all(_reaches(o, n, v) for n, v in asked.items())])


def _reaches(offering: ServiceOffering, name: str, value: int) -> bool:
    fixed = getattr(offering, name)
    top = offering.details.get(TOP.get(name, "")) if fixed is None else fixed
    return top is None or int(top) >= value


def for_machine(tx: Session, vm: Vm) -> list[ColumnElement[bool] | None]:
    """Offerings that the machine could change to. One that it has already counts where its owner chooses the size;
    one that runs never becomes smaller, and grows only where the new offering lets it too."""
    current = tx.get_one(ServiceOffering, vm.service_offering_id)
    kind = select(DiskOffering.storage_type).where(DiskOffering.id == current.disk_offering_id).scalar_subquery()
    found: list[ColumnElement[bool] | None] = [DiskOffering.storage_type == kind]
    if not current.customized:
        found.append(ServiceOffering.id != current.id)
    if vm.state == "Running":
        found.append(at_least(tx, cpus=vm.cpus, speed=vm.speed, memory=vm.memory))
        found.append(ServiceOffering.dynamic_scaling)
    return found
