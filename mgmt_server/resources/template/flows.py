"""How templates get onto secondary storage, and off it again.

Another part of the server calls `have_builtin` when a simulated host is up, `have_system_template` when a store is
known to hold the system VM image, and `store_added` when a secondary storage was added. All may be repeated.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from sqlalchemy import Select, or_, select, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted, limits
from mgmt_server.db import changed, now
from mgmt_server.drivers.image.system import SystemImage
from mgmt_server.drivers.storage import simulator
from mgmt_server.errors import InvalidValue, LimitExceeded
from mgmt_server.jobs import Job, enqueue
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.template import Template, TemplateInZone
from mgmt_server.model.zone import Cluster, Zone
from mgmt_server.resources.template import appliance, bring, direct
from mgmt_server.resources.template.bring import Brought, Order, Stored
from mgmt_server.resources.template.rows import add, elsewhere, folder, in_zone, on_store
from mgmt_server.resources.template.seeds import BUILTIN_SIMULATOR, SYSTEM_KVM, SYSTEM_SIMULATOR
from mgmt_server.resources.template.telling import tell
from mgmt_server.resources.transfer.links import expire_links

FULL = Setting(
    "secondary.storage.capacity.threshold",
    "Share of a secondary storage in use from which it takes no more",
    least=0,
    most=1,
)
COPIES = Setting(
    "copy.templates.from.other.secondary.storages",
    "Whether a secondary storage that lacks a template gets it from another one instead of from its URL",
)
ALGORITHM = Setting(
    "image.store.allocation.algorithm",
    "Which secondary storage is written to first: firstfitleastconsumed the one with most room, random any",
)
SIMULATED = (BUILTIN_SIMULATOR, SYSTEM_SIMULATOR)


def stores_of(tx: Session, zone_id: int) -> list[ImageStore]:
    """The secondary storage that a zone may write to, in the order to try it."""
    mine = select(ImageStore).where(
        or_(ImageStore.zone_id == zone_id, ImageStore.zone_id.is_(None)),
        ImageStore.removed.is_(None),
        ImageStore.readonly.is_(False),
        or_(ImageStore.capacity == 0, ImageStore.used < ImageStore.capacity * FULL.fraction()),
    )
    found = list(tx.scalars(mine.order_by((ImageStore.capacity - ImageStore.used).desc(), ImageStore.id)))
    return random.sample(found, len(found)) if ALGORITHM.text() == "random" else found


def start_download(tx: Session, template: Template, zone_id: int, store: ImageStore | None = None) -> None:
    """Have a template in a zone: at once where hosts are simulated, else by a job. InvalidValue without a store."""
    in_zone(tx, template, zone_id)
    if template.direct_download:
        fresh = direct.have(tx, template, zone_id, is_simulated(tx, template, zone_id))
        if fresh is not None:
            _bring(tx, template, fresh, download)
        return
    stores = [store] if store is not None else stores_of(tx, zone_id)
    simulated = is_simulated(tx, template, zone_id)
    if not stores and not simulated:
        raise InvalidValue(
            "the zone has no secondary storage that can be written to and has room: add one with addImageStore, then "
            "register again"
        )
    for target in stores[:1]:
        copies = is_copied(tx, template, zone_id)
        if template.url is None and not copies:
            continue  # made here, and its only image is gone: there is nothing to fetch
        row = on_store(tx, template, target, zone_id, "Ready" if simulated else "Creating")
        if row is not None and simulated:
            appliance.simulate(tx, row)
        elif row is not None:
            tx.flush()
            _bring(tx, template, row.id, copy if copies else download)
            for part in appliance.family(tx, template) if copies else ():
                if part is not template:
                    start_download(tx, part, zone_id, target)


def is_copied(tx: Session, template: Template, zone_id: int) -> bool:
    """Whether its image comes to the zone from another secondary storage, and not from its URL."""
    return (template.url is None or COPIES.flag(Scope("Zone", zone_id))) and elsewhere(tx, template) is not None


def _bring(tx: Session, template: Template, row: int, flow: Callable[..., None]) -> None:
    enqueue(tx, flow, (row,), lock=f"template:{template.family}", instance=("Template", template.uuid))


def is_simulated(tx: Session, template: Template, zone_id: int) -> bool:
    """Whether its images in the zone are no files. ISOs are for every hypervisor: there the zone's hosts decide."""
    if template.format != "ISO":
        return template.hypervisor == "Simulator"
    return zone_is_simulated(tx, zone_id)


def zone_is_simulated(tx: Session, zone_id: int) -> bool:
    rows = select(Cluster.hypervisor).where(Cluster.zone_id == zone_id, Cluster.removed.is_(None)).distinct()
    return set(tx.scalars(rows)) == {"Simulator"}


def have_builtin(tx: Session, zone_id: int) -> None:
    """Have the templates of simulated hosts ready on the zone's secondary storage."""
    for template in tx.scalars(select(Template).where(Template.id.in_(SIMULATED), Template.removed.is_(None))):
        for store in stores_of(tx, zone_id):
            if in_zone(tx, template, zone_id):
                on_store(tx, template, store, zone_id, "Ready")


def have_system_template(
    tx: Session, zone_id: int, store_id: int, *, path: str = "", size: int = 0, physical_size: int = 0
) -> None:
    """Note that a store holds the system VM image of KVM hosts. `path` is below the store, sizes are bytes."""
    template = tx.get(Template, SYSTEM_KVM)
    if template is None or template.removed is not None:
        return
    in_zone(tx, template, zone_id)
    template.size = size or template.size  # disks of system VMs are at least as large
    mine = TemplateOnStore.template_id == template.id, TemplateOnStore.store_id == store_id
    found = tx.scalar(select(TemplateOnStore).where(*mine))
    values = {
        "state": "Ready",
        "progress": 100,
        "error": None,
        "path": path or f"{folder(template)}/{template.uuid}.qcow2",
        "size": size,
        "physical_size": physical_size,
    }
    if found is None:
        add(tx, TemplateOnStore(template_id=template.id, store_id=store_id, zone_id=zone_id, **values))
    else:
        tx.execute(
            update(TemplateOnStore)
            .where(TemplateOnStore.id == found.id)
            .values(**values)
            .execution_options(synchronize_session=False)
        )


def store_added(tx: Session, store_id: int) -> None:
    """What a new secondary storage makes possible: built-in templates, and those that are for all zones."""
    store = tx.get_one(ImageStore, store_id)
    if store.zone_id is None:
        return
    up = select(Host.id).where(
        Host.zone_id == store.zone_id, Host.hypervisor == "Simulator", Host.state == "Up", Host.removed.is_(None)
    )
    if tx.scalar(up.limit(1)) is not None:
        have_builtin(tx, store.zone_id)
    here = select(TemplateOnStore.template_id).where(TemplateOnStore.zone_id == store.zone_id)
    wanted = select(TemplateInZone.template_id).where(
        TemplateInZone.zone_id == store.zone_id, TemplateInZone.removed.is_(None)
    )
    gone = select(TemplateInZone.template_id).where(
        TemplateInZone.zone_id == store.zone_id, TemplateInZone.removed.is_not(None)
    )
    missing = select(Template).where(
        Template.removed.is_(None),
        Template.id.not_in(gone),  # it was deleted from this zone
        Template.type.in_(counted.TENANTS),
        Template.id.not_in(here),
        or_(Template.cross_zones, Template.id.in_(wanted)),
    )
    for template in tx.scalars(missing):
        start_download(tx, template, store.zone_id)


def look_for_system(job: Job, store_id: int) -> None:
    """Note the system VM image where somebody has put it on a store."""
    url = job.write(url_of_store, store_id)
    found = job.call(bring.find_system, url) if url else None
    if found is not None:
        job.write(system_found, store_id, found)


def url_of_store(tx: Session, store_id: int) -> str:
    store = tx.get(ImageStore, store_id)
    return store.url if store is not None and store.removed is None else ""


def system_found(tx: Session, store_id: int, image: SystemImage) -> None:
    store = tx.get_one(ImageStore, store_id)
    zones = [store.zone_id] if store.zone_id else list(tx.scalars(select(Zone.id).where(Zone.removed.is_(None))))
    for zone in zones[:1]:  # one row holds one image; a store of all zones notes the first
        have_system_template(tx, zone, store_id, path=image.path, size=image.size, physical_size=image.physical_size)


# --- jobs ------------------------------------------------------------------------------------------------------------


def download(job: Job, on_store_id: int) -> None:
    """Bring an image to a store. What went wrong is told in the row, where listTemplates shows it."""
    order = job.write(begin, on_store_id, undo=broke)
    if order is None:
        return
    if not order.store:
        job.write(arrived, order, job.call(direct.look, order))
        return
    brought = job.call(bring.bring, order, undo=bring.take_away)
    if job.write(arrived, order, brought):
        job.call(bring.take_away, order)


def copy(job: Job, on_store_id: int, source_zone: int | None = None) -> None:
    """Bring an image to a store from another one. What went wrong is told in the row, as of a download."""
    order = job.write(begin, on_store_id, undo=broke)
    if order is None:
        return
    source = job.write(source_of, order, source_zone)
    brought = job.call(bring.carry, order, source, undo=bring.uncarry)
    if job.write(arrived, order, brought):
        job.call(bring.take_away, order)


def source_of(tx: Session, order: Order, zone_id: int | None) -> Stored | None:
    """Where the image is already, in the given zone if it can be; None when it is nowhere any more."""
    found = elsewhere(tx, tx.get_one(Template, order.template), zone_id)
    if found is None:
        return None
    store = tx.get_one(ImageStore, found.store_id)
    return Stored(store.url, found.path, found.size, found.physical_size)


def begin(tx: Session, on_store_id: int) -> Order | None:
    """What is to be brought where; None when the template was deleted meanwhile."""
    row = tx.get_one(TemplateOnStore, on_store_id)
    template, store = tx.get_one(Template, row.template_id), tx.get(ImageStore, row.store_id or 0)
    if template.removed is not None or (store and store.removed is not None) or row.state != "Creating":
        return None
    tell(tx, row.id, "START", f"its image comes to {store.name}" if store else "its URL is looked at")
    return Order(
        on_store=row.id,
        template=template.id,
        uuid=template.uuid,
        url=template.url or "",
        format=template.format,
        checksum=template.checksum or "",
        store=store.url if store else "",
        path=row.path,
    )


def broke(tx: Session, on_store_id: int) -> None:
    fail(tx, on_store_id, "the download met an internal error: the server's log tells which; register it again")


def arrived(tx: Session, order: Order, brought: Brought) -> bool:
    """Note the image as ready. True when its account has no room for it: then it has to be taken away."""
    if brought.error:
        fail(tx, order.on_store, brought.error)
        return False
    values = {"state": "Ready", "progress": 100, "size": brought.size, "physical_size": brought.physical_size}
    ready = (
        update(TemplateOnStore)
        .where(TemplateOnStore.id == order.on_store, TemplateOnStore.state == "Creating")
        .values(error=None, **values)
        .execution_options(synchronize_session=False)
    )
    try:
        with tx.begin_nested():
            if changed(tx.execute(ready)) == 1:
                counted.image_comes(tx, tx.get_one(Template, order.template), brought.physical_size)
                if brought.parts or brought.nics:  # a copy has neither: its parts are copied by themselves
                    appliance.come(tx, tx.get_one(TemplateOnStore, order.on_store), brought.parts, brought.nics)
                limits.settle(tx)
    except LimitExceeded as exceeded:
        fail(tx, order.on_store, str(exceeded))
        return True
    there = f"its image of {brought.physical_size} bytes is there" if order.store else "hosts can fetch its image"
    tell(tx, order.on_store, "SUCCESS", there)
    changes = {"size": brought.size} | ({"checksum": brought.checksum} if brought.checksum else {})
    tx.execute(
        update(Template)
        .where(Template.id == order.template)
        .values(**changes)
        .execution_options(synchronize_session=False)
    )
    return False


def fail(tx: Session, on_store_id: int, text: str) -> None:
    """Its image did not come: why is told in the row, and by an event."""
    tell(tx, on_store_id, "FAILED", text)
    tx.execute(
        update(TemplateOnStore)
        .where(TemplateOnStore.id == on_store_id, TemplateOnStore.state == "Creating")
        .values(state="Failed", error=text[:2000])
        .execution_options(synchronize_session=False)
    )


def delete(job: Job, template_id: int, zone_id: int | None) -> None:
    """Take a template off the stores of one zone, or of all."""
    for order in job.write(leaving, template_id, zone_id):
        if order.url:
            job.call(bring.remove, order)
        else:  # a simulated image is no file
            job.write(simulator.remove, order.store, order.path)
    job.write(left, template_id, zone_id)


def leaving(tx: Session, template_id: int, zone_id: int | None) -> list[Order]:
    rows = select(TemplateOnStore, Template, ImageStore).where(
        TemplateOnStore.template_id.in_(_family(template_id)),
        Template.id == TemplateOnStore.template_id,
        ImageStore.id == TemplateOnStore.store_id,
        ImageStore.removed.is_(None),
    )
    if zone_id is not None:
        rows = rows.where(TemplateOnStore.zone_id == zone_id)
    found = []
    for row, template, store in tx.execute(rows):
        url = "" if is_simulated(tx, template, row.zone_id) else store.url
        row.state = "Destroying"
        found.append(Order(row.id, template.id, template.uuid, url, template.format, "", store.url, row.path))
    return found


def _family(template_id: int) -> Select[tuple[int]]:
    return select(Template.id).where((Template.id == template_id) | (Template.parent_id == template_id))


def left(tx: Session, template_id: int, zone_id: int | None) -> None:
    mine = [TemplateOnStore.template_id.in_(_family(template_id))]
    if zone_id is not None:
        mine.append(TemplateOnStore.zone_id == zone_id)
    for row in tx.scalars(select(TemplateOnStore).where(*mine).with_for_update()).all():
        counted.image_goes(tx, tx.get_one(Template, row.template_id), row.physical_size)
    tx.execute(delete_rows(TemplateOnStore).where(*mine).execution_options(synchronize_session=False))


def forget(tx: Session, template: Template, zone_id: int | None) -> None:
    """Take a template out of lists at once, with the further disks of its OVA; `delete` does the rest."""
    for each in list(appliance.family(tx, template)):
        _forget(tx, each, zone_id)


def _forget(tx: Session, template: Template, zone_id: int | None) -> None:
    mine = [TemplateInZone.template_id == template.id, TemplateInZone.removed.is_(None)]
    if zone_id is not None:
        mine.append(TemplateInZone.zone_id == zone_id)
    tx.execute(update(TemplateInZone).where(*mine).values(removed=now()).execution_options(synchronize_session=False))
    rest = select(TemplateInZone.id).where(TemplateInZone.template_id == template.id, TemplateInZone.removed.is_(None))
    if tx.scalar(rest.limit(1)) is None:
        once = update(Template).where(Template.id == template.id, Template.removed.is_(None))
        once = once.values(removed=now(), state="Inactive")
        if changed(tx.execute(once.execution_options(synchronize_session="fetch"))) == 1:
            counted.template_goes(tx, template)
            expire_links(tx, template.uuid)
