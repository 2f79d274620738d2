"""Templates and ISOs in pools: what is there already, and what a host has to fetch first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from sqlalchemy import Select, bindparam, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mgmt_server.db import Again
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import Unavailable
from mgmt_server.jobs import Job
from mgmt_server.model.storage import Pool, TemplateOnPool
from mgmt_server.protocol.machine import Image, Machine
from mgmt_server.protocol.machine import Pool as PoolAtHost
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.template.stored import image_in


@dataclass(frozen=True)
class Fetch:
    """A template or ISO that has to be cached in a pool first."""

    template_id: int
    pool_id: int
    pool: PoolAtHost
    image: Image


def find(tx: Session, template_id: int, pool: Pool, at_host: PoolAtHost | None = None) -> tuple[str, Fetch | None]:
    """What the pool calls a template or ISO; empty, and what to fetch, where it is not there yet."""
    name = tx.scalar(_copy(), {"template": template_id, "pool": pool.id})
    if name:
        return name, None
    image = image_in(tx, template_id, pool.zone_id)
    if image is None:
        raise Unavailable(
            "the template of this machine is not ready on the zone's secondary storage: see its status in listTemplates"
        )
    return "", Fetch(template_id, pool.id, at_host or storage.as_seen(pool), image)


@cache
def _copy() -> Select[tuple[str | None]]:
    mine = (TemplateOnPool.template_id == bindparam("template")) & (TemplateOnPool.pool_id == bindparam("pool"))
    return select(TemplateOnPool.name).where(mine, TemplateOnPool.state == "Ready")


def bring(job: Job, host: HostRef, fetch: Fetch) -> str:
    """Have a host fetch it: its name in the pool."""
    name = job.call(disks.cache_template, host, fetch.pool, fetch.image)
    job.write(cached, fetch.template_id, fetch.pool_id, name, fetch.image.virtual_size)
    return name


def with_disc(job: Job, host: HostRef, machine: Machine, disc: Fetch | None) -> Machine:
    """The machine once the disc of its drive is in its pool. None: nothing is to be fetched."""
    return machine if disc is None else replace(machine, iso=bring(job, host, disc))


def cached(tx: Session, template_id: int, pool_id: int, name: str, size: int) -> None:
    """Note that a pool has a template now."""
    rows = select(TemplateOnPool).where(TemplateOnPool.template_id == template_id, TemplateOnPool.pool_id == pool_id)
    row = tx.scalar(rows.with_for_update())
    if row is None:
        tx.add(TemplateOnPool(template_id=template_id, pool_id=pool_id, state="Ready", name=name, size=size))
        try:
            tx.flush()
        except IntegrityError as error:
            raise Again("the template's place in the pool") from error  # another machine's start was quicker
        tx.execute(update(Pool).where(Pool.id == pool_id).values(allocated=Pool.allocated + size))
    else:
        row.state, row.name = "Ready", name
