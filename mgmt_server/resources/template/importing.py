"""`cloudwright template import`: templates whose files somebody copied become known, with no word of SQL.

It can be repeated: what is known is left alone, what an earlier run did not finish is done.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import uuid4

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted, limits
from mgmt_server.db import new_uuid, write
from mgmt_server.drivers.image import nfs
from mgmt_server.errors import ApiError, Failed, InvalidValue
from mgmt_server.model.account import SYSTEM_ACCOUNT, SYSTEM_USER, Account, Domain
from mgmt_server.model.event import Event
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.template import OsType, Template
from mgmt_server.model.zone import Zone
from mgmt_server.resources.template import bring, flows
from mgmt_server.resources.template.bring import LARGEST, Brought, Order, kept_as, made_sound
from mgmt_server.resources.template.layout import Kept
from mgmt_server.resources.template.rules import FORMATS, NO_HYPERVISOR


@dataclass(frozen=True)
class Wish:
    """What the operator said. `account` and `domain` own what is imported, in place of the accounts of the layout."""

    zone: str = ""  # name or uuid
    account: str = ""
    domain: str = "/"
    os_type: str = "Other Linux (64-bit)"
    hypervisor: str = "KVM"
    checksums: bool = True
    dry_run: bool = False


@dataclass
class Report:
    imported: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # with the reason
    failed: list[str] = field(default_factory=list)  # likewise


def import_all(found: Iterable[Kept], wish: Wish) -> Report:
    """Make templates known. What is wrong with one is told, and the others go on."""
    report = Report()
    for kept in found:
        try:
            _import(kept, wish, report)
        except ApiError as error:
            report.failed.append(f"{kept.folder}: {error}")
        except OSError as error:
            report.failed.append(f"{kept.folder}: {error.strerror or error}")
    return report


def _import(kept: Kept, wish: Wish, report: Report) -> None:
    if kept.account == SYSTEM_ACCOUNT and not wish.account:
        report.skipped.append(f"{kept.folder}: it belongs to the system (cloudwright template install-system)")
        return
    if kept.size() is None:
        raise Failed(f"the file {kept.file_name}, which its {kept.folder}/template.properties names, is missing")
    try:
        orders = write(_plan, kept, wish)
    except _OnlyTold as told:
        orders = told.orders
    if not orders:
        report.known.append(kept.folder)
        return
    if not wish.dry_run:
        for order in orders:
            _bring(kept, order, wish)
    report.imported.append(kept.folder)


class _OnlyTold(Exception):
    """A dry run: what was planned is not kept."""

    def __init__(self, orders: list[Order]) -> None:
        super().__init__()
        self.orders = orders


def _plan(tx: Session, kept: Kept, wish: Wish) -> list[Order]:
    """The images that have to come: the rows are there then, as of a download. On a dry run only told of."""
    owner, places = _owner(tx, kept, wish), _places(tx, kept, wish)
    hypervisor = NO_HYPERVISOR if kept.format == "ISO" else wish.hypervisor
    if kept.format != "ISO" and kept.format not in FORMATS.get(hypervisor, ()):
        raise InvalidValue(f"images in the format {kept.format} do not run on {hypervisor}")
    same = select(Template).where(Template.unique_name == kept.unique_name, Template.removed.is_(None))
    template = tx.scalar(same.where(Template.account_id == owner.id))
    template = template or _added(tx, kept, wish, owner, hypervisor)
    orders = []
    for zone, store in places:
        row = _row(tx, kept, template, zone, store)
        if row.state != "Ready":
            row.state, row.error = "Creating", None
            checksum = kept.told.get("checksum", "")
            orders.append(Order(row.id, template.id, template.uuid, "", kept.format, checksum, store.url, row.path))
    tx.flush()
    if wish.dry_run:
        raise _OnlyTold(orders)
    return orders


def _owner(tx: Session, kept: Kept, wish: Wish) -> Account:
    if wish.account:
        rows = select(Account).join(Domain, Domain.id == Account.domain_id)
        path = "/" + "".join(f"{p}/" for p in wish.domain.split("/") if p and p != "ROOT")
        rows = rows.where(Account.name == wish.account, Domain.path == path, Account.removed.is_(None))
        found = tx.scalar(rows)
        if found is None:
            raise InvalidValue(f"there is no account {wish.account} in the domain {path}: see --account and --domain")
        return found
    account = tx.get(Account, kept.account) if kept.account is not None else None
    if account is None or account.removed is not None:
        raise InvalidValue(
            f"there is no account with the number {kept.account}, to which its folder says that it belongs: say with "
            "--account and --domain whose it shall be"
        )
    return account


def _places(tx: Session, kept: Kept, wish: Wish) -> list[tuple[Zone, ImageStore]]:
    zones = select(Zone).where(Zone.removed.is_(None)).order_by(Zone.id)
    if kept.store:
        rows = select(ImageStore).where(ImageStore.removed.is_(None))
        mine = [s for s in tx.scalars(rows) if nfs.parts(s.url) == nfs.parts(kept.store)]
        if not mine:
            raise InvalidValue("no secondary storage with this URL is known: add it with addImageStore first")
        if mine[0].zone_id is not None:
            zones = zones.where(Zone.id == mine[0].zone_id)
        return [(zone, mine[0]) for zone in tx.scalars(zones.limit(1))]
    if wish.zone:
        zones = zones.where((Zone.name == wish.zone) | (Zone.uuid == wish.zone))
    found = list(tx.scalars(zones))
    if not found:
        raise InvalidValue(f"there is no zone {wish.zone}: see listZones" if wish.zone else "there is no zone yet")
    places = []
    for zone in found:
        stores = flows.stores_of(tx, zone.id)
        if not stores:
            raise InvalidValue(f"the zone {zone.name} has no secondary storage with room: add one with addImageStore")
        places.append((zone, stores[0]))
    return places


def _added(tx: Session, kept: Kept, wish: Wish, owner: Account, hypervisor: str) -> Template:
    description = kept.told.get("description") or kept.told.get("name") or kept.file_name
    template = Template(
        uuid=new_uuid(),
        account_id=owner.id,
        domain_id=owner.domain_id,
        name=(kept.told.get("name") or description)[:255],
        display_text=description[:4096],
        unique_name=kept.unique_name,
        format=kept.format,
        hypervisor=hypervisor,
        checksum=kept.told.get("checksum") or None,
        os_type_id=_os_type(tx, wish.os_type),
        public=kept.told.get("public", "").lower() == "true",
        requires_hvm=kept.told.get("hvm", "true").lower() == "true",
        details={},
    )
    tx.add(template)
    tx.flush()
    counted.template_comes(tx, template)
    tx.add(
        Event(
            type="TEMPLATE.CREATE",
            description=f"importing template {template.name}",
            user_id=SYSTEM_USER,
            account_id=owner.id,
            domain_id=owner.domain_id,
            resource_type="Template",
            resource_uuid=template.uuid,
        )
    )
    limits.settle(tx)
    return template


def _os_type(tx: Session, name: str) -> int:
    found = tx.scalar(select(OsType.id).where(OsType.name == name, OsType.removed.is_(None)).limit(1))
    if found is None:
        raise InvalidValue(f"there is no guest OS type {name}: see listOsTypes")
    return found


def _row(tx: Session, kept: Kept, template: Template, zone: Zone, store: ImageStore) -> TemplateOnStore:
    """The image on the store: where it lies already when nothing has to be made of it."""
    flows.in_zone(tx, template, zone.id)
    mine = TemplateOnStore.template_id == template.id, TemplateOnStore.store_id == store.id
    row = tx.scalar(select(TemplateOnStore).where(*mine))
    if row is None:
        row = flows.on_store(tx, template, store, zone.id, "Creating")
        tx.flush()
    if row is None:
        raise Failed("somebody else imports it at the same time: try again")
    if row.state != "Ready" and kept.store and kept_as(template.hypervisor, kept.format) == kept.format:
        row.path = kept.path
    return row


def _bring(kept: Kept, order: Order, wish: Wish) -> None:
    """Look into the image, put it on the store unless it lies there, and note it as ready."""
    folder = nfs.large_files() / f"cloudwright-import-{uuid4().hex}"
    try:
        folder.mkdir(mode=0o700, parents=True)
        kept.fetch(folder / "image")
        checksum = order.checksum if wish.checksums else ""
        sound = made_sound(folder / "image", folder, kept.format, checksum, LARGEST.number() << 30)
        in_place = bool(kept.store) and kept.path == order.path
        if in_place and sound.file.name != "image":
            raise Failed(f"{kept.file_name} is packed: unpack it first, or import it from a folder")
        if not in_place:
            nfs.put(sound.file, order.store, order.path)
    except (ApiError, OSError) as error:
        write(_failed, order, str(error))
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    brought = Brought(sound.seen.virtual_size, sound.seen.physical_size, sound.checksum)
    if write(flows.arrived, order, brought):
        if not in_place:
            bring.take_away(uuid4(), order)
        raise Failed("its account has no room for it: see listResourceLimits")


def _failed(tx: Session, order: Order, text: str) -> None:
    mine = update(TemplateOnStore).where(TemplateOnStore.id == order.on_store)
    tx.execute(mine.values(state="Failed", error=text[:2000]).execution_options(synchronize_session=False))
