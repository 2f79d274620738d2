"""Templates and ISOs out by links, and in by browsers' forms."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.drivers.storage import simulator
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Job
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.zone import Zone
from mgmt_server.resources.template import flows as templates
from mgmt_server.resources.template.bring import LARGEST, Brought, Order
from mgmt_server.resources.transfer.links import Holder, make_link
from mgmt_server.resources.transfer.tickets import Expected, receivers

WAITING = "waiting for the upload"


# --- out --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Linked:
    uuid: str
    url: str
    zone: str
    zone_name: str


def extract(job: Job, template_id: int, zone_id: int | None, holder: Holder) -> None:
    """Make a link to the image as it is on secondary storage."""
    link = job.write(linked, template_id, zone_id, holder)
    job.answer(
        url=link.url,
        extractId=link.uuid,
        extractMode="HTTP_DOWNLOAD",
        state="DOWNLOAD_URL_CREATED",
        zoneid=link.zone,
        zonename=link.zone_name,
    )


def ready(tx: Session, template: Template, zone_id: int | None) -> TemplateOnStore:
    """Its image in the zone, or anywhere. Raises InvalidValue."""
    found = templates.elsewhere(tx, template, zone_id)
    if found is None or zone_id not in (None, found.zone_id):
        raise InvalidValue(f"{template.name} is not ready {'in this zone' if zone_id else 'anywhere'}: see its status")
    return found


def linked(tx: Session, template_id: int, zone_id: int | None, holder: Holder) -> Linked:
    template = tx.get_one(Template, template_id)
    if template.removed is not None:
        raise InvalidValue(f"{template.name} was deleted meanwhile")
    row = ready(tx, template, zone_id)
    store, zone = tx.get_one(ImageStore, row.store_id), tx.get_one(Zone, row.zone_id)
    if templates.is_simulated(tx, template, row.zone_id):
        simulator.put(tx, store.url, row.path, row.physical_size)  # whose content is a number
    kind = "Iso" if template.format == "ISO" else "Template"
    name = f"{template.name}.{row.path.rpartition('.')[2]}"
    link = make_link(tx, holder, kind, template.uuid, name, store.id, row.path, size=row.physical_size)
    return Linked(link.uuid, link.url, zone.uuid, zone.name)


# --- in ---------------------------------------------------------------------------------------------------------------


class Form:
    """What becomes of an image that a browser sends."""

    def expected(self, tx: Session, subject: str) -> Expected | None:
        found = self._row(tx, subject)
        if found is None:
            return None
        row, template, store = found
        return Expected(
            template.format,
            template.checksum or "",
            store.url,
            row.path,
            LARGEST.number() << 30,
            templates.is_simulated(tx, template, row.zone_id),
            several=True,
        )

    def progress(self, tx: Session, subject: str, percent: int) -> None:
        self._note(tx, subject, progress=percent, error=None)

    def arrived(self, tx: Session, subject: str, brought: Brought) -> bool:
        found = self._row(tx, subject)
        if found is None:
            return False
        row, template, store = found
        order = Order(row.id, template.id, template.uuid, "", template.format, "", store.url, row.path)
        return not templates.arrived(tx, order, brought)

    def cut_off(self, tx: Session, subject: str) -> None:
        self._note(tx, subject, progress=0, error=f"{WAITING}: the last one was cut off")

    def abandoned(self, tx: Session, subject: str) -> None:
        text = "nothing was sent while the form was good (setting upload.operation.timeout): delete it, and ask anew"
        self._note(tx, subject, state="Failed", error=text)

    def _row(self, tx: Session, subject: str) -> tuple[TemplateOnStore, Template, ImageStore] | None:
        rows = (
            select(TemplateOnStore, Template, ImageStore)
            .join(Template, Template.id == TemplateOnStore.template_id)
            .join(ImageStore, ImageStore.id == TemplateOnStore.store_id)
            .where(Template.uuid == subject, Template.removed.is_(None), ImageStore.removed.is_(None))
        )
        found = tx.execute(rows.where(TemplateOnStore.state == "Creating").limit(1)).first()
        return None if found is None else (found[0], found[1], found[2])

    def _note(self, tx: Session, subject: str, **values: object) -> None:
        mine = select(Template.id).where(Template.uuid == subject)
        rows = update(TemplateOnStore).where(TemplateOnStore.template_id.in_(mine), TemplateOnStore.state == "Creating")
        tx.execute(rows.values(**values).execution_options(synchronize_session=False))


receivers["Template"] = receivers["Iso"] = Form()
