"""`cloudwright template import`: templates whose files somebody copied become known, with no word of SQL.

It can be repeated: what is known is left alone, what an earlier run did not finish is done.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

from sqlalchemy import delete, select
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
from mgmt_server.resources.template.bring import LARGEST, Brought, Order, keep
from mgmt_server.resources.template.layout import Kept
from mgmt_server.resources.template.rules import FORMATS, NO_HYPERVISOR
from mgmt_server.resources.template.sound import kept_as, made_sound

COMING = "its file is being imported; if that was cut off, run cloudwright template import again"


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


@dataclass(frozen=True)
class Coming:
    """An image that has to come, and the stores (number, URL) of its zone to try when that of the order is away."""

    order: Order
    others: tuple[tuple[int, str], ...]


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
        planned = write(_plan, kept, wish)
    except _OnlyTold as told:
        planned = told.planned
    if not planned:
        report.known.append(kept.folder)
        return
    if not wish.dry_run:
        for coming in planned:
            _bring(kept, coming, wish)
    report.imported.append(kept.folder)


class _OnlyTold(Exception):
    """A dry run: what was planned is not kept."""

    def __init__(self, planned: list[Coming]) -> None:
        super().__init__()
        self.planned = planned


def _plan(tx: Session, kept: Kept, wish: Wish) -> list[Coming]:
    """The images that have to come: the rows are there then, as of a download. On a dry run only told of."""
    owner, places = _owner(tx, kept, wish), _places(tx, kept, wish)
    hypervisor = NO_HYPERVISOR if kept.format == "ISO" else wish.hypervisor
    if kept.format != "ISO" and kept.format not in FORMATS.get(hypervisor, ()):
        raise InvalidValue(f"images in the format {kept.format} do not run on {hypervisor}")
    same = select(Template).where(Template.unique_name == kept.unique_name, Template.removed.is_(None))
    template = tx.scalar(same.where(Template.account_id == owner.id))
    template = template or _added(tx, kept, wish, owner, hypervisor)
    planned: dict[int, Coming] = {}  # by row, of which a store of all zones has one
    for zone, stores in places:
        flows.in_zone(tx, template, zone.id, again=True)
        if _is_there(tx, kept, template, zone, stores):
            continue
        _forget_failures(tx, template, stores)
        row = _row(tx, kept, template, zone, stores[0])
        row.state, row.error = "Creating", COMING
        checksum = kept.told.get("checksum", "")
        order = Order(row.id, template.id, template.uuid, "", kept.format, checksum, stores[0].url, row.path)
        planned[row.id] = Coming(order, tuple((s.id, s.url) for s in stores[1:]))
    tx.flush()
    if wish.dry_run:
        raise _OnlyTold(list(planned.values()))
    return list(planned.values())


def _is_there(tx: Session, kept: Kept, template: Template, zone: Zone, stores: list[ImageStore]) -> bool:
    """On the store that was named; else on any that the zone uses, whichever was first at an earlier import."""
    here = TemplateOnStore.store_id.in_([s.id for s in stores])
    here = here if kept.store else here | (TemplateOnStore.zone_id == zone.id)
    ready = select(TemplateOnStore.id).where(TemplateOnStore.template_id == template.id, here)
    ready = ready.where(TemplateOnStore.state == "Ready", TemplateOnStore.reachable())
    return tx.scalar(ready.limit(1)) is not None


def _forget_failures(tx: Session, template: Template, stores: list[ImageStore]) -> None:
    """What an earlier import has left of a store that was away."""
    left = delete(TemplateOnStore).where(
        TemplateOnStore.template_id == template.id,
        TemplateOnStore.store_id.in_([s.id for s in stores[1:]]),
        (TemplateOnStore.state == "Failed") | (TemplateOnStore.error == COMING),
    )
    tx.execute(left.execution_options(synchronize_session=False))


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


def _places(tx: Session, kept: Kept, wish: Wish) -> list[tuple[Zone, list[ImageStore]]]:
    """The zones, and for each the stores to try in this order."""
    zones = select(Zone).where(Zone.removed.is_(None)).order_by(Zone.id)
    if kept.store:
        rows = select(ImageStore).where(ImageStore.removed.is_(None))
        mine = [s for s in tx.scalars(rows) if nfs.parts(s.url) == nfs.parts(kept.store)]
        if not mine:
            raise InvalidValue("no secondary storage with this URL is known: add it with addImageStore first")
        if mine[0].zone_id is not None:
            zones = zones.where(Zone.id == mine[0].zone_id)
        return [(zone, mine[:1]) for zone in tx.scalars(zones.limit(1))]
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
        places.append((zone, stores))
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
    mine = TemplateOnStore.template_id == template.id, TemplateOnStore.store_id == store.id
    row = tx.scalar(select(TemplateOnStore).where(*mine))
    if row is None:
        row = flows.on_store(tx, template, store, zone.id, "Creating")
        tx.flush()
    if row is None:
        raise Failed("somebody else imports it at the same time: try again")
    if kept.store and kept_as(template.hypervisor, kept.format) == kept.format:
        row.path = kept.path
    return row


def _bring(kept: Kept, coming: Coming, wish: Wish) -> None:
    """Put an image on a store of its zone: on the next one where the fault was the store's."""
    order, errors = coming.order, []
    for other in (None, *coming.others):
        order = write(_turned, order, *other) if other is not None else order
        try:
            return _bring_to(kept, order, wish)
        except (ApiError, OSError) as error:
            errors.append(str(error))
            if _takes_files(order.store):
                break
    told = "; ".join(errors)
    write(flows.fail, order.on_store, told)
    raise Failed(told)


def _takes_files(store: str) -> bool:
    try:
        nfs.check(store)
    except (ApiError, OSError):
        return False
    return True


def _turned(tx: Session, order: Order, store_id: int, url: str) -> Order:
    """To another store."""
    tx.get_one(TemplateOnStore, order.on_store).store_id = store_id
    return replace(order, store=url)


def _bring_to(kept: Kept, order: Order, wish: Wish) -> None:
    """Look into the image, put it on the store unless it lies there, and note it as ready."""
    folder = nfs.large_files() / f"cloudwright-import-{uuid4().hex}"
    try:
        folder.mkdir(mode=0o700, parents=True)
        kept.fetch(folder / "image")
        wanted = order if wish.checksums else replace(order, checksum="")
        brought = _kept(kept, wanted, folder / "image")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if write(flows.arrived, order, brought):
        if not _lies_there(kept, order):
            bring.take_away(uuid4(), order)
        raise Failed("its account has no room for it: see listResourceLimits")


def _lies_there(kept: Kept, order: Order) -> bool:
    return bool(kept.store) and kept.path == order.path


def _kept(kept: Kept, order: Order, file: Path) -> Brought:
    """The image on its store, where it may lie already."""
    if not _lies_there(kept, order):
        return keep(file, order, LARGEST.number() << 30)
    sound = made_sound(file, file.parent, kept.format, order.checksum, LARGEST.number() << 30)
    if sound.file != file:
        raise Failed(f"{kept.file_name} is packed: unpack it first, or import it from a folder")
    return Brought(sound.seen.virtual_size, sound.seen.physical_size, sound.checksum)
