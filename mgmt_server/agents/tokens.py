"""One-time tokens by which a new agent gets its certificate: bound to a name and a kind, valid for an hour."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from mgmt_server import db
from mgmt_server.errors import NotPermitted, ParameterError
from mgmt_server.model.agent import AgentToken

VALIDITY = timedelta(hours=1)
KINDS = ("host", "systemvm")


def issue(name: str, kind: str = "host", validity: timedelta = VALIDITY) -> str:
    """A new token for the agent `name`. It is shown once; only its digest is kept."""
    if kind not in KINDS:
        raise ParameterError(f"No kind of agent {kind!r}: one of {', '.join(KINDS)}")
    if not name or len(name) > 255:
        raise ParameterError("An agent's name has 1 to 255 characters")
    token = secrets.token_urlsafe(32)
    db.write(_add, token, name, kind, db.now() + validity)
    return token


def _add(tx: Session, token: str, name: str, kind: str, expires: datetime) -> None:
    tx.execute(delete(AgentToken).where(AgentToken.expires < db.now() - timedelta(days=7)))
    tx.add(AgentToken(digest=_digest(token), name=name, kind=kind, expires=expires))


def spend(tx: Session, token: str, name: str, kind: str) -> str:
    """Use the token up: the name that it was made for; an empty `name` takes any.

    Raises NotPermitted with one text whatever is wrong: it tells a guesser nothing.
    """
    made_for = tx.scalar(select(AgentToken.name).where(AgentToken.digest == _digest(token))) or ""
    taken = tx.execute(
        update(AgentToken)
        .where(
            AgentToken.digest == _digest(token),
            AgentToken.name == (name or made_for),
            AgentToken.kind == kind,
            AgentToken.used.is_(None),
            AgentToken.expires > db.now(),
        )
        .values(used=db.now())
        .execution_options(synchronize_session=False)
    )
    if db.changed(taken) != 1:
        raise NotPermitted(
            f"The token is not valid for a {kind} {name}: it is used, older than an hour, or was made for another kind"
            " or name. Make a new one with `cloudwright enroll-token` on the management server"
        )
    return made_for


def open_tokens() -> list[tuple[str, str, datetime]]:
    """(name, kind, expires) of the tokens that nobody has used yet."""
    with db.reading() as session:
        rows = session.execute(
            select(AgentToken.name, AgentToken.kind, AgentToken.expires).where(
                AgentToken.used.is_(None), AgentToken.expires > db.now()
            )
        )
        return [(name, kind, expires) for name, kind, expires in rows]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
