"""What nobody told of: a host that came up before its zone had storage, or storage before the host."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.db import reading, write
from mgmt_server.jobs import enqueue
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.jobs.worker import every
from mgmt_server.model.host import Host
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.template import TemplateInZone
from mgmt_server.model.zone import Cluster
from mgmt_server.resources.template import caches
from mgmt_server.resources.template.flows import have_builtin, look_for_system, store_added
from mgmt_server.resources.template.seeds import BUILTIN_SIMULATOR, SYSTEM_KVM


@every(5, "template.builtin")
def builtin() -> None:
    """Have the built-in template wherever simulated hosts are up. One statement where nothing is to be done."""
    for zone in _without_builtin():
        write(have_builtin, zone)


def _without_builtin() -> list[int]:
    up = select(Host.zone_id).where(Host.hypervisor == "Simulator", Host.state == "Up", Host.removed.is_(None))
    there = select(TemplateOnStore.id).where(
        TemplateOnStore.store_id == ImageStore.id, TemplateOnStore.template_id == BUILTIN_SIMULATOR
    )
    deleted = select(TemplateInZone.id).where(
        TemplateInZone.zone_id == ImageStore.zone_id,
        TemplateInZone.template_id == BUILTIN_SIMULATOR,
        TemplateInZone.removed.is_not(None),
    )
    missing = select(ImageStore.zone_id).where(
        ImageStore.removed.is_(None),
        ImageStore.readonly.is_(False),
        ImageStore.zone_id.in_(up),
        ~there.correlate(ImageStore).exists(),
        ~deleted.correlate(ImageStore).exists(),
    )
    with reading() as session:
        return sorted({zone for zone in session.scalars(missing) if zone is not None})


@every(300, "template.cached")
def cached() -> None:
    """Take deleted templates out of pools where the last disk that stood on them has gone."""
    with reading() as session:
        found = caches.unused(session)
    for number, uuid in found:
        write(caches.start_dropping, number, uuid)


@every(60, "template.missing")
def missing() -> None:
    """Look again: for the system VM image where it is missing, and for templates that are for all zones."""
    with reading() as session:
        stores = list(session.scalars(select(ImageStore.id).where(ImageStore.removed.is_(None))))
    for store in stores:
        write(store_added, store)
        write(_look, store)


def _look(tx: Session, store_id: int) -> None:
    """Queue the look for the system VM image, which may have to wait for a store that does not answer."""
    store = tx.get_one(ImageStore, store_id)
    ready = select(TemplateOnStore.id).where(
        TemplateOnStore.store_id == store_id,
        TemplateOnStore.template_id == SYSTEM_KVM,
        TemplateOnStore.state == "Ready",
    )
    hosts = select(Cluster.id).where(
        Cluster.zone_id == store.zone_id, Cluster.hypervisor == "KVM", Cluster.removed.is_(None)
    )
    lock = f"image_store:{store_id}:system"
    queued = select(JobRow.id).where(JobRow.lock == lock, JobRow.state.in_(OPEN))
    if tx.scalar(ready) is None and tx.scalar(hosts.limit(1)) is not None and tx.scalar(queued.limit(1)) is None:
        enqueue(tx, look_for_system, (store_id,), lock=lock)
