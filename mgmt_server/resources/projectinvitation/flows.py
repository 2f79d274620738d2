"""How an invitation gets to whom it is for."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.orm import Session

from mgmt_server.db import write
from mgmt_server.drivers.mail import send
from mgmt_server.jobs import Job, gives_up
from mgmt_server.model.account import Project, ProjectInvitation
from mgmt_server.resources.projectinvitation.rows import SENDER, TIMEOUT, digest, server


def keep(job: Job, project_id: int, invitation_id: int) -> None:
    """The call's own transaction wrote it down, and who is invited finds it in the list of invitations."""


def withdrawn(tx: Session, project_id: int, invitation_id: int) -> None:
    """Nobody has heard of it."""
    tx.execute(delete(ProjectInvitation).where(ProjectInvitation.id == invitation_id))


@gives_up(withdrawn)
def deliver(job: Job, project_id: int, invitation_id: int) -> None:
    job.call(mail, invitation_id)


def mail(call: UUID, invitation_id: int) -> None:
    """Mail a token. It is nowhere but in the mail: a repetition mails a new one, in whose place the old one goes."""
    token = secrets.token_urlsafe(24)
    letter = write(_take, invitation_id, digest(token))
    if letter is not None:
        text = (
            f"You are invited to become a member of the project {letter.project}.\n\n"
            f"Project id: {letter.project_uuid}\nToken:      {token}\n\n"
            "To accept, enter both under the project's invitations, or call updateProjectInvitation with projectid "
            f"and token. The invitation is valid for {_spoken(TIMEOUT.number())}.\n"
        )
        send(server(), SENDER.text().strip(), [letter.to], f"Invitation to the project {letter.project}", text)


@dataclass(frozen=True)
class _Letter:
    to: str
    project: str
    project_uuid: str


def _take(tx: Session, invitation_id: int, token_hash: str) -> _Letter | None:
    row = tx.get(ProjectInvitation, invitation_id)
    if row is None or row.email is None:
        return None  # it was deleted meanwhile
    row.token_hash = token_hash
    project = tx.get_one(Project, row.project_id)
    return _Letter(row.email, project.name, project.uuid)


def _spoken(seconds: int) -> str:
    for size, word in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {word}"
    return f"{seconds} seconds"
