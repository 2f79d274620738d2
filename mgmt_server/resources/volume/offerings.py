"""Which offerings disks may have."""

from __future__ import annotations

from sqlalchemy import select

from mgmt_server.api.context import Context
from mgmt_server.errors import InvalidValue
from mgmt_server.model.offering import DiskOffering, OfferedTo
from mgmt_server.model.storage import Pool
from mgmt_server.model.zone import Zone


def open_offering(ctx: Context, pool: Pool | None = None, zone_id: int | None = None) -> DiskOffering | None:
    """An offering of any size, for a disk for which none was named. `pool`: where that lies."""
    rows = select(DiskOffering).where(
        DiskOffering.customized, ~DiskOffering.compute_only, DiskOffering.removed.is_(None),
        DiskOffering.state == "Active", DiskOffering.tags.is_(None) | (DiskOffering.tags == ""),
        DiskOffering.usable_by(ctx.caller), DiskOffering.customized_iops.is_not(True),
    )  # fmt: skip
    if pool is not None:
        rows = rows.where(DiskOffering.storage_type == ("local" if pool.is_local else "shared"))
        zone_id = pool.zone_id
    if zone_id is not None:
        rows = rows.where(DiskOffering.in_zone(zone_id))
    return ctx.session.scalar(rows.order_by(DiskOffering.sort_key, DiskOffering.id).limit(1))


def check_offering(ctx: Context, offering: DiskOffering, zone: Zone) -> None:
    """Raises InvalidValue for what is no offering of disks, or not one of this zone."""
    if offering.compute_only:
        raise InvalidValue(f"{offering.name} is the root disk of a service offering: choose a disk offering")
    if offering.state != "Active":
        raise InvalidValue(f"The disk offering {offering.name} is {offering.state}: choose another")
    zones = select(OfferedTo.zone_id).where(OfferedTo.offering == offering.uuid, OfferedTo.zone_id.is_not(None))
    found = set(ctx.session.scalars(zones))
    if found and zone.id not in found:
        raise InvalidValue(f"The offering {offering.name} is not for the zone {zone.name}")
