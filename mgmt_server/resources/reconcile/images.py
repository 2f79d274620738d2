"""What becomes of a template's image that stands between two states: it comes anew, goes on going, or fails."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mgmt_server.jobs import Job
from mgmt_server.model.storage import TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.transfer import UploadTicket
from mgmt_server.resources.reconcile.telling import tell
from mgmt_server.resources.template import flows
from mgmt_server.resources.template.importing import COMING
from mgmt_server.resources.templatemaking.flows import never_made

STATES = ("Creating", "Destroying")


def waits(tx: Session, row: TemplateOnStore) -> bool:
    """Whether it waits for somebody who works without a job: a browser with its form, an operator who imports it."""
    template = tx.get_one(Template, row.template_id)
    if row.state != "Creating" or template.removed is not None:
        return False
    ticket = select(UploadTicket.id).where(UploadTicket.subject == template.uuid, UploadTicket.removed.is_(None))
    return row.error == COMING or tx.scalar(ticket.limit(1)) is not None


def lock(tx: Session, row: TemplateOnStore) -> list[str]:
    return [f"template:{tx.get_one(Template, row.template_id).family}"]


def repair(job: Job, row_id: int, state: str) -> None:
    what, family, zone = job.write(settle, row_id, state)
    if what == "download":
        flows.download(job, row_id)
    elif what == "copy":
        flows.copy(job, row_id)
    elif what == "delete":
        flows.delete(job, family, zone)


def settle(tx: Session, row_id: int, state: str) -> tuple[str, int, int]:
    """What remains to be done, and for which template in which zone."""
    row = tx.get(TemplateOnStore, row_id)
    if row is None or row.state != state:
        return "", 0, 0
    template = tx.get_one(Template, row.template_id)
    event, found = "TEMPLATE.CREATE", f"its image on a store was found {state} and nobody at it"
    if state == "Destroying" or template.removed is not None:
        what, event, then = "delete", "TEMPLATE.DELETE", "it is deleted anew"
    elif flows.is_copied(tx, template, row.zone_id):
        what, then = "copy", "it is copied anew"
    elif template.url:
        what, then = "download", "it is fetched anew"
    elif _only_one(tx, template) and (template.source_volume_id or template.source_snapshot_id):
        what, then = "", "it was never made, and is gone"
        never_made(tx, template.id, row.id, 0)
    else:
        what, then = "", "it failed"
        flows.fail(tx, row.id, "what it was to be copied from is on no secondary storage any more")
    tell(tx, template, event, f"{template.name}: {found}: {then}")
    return what, template.family, row.zone_id


def _only_one(tx: Session, template: Template) -> bool:
    return tx.scalar(select(func.count()).where(TemplateOnStore.template_id == template.id)) == 1
