"""Emptying secondary storage, and sharing out what is on it."""

from __future__ import annotations

from statistics import stdev

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.api.view import View, always
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.settings import Setting
from mgmt_server.model.snapshot import Snapshot
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import ROOT
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.imagestore import moving
from mgmt_server.resources.imagestore.moving import ROWS, Unit
from mgmt_server.resources.template.flows import FULL

UNEVEN = Setting(
    "image.store.imbalance.threshold",
    "How much the shares in use of stores have to differ, as their standard deviation, for BALANCE to move anything",
    least=0,
    most=1,
)
UNKNOWN = 1 << 40  # bytes of a store whose size nobody knows
migration_view = View("imagestore", ImageStore, response="MigrationResponse", success=always(True))


@command("migrateSecondaryStorageData", roles=ROOT, answers=migration_view, event="IMAGE.STORE.MIGRATE.DATA")
def migrate(
    ctx: Context, srcpool: Operate[ImageStore], destpools: list[Use[ImageStore]], migrationtype: str = "COMPLETE"
) -> Accepted:
    """Move templates, snapshots and uploaded disks to other secondary storage of the zone.

    srcpool: the store that they leave
    destpools: the stores that they go to, the one with most room first
    migrationtype: COMPLETE to empty the store, which then is read-only; BALANCE to share out what is on it
    """
    kind = one_of("migrationtype", migrationtype, ("COMPLETE", "BALANCE")) or "COMPLETE"
    for target in destpools:
        _check(srcpool, target)
    if kind == "COMPLETE":
        srcpool.readonly = True
    units = moving.units(ctx.session, srcpool)
    if kind == "BALANCE":
        _check_uneven(ctx.session, [srcpool, *destpools])
        twice = {(u.kind, u.id) for target in destpools for u in moving.units(ctx.session, target)}
        units = [u for u in units if (u.kind, u.id) not in twice]
    plan = shared_out(ctx.session, srcpool, destpools, units, balance=kind == "BALANCE")
    ctx.describe(f"moving what is on secondary storage {srcpool.name} to {', '.join(s.name for s in destpools)}")
    return ctx.start(moving.move_all, srcpool, plan, kind)


@command(
    "migrateResourceToAnotherSecondaryStorage",
    roles=ROOT,
    answers=migration_view,
    event="IMAGE.STORE.MIGRATE.RESOURCES",
)
def migrate_some(
    ctx: Context,
    srcpool: Operate[ImageStore],
    destpool: Use[ImageStore],
    templates: list[Use[Template]] | None = None,
    snapshots: list[Use[Snapshot]] | None = None,
) -> Accepted:
    """Move some templates and snapshots to other secondary storage of the zone.

    srcpool: the store that they leave
    destpool: the store that they go to
    templates: the templates and ISOs
    snapshots: the snapshots; all those of the same disks go with them
    """
    _check(srcpool, destpool)
    wanted = {("template", t.id): t.name for t in templates or []}
    wanted |= {("snapshot", s.volume_id): s.name for s in snapshots or []}
    if not wanted:
        raise InvalidValue("templates and snapshots are missing: say what shall move")
    there = {(u.kind, u.id): u for u in moving.units(ctx.session, srcpool)}
    missing = [name for key, name in wanted.items() if key not in there]
    if missing:
        raise InvalidValue(f"{', '.join(missing[:3])} is not on secondary storage {srcpool.name}, or not ready there")
    plan = shared_out(ctx.session, srcpool, [destpool], [there[key] for key in wanted])
    ctx.describe(f"moving {len(plan)} images from secondary storage {srcpool.name} to {destpool.name}")
    return ctx.start(moving.move_all, srcpool, plan, "COMPLETE")


def _check(source: ImageStore, target: ImageStore) -> None:
    if source.id == target.id:
        raise InvalidValue(f"{source.name} is both where images leave and where they go to: name another store")
    if target.zone_id is not None and target.zone_id != source.zone_id:
        raise InvalidValue(f"secondary storage {target.name} is in another zone than {source.name}: see copyTemplate")
    if target.readonly:
        raise InvalidValue(f"secondary storage {target.name} is read-only: choose another, or see updateImageStore")


def _check_uneven(tx: Session, stores: list[ImageStore]) -> None:
    shares = [(store.used or _held(tx, store)) / (store.capacity or UNKNOWN) for store in stores]
    apart, least = stdev(shares), UNEVEN.fraction()
    if apart < least:
        raise InvalidValue(
            f"Migration not required: these stores are {', '.join(f'{s:.0%}' for s in shares)} full, which differs by "
            f"{apart:.2f}, less than {least:g} ({UNEVEN.name})"
        )


def shared_out(
    tx: Session, source: ImageStore, targets: list[ImageStore], units: list[Unit], *, balance: bool = False
) -> list[tuple[Unit, int]]:
    """For each unit that moves the store that it goes to, where most room is. Raises InvalidValue without room.

    balance: only what makes the fullest store less full moves
    """
    used = {store.id: store.used or _held(tx, store) for store in (source, *targets)}
    sizes = {store.id: store.capacity or UNKNOWN for store in (source, *targets)}
    most = FULL.fraction()
    plan = []
    for unit in units:
        target = min(targets, key=lambda s: (used[s.id] + unit.size) / sizes[s.id])
        after = (used[target.id] + unit.size) / sizes[target.id]
        if balance and after > (used[source.id] - unit.size) / sizes[source.id]:
            continue
        if after > most:
            raise InvalidValue(
                f"secondary storage {target.name} has no room for {unit.name}: it would be {after:.0%} full, above "
                f"{most:.0%} ({FULL.name})"
            )
        used[target.id], used[source.id] = used[target.id] + unit.size, used[source.id] - unit.size
        plan.append((unit, target.id))
    return plan


def _held(tx: Session, store: ImageStore) -> int:
    sums = (tx.scalar(select(func.sum(row.physical_size)).where(row.store_id == store.id)) for row in ROWS.values())
    return sum(int(found or 0) for found in sums)
