"""Invitations to projects: made, found by who was invited, and timed out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, select

from mgmt_server.api.context import Context
from mgmt_server.db import now
from mgmt_server.drivers.mail import PROTOCOLS, Server, address
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Account, Project, ProjectInvitation, User
from mgmt_server.model.settings import Setting

REQUIRED = Setting(
    "project.invite.required", "Whether new members of projects are invited and accept, instead of being added"
)
TIMEOUT = Setting("project.invite.timeout", "Seconds for which an invitation to a project can be accepted", least=1)
SENDER = Setting("project.email.sender", "Address from which invitations to projects are mailed")
HOST = Setting("project.smtp.host", "Mail server that takes invitations to projects; empty: none are mailed")
PORT = Setting("project.smtp.port", "Port of that mail server; 465 means TLS from the first byte", least=1, most=65535)
AUTH = Setting("project.smtp.useAuth", "Whether that mail server wants a user name and password", scopes=("Global",))
USERNAME = Setting("project.smtp.username", "User name at that mail server")
PASSWORD = Setting("project.smtp.password", "Password at that mail server", secret=True)
START_TLS = Setting("project.smtp.useStartTLS", "Whether to ask that mail server for TLS with STARTTLS")
TLS_VERSIONS = Setting(
    "project.smtp.enabledSecurityProtocols",
    "Versions of TLS that may be used with that mail server, with spaces between; empty: those that the system allows",
    options=tuple(PROTOCOLS),
)
STATES = ("Pending", "Completed", "Expired", "Declined")


@dataclass(frozen=True)
class Offer:
    """Who shall be a member as what: an account, one user of it, or whoever has a mail address."""

    account: Account | None
    user: User | None
    email: str | None
    role: str
    project_role_id: int | None


def server() -> Server:
    """The operator's mail server, as the settings have it. Raises InvalidValue where there is none."""
    host = HOST.text().strip()
    if not host or not SENDER.text().strip():
        raise InvalidValue(
            f"Invitations cannot be mailed: an administrator sets {HOST.name} and {SENDER.name} first. An account or "
            "user can be invited without email"
        )
    port, start_tls = PORT.number(), START_TLS.flag()
    name, word = (USERNAME.text(), PASSWORD.text()) if AUTH.flag() else ("", "")
    return Server(
        host, port, name, word, start_tls=start_tls, tls=port == 465 and not start_tls,
        protocols=tuple(TLS_VERSIONS.text().split()),
    )  # fmt: skip


def oldest() -> datetime:
    """When an invitation was made that times out now."""
    return now() - timedelta(seconds=TIMEOUT.number())


def is_open() -> ColumnElement[bool]:
    """Invitations that can be accepted."""
    return (ProjectInvitation.state == "Pending") & (ProjectInvitation.created > oldest())


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def invite(ctx: Context, project: Project, offer: Offer) -> ProjectInvitation:
    """Write an invitation down, unless the same one is open already."""
    email = address(offer.email) if offer.email is not None else None
    if email is not None:
        server()
    row = ProjectInvitation
    same = select(row.id).where(row.project_id == project.id, is_open())
    if offer.account is None:
        same = same.where(row.email == email, row.account_id.is_(None))
    else:
        user = offer.user.id if offer.user is not None else None
        same = same.where(row.account_id == offer.account.id, row.user_id == user)
    if ctx.session.scalar(same.limit(1)) is not None:
        who = offer.user.username if offer.user else offer.account.name if offer.account else email
        raise InvalidValue(
            f"{who} has an open invitation to the project {project.name} already: delete it to send another "
            "(deleteProjectInvitation)"
        )
    made = ProjectInvitation(
        project_id=project.id,
        domain_id=project.domain_id,
        account_id=offer.account and offer.account.id,
        user_id=offer.user and offer.user.id,
        email=email,
        role=offer.role,
        project_role_id=offer.project_role_id,
    )
    ctx.session.add(made)
    ctx.session.flush()
    return made
