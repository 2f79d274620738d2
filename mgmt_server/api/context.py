"""Who calls, and in what: what the body of a command is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from mgmt_server.jobs import Accepted, Asker, enqueue
from mgmt_server.model.event import Event
from mgmt_server.model.tenancy import Caller

if TYPE_CHECKING:
    from mgmt_server.api.command import Command


@dataclass
class Context:
    """Who calls, and the session in which the call reads and writes."""

    caller: Caller
    session: Session
    command: Command
    sent: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    correlation: str = ""
    simulator: bool = False  # whether this server runs as a simulator
    description: str = ""

    def describe(self, text: str) -> None:
        """Say what the call does, for its event."""
        self.description = text[:1024]

    def event(
        self,
        type: str,
        entity: Any = None,
        *,
        state: str = "Completed",
        level: str = "INFO",
        text: str = "",
        start: int | None = None,
    ) -> Event:
        """Tell what happened, in the call's own transaction."""
        owner = (
            entity if entity is not None and hasattr(entity, "account_id") and hasattr(entity, "domain_id") else None
        )
        event = Event(
            type=type,
            level=level,
            state=state,
            description=(text or self.description or self.command.description)[:1024],
            user_id=self.caller.user_id,
            account_id=(owner and owner.account_id) or self.caller.account_id,
            domain_id=(owner and owner.domain_id) or self.caller.domain_id,
            start_id=start,
            resource_type=self.command.resource_type,
            resource_uuid=getattr(entity, "uuid", None),
            correlation=self.correlation or None,
        )
        self.session.add(event)
        return event

    def start(
        self, flow: Callable[..., None], entity: Any, *arguments: Any, lock: str = "", owner: Any = None
    ) -> Accepted:
        """Queue `flow(job, entity.id, *arguments)` in the call's own transaction.

        Jobs on one entity run in order; `lock` names something else to be in order with. `owner` (account_id,
        domain_id) is whose job it is, the entity's account by default.
        """
        self.session.flush()
        owner = owner if owner is not None else entity
        account = getattr(owner, "account_id", None) or self.caller.account_id
        domain = getattr(owner, "domain_id", None) or self.caller.domain_id
        told = None
        if self.command.event:
            scheduled = self.event(self.command.event, entity, state="Scheduled")
            self.session.flush()
            told = {"type": self.command.event, "description": scheduled.description, "start": scheduled.id}
        asker = Asker(
            command=self.command.name,
            account_id=account,
            domain_id=domain,
            user_id=self.caller.user_id,
            correlation=self.correlation,
            answers=self.command.name,
            event=told,
        )
        job = enqueue(
            self.session,
            flow,
            (entity.id, *arguments),
            lock=lock or f"{entity.__tablename__}:{entity.id}",
            instance=(self.command.resource_type or type(entity).__name__, entity.uuid),
            asker=asker,
            uuid=self.sent.get("customjobid"),
        )
        return Accepted(job.uuid, entity.uuid)
