"""Templates and ISOs in pools: cached before anybody needs them, taken away when they are gone and nothing does."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from mgmt_server.allocation import pools
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import ApiError, InvalidValue
from mgmt_server.jobs import Job, enqueue
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.model.settings import Setting
from mgmt_server.model.storage import Pool, TemplateOnPool
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Zone
from mgmt_server.protocol.machine import Disk, Image
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.storage.settings import CLEAN as LEAVES
from mgmt_server.resources.template import pooled
from mgmt_server.resources.template.pooled import Fetch
from mgmt_server.resources.template.stored import image_in
from mgmt_server.resources.volume.places import host_of

CLEAN = Setting(
    "template.delete.from.primary.storage",
    "Whether a deleted template is deleted from primary storage too, once no disk there stands on it",
)
ALSO = Setting(
    "storage.template.cleanup.enabled",
    f"Whether templates that nothing needs any more leave pools, where {LEAVES.name} lets anything leave",
)


@dataclass(frozen=True)
class Preparation:
    """A template that a host is to fetch into a pool."""

    host: HostRef
    fetch: Fetch


@dataclass(frozen=True)
class Leftover:
    """A cached template that nothing needs any more. No host: its pool is gone, and the row alone is left."""

    row: int
    host: HostRef | None
    disk: Disk


def image_of(tx: Session, template: Template, zone_id: int) -> Image:
    """The template's image on the zone's secondary storage. Raises InvalidValue while there is none."""
    found = image_in(tx, template.id, zone_id)
    if found is None:
        raise InvalidValue(f"The template {template.name} is not ready in this zone: see its status in listTemplates")
    return found


# --- in ---------------------------------------------------------------------------------------------------------------


def start_preparing(tx: Session, template: Template, zone: Zone, pool: Pool | None) -> int:
    """Queue its fetching into the pools that lack it: into how many. Raises InvalidValue where it cannot be."""
    image_of(tx, template, zone.id)
    if pool is not None and (pool.zone_id != zone.id or pool.state != "Up"):
        raise InvalidValue(f"The pool {pool.name} is not in this zone, or is {pool.state}: choose one that is Up")
    have = set(tx.scalars(select(TemplateOnPool.pool_id).where(TemplateOnPool.template_id == template.id)))
    missing = [p for p in ([pool] if pool is not None else pools.usable(tx, zone.id)) if p.id not in have]
    count = 0
    for one in missing:
        if one.hypervisor not in (None, "", "Any", template.hypervisor):
            continue
        lock = f"template_on_pool:{template.id}:{one.id}"
        queued = select(JobRow.id).where(JobRow.lock == lock, JobRow.state.in_(OPEN))
        if tx.scalar(queued.limit(1)) is None:
            enqueue(tx, prepare, (template.id, one.id), lock=lock, instance=("Template", template.uuid))
            count += 1
    return count


def prepare(job: Job, template_id: int, pool_id: int) -> None:
    """Cache a template in a pool."""
    told = job.write(begin_prepare, template_id, pool_id)
    if told is not None:
        pooled.bring(job, told.host, told.fetch)


def begin_prepare(tx: Session, template_id: int, pool_id: int) -> Preparation | None:
    """None when it was deleted, or cached by a deployment, or no host of its kind reaches the pool."""
    template, pool = tx.get_one(Template, template_id), tx.get_one(Pool, pool_id)
    there = select(TemplateOnPool.id).where(
        TemplateOnPool.template_id == template_id, TemplateOnPool.pool_id == pool_id
    )
    if template.removed is not None or pool.removed is not None or tx.scalar(there) is not None:
        return None
    host = host_of(tx, pool)
    if host.hypervisor != template.hypervisor:
        return None
    fetch = Fetch(template_id, pool_id, storage.as_seen(pool), image_of(tx, template, pool.zone_id))
    return Preparation(storage.ref(host), fetch)


# --- out --------------------------------------------------------------------------------------------------------------


def unused(tx: Session) -> list[tuple[int, str]]:
    """Templates and ISOs (number, uuid) that were deleted, are cached in a pool, and that no disk in the pool stands on
    and no drive holds."""
    if not (CLEAN.flag() and ALSO.flag() and LEAVES.flag()):
        return []
    rows = select(Template.id, Template.uuid).join(TemplateOnPool, TemplateOnPool.template_id == Template.id)
    rows = rows.where(Template.removed.is_not(None), ~needed())
    return [(number, uuid) for number, uuid in tx.execute(rows.distinct())]


def needed() -> ColumnElement[bool]:
    """Copies on which disks stand, also such as were let go with their machine, or that drives hold."""
    mine = Volume.template_id == TemplateOnPool.template_id, Volume.pool_id == TemplateOnPool.pool_id
    there = Volume.removed.is_(None) | (Volume.state != "Expunged")
    disks = select(Volume.id).where(*mine, there).correlate(TemplateOnPool).exists()
    drives = select(Vm.id).where(Vm.iso_id == TemplateOnPool.template_id, Vm.removed.is_(None))
    return disks | drives.correlate(TemplateOnPool).exists()


def start_dropping(tx: Session, template_id: int, uuid: str) -> None:
    """Queue that it is taken out of the pools, once."""
    lock = f"template_on_pool:{template_id}"
    queued = select(JobRow.id).where(JobRow.lock == lock, JobRow.state.in_(OPEN))
    if tx.scalar(queued.limit(1)) is None:
        enqueue(tx, drop, (template_id,), lock=lock, instance=("Template", uuid))


def drop(job: Job, template_id: int) -> None:
    """Take a deleted template out of the pools in which no disk stands on it."""
    for left in job.write(leftovers, template_id):
        if left.host is not None:
            job.call(disks.delete_disk, left.host, left.disk)
        job.write(dropped, left)


def leftovers(tx: Session, template_id: int) -> list[Leftover]:
    template = tx.get_one(Template, template_id)
    if template.removed is None:
        return []
    rows = select(TemplateOnPool, Pool).join(Pool, Pool.id == TemplateOnPool.pool_id)
    found = []
    for row, pool in tx.execute(rows.where(TemplateOnPool.template_id == template_id, ~needed())).all():
        disk = Disk(row.name, storage.as_seen(pool), row.size)
        if pool.removed is not None:
            found.append(Leftover(row.id, None, disk))
            continue
        try:
            found.append(Leftover(row.id, storage.ref(host_of(tx, pool)), disk))
        except ApiError:
            continue  # no host is up: it is looked at again
    return found


def dropped(tx: Session, left: Leftover) -> None:
    row = tx.get(TemplateOnPool, left.row)
    if row is not None:
        pools.give_back(tx, row.pool_id, row.size)
        tx.execute(
            delete(TemplateOnPool).where(TemplateOnPool.id == row.id).execution_options(synchronize_session=False)
        )
