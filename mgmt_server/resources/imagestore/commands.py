"""Secondary storage: where templates, ISOs and snapshots are kept."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.db import now, write
from mgmt_server.drivers.image import nfs
from mgmt_server.errors import InvalidValue
from mgmt_server.model.snapshot import Snapshot, SnapshotOnStore
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import ADMIN, RESOURCE_ADMIN, ROOT
from mgmt_server.model.zone import Zone
from mgmt_server.resources.checks import alone
from mgmt_server.resources.imagestore import migrating, objects, rows  # noqa: F401  more commands
from mgmt_server.resources.imagestore.settings import TOLD
from mgmt_server.resources.imagestore.views import image_store_view, secondary_view


@command("addImageStore", roles=ROOT, answers=image_store_view, outside=True, unsupported=("details",))
def add(
    ctx: Context,
    provider: str,
    url: str | None = None,
    zoneid: Use[Zone] | None = None,
    name: str | None = None,
) -> ImageStore:
    """Add secondary storage.

    provider: NFS
    url: nfs://SERVER/PATH, or file:///PATH of this server
    zoneid: the zone
    name: its name; its URL when left out
    """
    if not url:
        raise InvalidValue("url is missing: write nfs://SERVER/PATH")
    if provider.upper() != "NFS":
        raise InvalidValue(f"provider={provider[:50]} is not supported: use NFS")
    return _add(ctx, zoneid, url, name)


@command("addSecondaryStorage", roles=ROOT, answers=secondary_view, outside=True, unsupported=("details",))
def add_secondary(ctx: Context, url: str, zoneid: Use[Zone] | None = None) -> ImageStore:
    """Add secondary storage on NFS.

    url: nfs://SERVER/PATH, or file:///PATH of this server
    zoneid: the zone
    """
    return _add(ctx, zoneid, url, None)


@command("updateImageStore", roles=ROOT, answers=image_store_view, event="IMAGE.STORE.ACCESS.UPDATED")
def update(
    ctx: Context,
    id: Operate[ImageStore],
    name: str | None = None,
    readonly: bool | None = None,
    capacitybytes: int | None = None,
) -> ImageStore:
    """Change secondary storage.

    id: the store
    name: its new name
    readonly: true to put nothing more on it
    capacitybytes: its size in bytes, from now on in place of what is measured
    """
    if capacitybytes is not None and capacitybytes < 1:
        raise InvalidValue("capacitybytes is at least 1")
    id.name = name or id.name
    id.readonly = readonly if readonly is not None else id.readonly
    if capacitybytes is not None:
        id.capacity, id.details = capacitybytes, {**id.details, TOLD: str(capacitybytes)}
    ctx.describe(f"changing secondary storage {id.name}")
    return id


@command("deleteImageStore", roles=ROOT)
def delete(ctx: Context, id: Operate[ImageStore]) -> None:
    """Forget secondary storage that holds no template of a user and no snapshot. What is on it stays there.

    id: the store
    """
    alone(ctx, id)
    held = (
        select(Template.name)
        .join(TemplateOnStore, TemplateOnStore.template_id == Template.id)
        .where(
            TemplateOnStore.store_id == id.id,
            TemplateOnStore.removed.is_(None),
            Template.type.not_in(("SYSTEM", "BUILTIN")),
            Template.removed.is_(None),
        )
    )
    names = list(ctx.session.scalars(held.limit(3)))
    if names:
        raise InvalidValue(f"secondary storage {id.name} holds templates ({', '.join(names)}): delete them first")
    kept = select(Snapshot.name).join(SnapshotOnStore, SnapshotOnStore.snapshot_id == Snapshot.id)
    kept = kept.where(SnapshotOnStore.store_id == id.id, SnapshotOnStore.state != "Failed")
    names = list(ctx.session.scalars(kept.order_by(Snapshot.id).limit(3)))
    if names:
        raise InvalidValue(f"secondary storage {id.name} holds snapshots ({', '.join(names)}): delete them first")
    for entry in ctx.session.scalars(select(TemplateOnStore).where(TemplateOnStore.store_id == id.id)):
        ctx.session.delete(entry)
    id.removed = now()
    ctx.describe(f"deleting secondary storage {id.name}")


@command("listImageStores", roles=ROOT, answers=image_store_view)
def list_stores(
    ctx: Context,
    id: Use[ImageStore] | None = None,
    name: str | None = None,
    zoneid: Use[Zone] | None = None,
    provider: str | None = None,
    protocol: str | None = None,
    readonly: bool | None = None,
) -> Rows:
    """List secondary storage.

    id: this one alone
    name: that of this name
    zoneid: that of this zone
    provider: NFS
    protocol: nfs or file
    readonly: that to which nothing is put any more, or the other
    """
    return Rows(image_store_view).where(
        id=id and id.id, name=name, zone_id=zoneid, provider=provider, protocol=protocol, readonly=readonly
    )


@command("listStorageProviders", roles=(ADMIN, RESOURCE_ADMIN), key="dataStoreProvider", reads=True)
def list_providers(ctx: Context, type: str) -> list[dict[str, Any]]:
    """List who can provide storage.

    type: primary or image
    """
    known = {"primary": ["DefaultPrimary"], "image": ["NFS"]}
    if type.lower() not in known:
        raise InvalidValue(f"type={type[:50]} is neither primary nor image")
    return [{"name": name, "type": type.upper()} for name in known[type.lower()]]


def _add(ctx: Context, zone: Zone | None, url: str, name: str | None) -> ImageStore:
    nfs.parts(url)
    contact = not rows.is_simulated(ctx.session, zone, ctx.simulator)
    found = rows.looked_at(url) if contact else None  # outside of any transaction: a server that hangs holds nothing
    return write(rows.add, zone.id if zone else None, url, name, "NFS", found)
