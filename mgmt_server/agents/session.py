"""One agent's connection, from its hello to its end. Runs in the link's event loop only."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Protocol

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from mgmt_server.agents import directory, mailbox
from mgmt_server.agents.ca import Authority, Identity
from mgmt_server.errors import ApiError, NotPermitted
from mgmt_server.protocol import link as wire
from mgmt_server.protocol.link import Answer, BadMessage, Hello, Ping, Report, Request, Welcome, pack, unpack
from mgmt_server.protocol.machine import HostFacts

log = logging.getLogger(__name__)

MOST_REPORTS = 1000  # of one agent, waiting to be taken


@dataclass(frozen=True)
class Connected:
    """An agent that is connected to this node."""

    uuid: str
    name: str
    kind: str
    address: str
    epoch: int
    facts: HostFacts | None


class Owner(Protocol):
    """What a session needs of the link it belongs to."""

    authority: Authority
    node: str
    ping_interval: float
    counters: dict[str, int]

    def blocking(self, work: Callable[..., Any], *args: Any) -> Awaitable[Any]: ...
    async def opened(self, session: Session) -> None: ...
    def closed(self, session: Session) -> None: ...
    def answered(self, answer: Answer) -> None: ...
    def reported(self, agent: str, type: str, body: Any) -> None: ...


class Session:
    __slots__ = ("owner", "connection", "identity", "who", "epoch", "heard", "reports", "asked", "announced", "takes")

    def __init__(self, owner: Owner, connection: ServerConnection, identity: Identity, hello: Hello, epoch: int):
        self.owner, self.connection, self.identity, self.epoch = owner, connection, identity, epoch
        address = hello.facts.address if hello.facts else ""
        self.who = Connected(
            identity.uuid, identity.name, identity.role, address or peer_of(connection), epoch, hello.facts
        )
        self.takes = min(hello.takes, wire.ORDERS)
        self.heard = time.monotonic()
        self.reports: deque[Report] | None = None  # None: no task carries them to their callbacks now
        self.announced: asyncio.Task[None] | None = None  # tells the callbacks that it is there
        self.asked: dict[str, Future[Answer]] = {}  # questions that end with this connection

    async def send(self, request: Request) -> None:
        """Put it on the wire; nothing when the connection is gone: the mailbox has it, or its asker times out."""
        self.owner.counters["sent"] += 1
        try:
            await self.connection.send(pack(replace(request, epoch=self.epoch), self.takes))
        except ConnectionClosed:
            return
        except BadMessage as error:
            self._answered(Answer(request.id, False, error=str(error), code="failed"))

    async def serve(self) -> None:
        """Until the connection ends."""
        async for data in self.connection:
            self.heard = time.monotonic()
            self.owner.counters["received"] += 1
            await self._take(unpack(data))

    async def _take(self, message: wire.Message) -> None:
        if isinstance(message, Ping):
            await self.connection.send(pack(message))
        elif isinstance(message, Answer):
            self._answered(message)
        elif isinstance(message, Report):
            self._reported(message)
        elif isinstance(message, Request):
            await self.connection.send(pack(await self._asked(message)))
        else:
            raise BadMessage(f"a {type(message).__name__} has no place here")

    def _answered(self, answer: Answer) -> None:
        future = self.asked.pop(answer.id, None)
        if future is not None:
            if not future.done():
                future.set_result(answer)
        elif not answer.id.startswith("read-"):  # else: too late, nobody waits for it any more
            self.owner.answered(answer)

    async def _asked(self, request: Request) -> Answer:
        """What agents may ask: a new certificate for themselves."""
        if request.type != "renew" or not isinstance(request.body, dict):
            return Answer(request.id, False, error=f"agents cannot ask for {request.type!r}", code="unknown")
        try:
            csr = str(request.body.get("csr"))
            value = await self.owner.blocking(
                directory.renew, self.owner.authority, self.identity, csr, peer_of(self.connection)
            )
        except ApiError as error:
            return Answer(request.id, False, error=str(error), code="failed")
        return Answer(request.id, True, value)

    def _reported(self, report: Report) -> None:
        # in the order they came, and without keeping the receiving loop from answers
        if self.reports is not None:
            if len(self.reports) >= MOST_REPORTS:
                raise BadMessage("more reports than can be taken")
            self.reports.append(report)
            return
        self.reports = deque([report])
        carrier = asyncio.get_running_loop().create_task(self._carry_reports())
        _carriers.add(carrier)
        carrier.add_done_callback(_carriers.discard)

    async def _carry_reports(self) -> None:
        while self.reports:
            report = self.reports.popleft()
            await self.owner.blocking(self.owner.reported, self.who.uuid, report.type, report.body)
        self.reports = None


_carriers: set[asyncio.Task[None]] = set()  # the loop itself keeps no strong reference to its tasks


def peer_of(connection: ServerConnection) -> str:
    peer = connection.remote_address
    return str(peer[0]) if peer else ""


async def attend(owner: Owner, connection: ServerConnection, identity: Identity) -> None:
    """Greet whoever presented `identity`, and serve it until it goes. Closes the connection with the reason."""
    session: Session | None = None
    try:
        async with asyncio.timeout(wire.HELLO_TIMEOUT):
            hello = unpack(await connection.recv())
        if not isinstance(hello, Hello):
            raise BadMessage("the first message must be a hello")
        if (hello.agent, hello.kind) != (identity.uuid, identity.role):
            raise NotPermitted("The hello names another agent than the certificate")
        epoch = await owner.blocking(directory.own, identity, hello, owner.node)
        session = Session(owner, connection, identity, hello, epoch)
        await connection.send(pack(Welcome(epoch, owner.ping_interval)))
        await owner.opened(session)
        await session.serve()
    except TimeoutError:
        await _close(owner, connection, wire.LATE, "no hello in time")
    except BadMessage as error:
        await _close(owner, connection, wire.GARBAGE, str(error))
    except ApiError as error:
        await _close(owner, connection, wire.REFUSED, str(error))
    except ConnectionClosed:
        pass
    finally:
        if session is not None:
            owner.closed(session)


async def _close(owner: Owner, connection: ServerConnection, code: int, reason: str) -> None:
    owner.counters["refused"] += 1
    log.warning("closing the link with %s: %s", connection.remote_address, reason)
    await connection.close(code, reason.encode()[:120].decode(errors="ignore"))


async def deliver(session: Session, *, also_sent: bool) -> None:
    """Send what the mailbox still holds for this agent; `also_sent`: what earlier connections may have lost, too.

    What was put there for this very connection is on its way already: sent twice it would be answered twice.
    """
    pending = await session.owner.blocking(open_for, session.who.uuid, session.epoch, also_sent)
    for each in pending:
        await session.send(each.request)


def open_for(agent: str, epoch: int, also_sent: bool) -> list[mailbox.Pending]:
    pending = mailbox.open_commands([agent], before=epoch if also_sent else 0)
    if pending:
        mailbox.sent([p.request.id for p in pending], epoch)
    return pending
