"""What lies on secondary storage, file by file, and links to single files."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import page_of_objects
from mgmt_server.api.parameters import Use
from mgmt_server.api.view import View, always
from mgmt_server.db import reading
from mgmt_server.drivers.image import nfs
from mgmt_server.drivers.storage import simulator
from mgmt_server.errors import Failed, InvalidValue
from mgmt_server.jobs import Accepted, Job
from mgmt_server.model.account import Account
from mgmt_server.model.snapshot import Snapshot, SnapshotOnStore
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.transfer import VolumeOnStore
from mgmt_server.model.vm import Volume
from mgmt_server.model.zone import Zone
from mgmt_server.protocol.machine import PoolFile
from mgmt_server.resources.imagestore import rows
from mgmt_server.resources.storage.objects import Known, shown
from mgmt_server.resources.transfer.links import Holder, Link, check_extraction, make_link

link_view = View(
    "downloadimagestoreobjectresponse",
    ImageStore,
    response="ExtractResponse",
    joins=((Zone, Zone.id == ImageStore.zone_id),),
    id=ImageStore.uuid,
    name=ImageStore.name,
    zoneid=Zone.uuid,
    zonename=Zone.name,
    storagetype=always("imagestore"),
)


@command("listImageStoreObjects", roles=ROOT, key="", outside=True)
def list_objects(ctx: Context, id: Use[ImageStore], path: str = "") -> dict[str, Any]:
    """List the files of secondary storage.

    id: the store
    path: a folder on it; its top one by default
    """
    found = _files(ctx.session, id, path, ctx.simulator)
    return page_of_objects(ctx, "datastoreobject", shown(found, _known(ctx.session, id, path.strip("/"))))


def _files(tx: Session, store: ImageStore, folder: str, simulator_alone: bool) -> list[PoolFile]:
    zone = tx.get(Zone, store.zone_id) if store.zone_id is not None else None
    if rows.is_simulated(tx, zone, simulator_alone):
        return simulator.files_of(tx, store.url, folder)
    return nfs.files(store.url, folder)


def _known(tx: Session, store: ImageStore, folder: str) -> Known:
    """What is known of the files of a folder, by their names there."""
    below = f"{folder}/" if folder else ""
    found: dict[str, dict[str, str]] = {}
    for kind, table, row, number in (
        ("template", Template, TemplateOnStore, TemplateOnStore.template_id),
        ("snapshot", Snapshot, SnapshotOnStore, SnapshotOnStore.snapshot_id),
        ("volume", Volume, VolumeOnStore, VolumeOnStore.volume_id),
    ):
        files = select(row.path, table.uuid, table.name).join(table, table.id == number)  # type: ignore[attr-defined]
        inside = row.path.startswith(below, autoescape=True)  # type: ignore[attr-defined]
        for path, uuid, name in tx.execute(files.where(row.store_id == store.id, inside)):  # type: ignore[attr-defined]
            rest = path.removeprefix(below)
            if "/" not in rest:
                format = rest.rpartition(".")[2].upper()
                found[rest] = {f"{kind}id": uuid, f"{kind}name": name, "format": format}
    return found


@command("downloadImageStoreObject", roles=ROOT, answers=link_view, event="IMAGE.STORE.OBJECT.DOWNLOAD")
def download(ctx: Context, id: Use[ImageStore], path: str | None = None) -> Accepted:
    """Make a link from which a file of secondary storage can be fetched for some time.

    id: the store
    path: the file's path on it
    """
    if not path:
        raise InvalidValue("path is missing: name a file that listImageStoreObjects shows")
    check_extraction("HTTP_DOWNLOAD")
    ctx.describe(f"making a link to {path[:200]} on secondary storage {id.name}")
    zone = ctx.session.get(Zone, id.zone_id) if id.zone_id is not None else None
    simulated = rows.is_simulated(ctx.session, zone, ctx.simulator)
    return ctx.start(link, id, path, ctx.caller.account_id, simulated)


def link(job: Job, store_id: int, path: str, account_id: int, simulated: bool) -> None:
    size = job.call(size_of, store_id, path, simulated)
    told = job.write(linked, store_id, path, account_id, size)
    job.answer(url=told.url, extractId=told.uuid, extractMode="HTTP_DOWNLOAD", state="DOWNLOAD_URL_CREATED")


def size_of(call: UUID, store_id: int, path: str, simulated: bool) -> int:
    """Raises Failed for what is no file of the store."""
    folder, _, name = path.strip("/").rpartition("/")
    with reading() as session:
        url = session.get_one(ImageStore, store_id).url
        files = simulator.files_of(session, url, folder) if simulated else None
    found = {f.name: f for f in (files if files is not None else nfs.files(url, folder))}
    if name not in found or found[name].folder:
        raise Failed(f"there is no file {path[:200]} on that secondary storage: see listImageStoreObjects")
    return found[name].size


def linked(tx: Session, store_id: int, path: str, account_id: int, size: int) -> Link:
    store, whose = tx.get_one(ImageStore, store_id), tx.get_one(Account, account_id)
    path = path.strip("/")
    name = path.rpartition("/")[2]
    return make_link(tx, Holder(whose.id, whose.domain_id), "Object", store.uuid, name, store_id, path, size=size)
