"""Who calls, and in what: what the body of a command is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from mgmt_server.db.prepared import put
from mgmt_server.jobs import Accepted, Asker, enqueue
from mgmt_server.model.event import Event
from mgmt_server.model.tenancy import Caller

if TYPE_CHECKING:
    from mgmt_server.api.command import Command


# kinds of things that the protocol's events name as the tables do
KINDS = frozenset(
    {"Account", "Cluster", "DiskOffering", "Domain", "Host", "ImageStore", "Network", "NetworkOffering"}
    | {"PhysicalNetwork", "Pod", "Project", "Role", "ServiceOffering", "User", "Volume", "Zone"}
)
KIND_OF = {"CONFIGURATION.VALUE.EDIT": "Configuration"}  # of events about what has no row of its own


def _kind(entity: Any) -> str | None:
    name = type(entity).__name__
    return name if name in KINDS else None


def _owner(entity: Any) -> tuple[int, int] | None:
    """Account and domain of what has both: half of a pair would tell what is one's in another's domain."""
    account, domain = getattr(entity, "account_id", None), getattr(entity, "domain_id", None)
    return None if account is None or domain is None else (account, domain)


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
    subject: Any = None  # what the parameter id names: its event is about that

    def describe(self, text: str) -> None:
        """Say what the call does, for its event."""
        self.description = text[:1024]

    def emptied(self, name: str) -> bool:
        """Whether the parameter came as an empty text. For commands that do not ask, that is as if it were not sent."""
        return self.sent.get(name) == ""

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
        event = Event(**self._told(type, entity, state=state, level=level, text=text, start=start))
        self.session.add(event)
        return event

    def _told(
        self, type: str, entity: Any, *, state: str, level: str = "INFO", text: str = "", start: int | None = None
    ) -> dict[str, Any]:
        account, domain = _owner(entity) or (self.caller.account_id, self.caller.domain_id)
        return {
            "type": type,
            "level": level,
            "state": state,
            "description": (text or self.description or self.command.description)[:1024],
            "user_id": self.caller.user_id,
            "account_id": account,
            "domain_id": domain,
            "start_id": start,
            "resource_type": self.command.resource_type or KIND_OF.get(type) or _kind(entity),
            "resource_uuid": getattr(entity, "uuid", None),
            "correlation": self.correlation or None,
        }

    def start(
        self, flow: Callable[..., None], entity: Any, *arguments: Any, lock: str = "", owner: Any = None
    ) -> Accepted:
        """Queue `flow(job, entity.id, *arguments)` in the call's own transaction.

        Jobs on one entity run in order; `lock` names something else to be in order with. `owner` (account_id,
        domain_id) is whose job it is, the entity's account by default.
        """
        self.session.flush()
        mine = self.caller.account_id, self.caller.domain_id
        account, domain = _owner(owner if owner is not None else entity) or mine
        told = None
        if self.command.event:
            scheduled = self._told(self.command.event, entity, state="Scheduled")
            if self.command.created:
                put(self.session, Event, **scheduled | {"type": self.command.created, "state": "Created"})
            number = put(self.session, Event, **scheduled)
            told = {"type": self.command.event, "description": scheduled["description"], "start": number}
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
