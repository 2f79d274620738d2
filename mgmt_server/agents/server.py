"""The server's end of the agent link: an own thread with its event loop listens on 8250; `ask` is for all others.

The event loop never touches the database: a small pool of threads does. See `session` for one connection, `mailbox`
for commands that outlive it, `directory` for who owns an agent, `door` for how many may come in at once.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

import uvloop
from websockets.asyncio.server import Server, ServerConnection, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response
from websockets.server import ServerProtocol

from mgmt_server.agents import directory, mailbox, session
from mgmt_server.agents.asking import POLL, Asking
from mgmt_server.agents.ca import SAN, Authority
from mgmt_server.agents.door import Door, listen
from mgmt_server.agents.session import Connected, Session
from mgmt_server.errors import ApiError, NotPermitted, Unavailable
from mgmt_server.protocol import link as wire
from mgmt_server.protocol.link import Answer, BadMessage, Enroll, pack, unpack

log = logging.getLogger(__name__)

PRUNE = 3600.0  # seconds between deletions of commands long over
SWEEP = 15.0  # seconds between looks for silent and superseded connections


class Link(Asking):
    """All connections of this node. `start` and `stop` may be called from any thread, `ask` from all but the loop's.

    Callbacks run in a thread of the link's pool; those about one agent run in order.
    """

    def __init__(
        self,
        authority: Authority,
        *,
        listen: tuple[str, int] = ("0.0.0.0", wire.PORT),  # noqa: S104  agents are elsewhere
        node: str = "node",
        advertise: tuple[str, ...] = (),
        ping_interval: float = wire.PING_INTERVAL,
        silence: float = wire.SILENCE,
        handshakes: int = 32,
    ) -> None:
        """`advertise`: the addresses ("host:port") that a new agent is told to dial.

        `silence`: ping intervals after which an agent that was not heard of is taken for dead.
        """
        super().__init__()
        self.authority, self.listen, self.node, self.advertise = authority, listen, node, advertise
        self.ping_interval, self.silence, self.handshakes = ping_interval, silence, handshakes
        self.on_connect: list[Callable[[Connected], None]] = []
        self.on_disconnect: list[Callable[[Connected], None]] = []
        self.on_report: list[Callable[[str, str, Any], None]] = []  # (agent, type, body)
        self.counters: dict[str, int] = Counter()
        self.port = 0  # where it listens, once started
        self._pool = ThreadPoolExecutor(4, "link")
        self._thread: threading.Thread | None = None
        self._door: Door
        self._ending: asyncio.Event

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        directory.disown_all(self.node)
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="link", daemon=True)
        self._thread.start()
        ready.result()
        directory.links.append(self.disconnect)

    def stop(self) -> None:
        """Close all connections; agents go to another node, or come back."""
        if self._thread is None:
            return
        directory.links.remove(self.disconnect)
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()
        self._thread = None
        self._pool.shutdown(wait=True, cancel_futures=True)
        directory.disown_all(self.node)

    def _run(self, ready: Future[None]) -> None:
        try:
            # asyncio's own TLS takes 256 KiB for each connection, uvloop's takes what it needs
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve(ready))
        except BaseException as error:
            if ready.done():
                log.exception("the agent link ended")
            else:
                ready.set_exception(error)

    async def _serve(self, ready: Future[None]) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        hosts = tuple(a.rsplit(":", 1)[0] for a in self.advertise)
        with listen(*self.listen) as listener, tempfile.TemporaryDirectory() as folder:
            # the library's own listener is a socket that nobody can reach: the door brings it its connections
            path = Path(folder, "unused")
            async with unix_serve(
                self._attend,
                str(path),
                process_request=self._admit,
                open_timeout=wire.HELLO_TIMEOUT,
                server_header=None,
            ) as server:
                path.unlink()
                context = self.authority.server_context(self.node, (*hosts, *SAN.words()))
                self._door = Door(context, lambda: _connection(server), self.handshakes)
                self.port = listener.getsockname()[1]
                chores = [self._loop.create_task(c) for c in (self._door.accept(listener), self._poll(), self._sweep())]
                ready.set_result(None)
                await self._ending.wait()
                for chore in chores:
                    chore.cancel()
                self._door.close()

    # --- what is known ----------------------------------------------------------------------------------------------

    def connected(self) -> list[Connected]:
        """The agents that are connected to this node."""
        return [s.who for s in list(self._sessions.values())]

    def is_connected(self, agent: str) -> bool:
        """To any node."""
        return agent in self._sessions or self._elsewhere(agent)

    def statistics(self) -> dict[str, int]:
        """Figures for metrics: gauges connections, waiting (for TLS); counters since start for the rest."""
        door = getattr(self, "_door", None)
        return {
            "connections": len(self._sessions),
            "waiting": door.waiting if door else 0,
            "refused_tls": door.refused if door else 0,
            **{k: self.counters[k] for k in ("opened", "refused", "superseded", "silent", "sent", "received", "asked")},
        }

    def disconnect(self, agent: str) -> None:
        """Close the agent's connection, for example because its certificate was revoked."""
        self._loop.call_soon_threadsafe(self._drop, agent, wire.REFUSED, "no longer let in")

    # --- in the event loop ------------------------------------------------------------------------------------------

    def _admit(self, connection: ServerConnection, request: HttpRequest) -> Response | None:
        if request.path == "/ca":
            return connection.respond(HTTPStatus.OK, self.authority.pem)
        if request.path == "/enroll":
            return None
        if request.path != "/agent":
            return connection.respond(HTTPStatus.NOT_FOUND, "Here are /agent, /enroll and /ca\n")
        certificate = connection.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        if certificate is None:
            return connection.respond(HTTPStatus.UNAUTHORIZED, "A certificate is needed: enrol the agent first\n")
        try:
            identity = self.authority.identify(certificate)
            if identity.role not in ("host", "systemvm"):
                raise NotPermitted(f"A {identity.role}'s certificate is none of an agent")
        except ApiError as error:
            self.counters["refused"] += 1
            return connection.respond(HTTPStatus.FORBIDDEN, f"{error}\n")
        connection.identity = identity  # type: ignore[attr-defined]
        return None

    async def _attend(self, connection: ServerConnection) -> None:
        identity = getattr(connection, "identity", None)
        if identity is None:
            await self._enroll(connection)
        else:
            await session.attend(self, connection, identity)

    async def _enroll(self, connection: ServerConnection) -> None:
        try:
            async with asyncio.timeout(wire.HELLO_TIMEOUT):
                message = unpack(await connection.recv())
            if not isinstance(message, Enroll):
                raise BadMessage("only an enroll message is taken here")
            answer = await self.blocking(
                directory.enroll, self.authority, message, self.advertise, session.peer_of(connection)
            )
            await connection.send(pack(answer))
            await connection.close()
        except TimeoutError:
            await connection.close(wire.LATE, "no token in time")
        except BadMessage as error:
            await connection.close(wire.GARBAGE, str(error)[:120])
        except ApiError as error:
            self.counters["refused"] += 1
            await connection.send(pack(Answer("enroll", False, error=str(error), code="refused")))
            await connection.close(wire.REFUSED, "refused")
        except ConnectionClosed:
            return

    def blocking(self, work: Callable[..., Any], *args: Any) -> Awaitable[Any]:
        """Run `work` in a thread that may use the database."""
        return self._loop.run_in_executor(self._pool, work, *args)

    async def opened(self, new: Session) -> None:
        old = self._sessions.get(new.who.uuid)
        if old is not None and old.epoch > new.epoch:
            await new.connection.close(wire.SUPERSEDED, "a newer connection of this agent is there")
            return
        with self._arrivals:
            self._sessions[new.who.uuid] = new
            self._arrivals.notify_all()
        self.counters["opened"] += 1
        if old is not None:
            self.counters["superseded"] += 1
            self._spawn(old.connection.close(wire.SUPERSEDED, "a newer connection of this agent came"))
            self._cut(old)
        # beside the session, not before it: a callback may ask the agent that it is told of
        new.announced = self._loop.create_task(self._announce(self.on_connect, new, None))
        self._spawn(session.deliver(new, also_sent=True))

    async def _announce(
        self, callbacks: list[Callable[[Connected], None]], about: Session, after: asyncio.Task[None] | None
    ) -> None:
        if after is not None:
            await after
        for callback in callbacks:
            await self.blocking(_safely, callback, about.who)

    def closed(self, old: Session) -> None:
        self._cut(old)
        if self._sessions.get(old.who.uuid) is not old:
            return
        del self._sessions[old.who.uuid]
        if self._ending.is_set():
            return
        self._pool.submit(_safely, directory.disown, old.who.uuid, old.epoch)
        self._spawn(self._announce(self.on_disconnect, old, old.announced))

    def _cut(self, old: Session) -> None:
        for future in old.asked.values():
            if not future.done():
                future.set_exception(Unavailable(f"The link with the agent {old.who.name} was cut"))
        old.asked.clear()

    def answered(self, answer: Answer) -> None:
        """The answer of a command: into the mailbox first, then to whoever waits."""
        self._pool.submit(_safely, self._keep, answer)

    def _keep(self, answer: Answer) -> None:
        future = self._expected.get(answer.id)
        try:
            if answer.code == "unavailable":
                mailbox.withdraw(answer.id)  # nothing was done: a repeat is sent again
            else:
                mailbox.keep_answer(answer)
        except Exception as error:
            if future is not None and not future.done():  # its job asks again, under the same id
                future.set_exception(error)
            raise
        if future is not None and not future.done():
            future.set_result(answer)

    def reported(self, agent: str, type: str, body: Any) -> None:
        for callback in self.on_report:
            _safely(callback, agent, type, body)

    def _drop(self, agent: str, code: int, reason: str) -> None:
        current = self._sessions.get(agent)
        if current is not None:
            self._spawn(current.connection.close(code, reason))

    async def _poll(self) -> None:
        """Send what other nodes, or a former life of this one, left in the mailbox for agents that are here."""
        while True:
            await asyncio.sleep(POLL)
            if not self._sessions:
                continue
            try:
                for agent in await self.blocking(mailbox.waiting_agents):
                    if agent in self._sessions:
                        await session.deliver(self._sessions[agent], also_sent=False)
            except Exception:
                log.exception("looking into the mailbox failed; it is tried again")

    def silent(self, moment: float) -> list[str]:
        """Agents that were not heard of for too long at that moment, as the monotonic clock counts."""
        since = moment - self.silence * self.ping_interval
        return [uuid for uuid, each in self._sessions.items() if each.heard < since]

    async def _sweep(self) -> None:
        prune = 0.0
        while True:
            await asyncio.sleep(min(SWEEP, self.ping_interval))
            for uuid in self.silent(time.monotonic()):
                self.counters["silent"] += 1
                self._sessions[uuid].connection.transport.abort()
            here = list(self._sessions.items())
            try:
                mine = await self.blocking(directory.owned, self.node)
                if time.monotonic() >= prune:
                    prune = time.monotonic() + PRUNE
                    await self.blocking(mailbox.prune)
            except Exception:
                log.exception("looking for superseded agents failed; it is tried again")
                continue
            for uuid, current in here:
                if mine.get(uuid, 0) > current.epoch or uuid not in mine:
                    self._drop(uuid, wire.SUPERSEDED, "another node owns this agent now")


def _connection(server: Server) -> ServerConnection:
    return ServerConnection(
        ServerProtocol(max_size=wire.LIMIT),
        server,
        ping_interval=None,  # agents ping, and we only listen
        close_timeout=2,
        max_queue=4,
    )


def _safely(work: Callable[..., Any], *args: Any) -> None:
    try:
        work(*args)
    except Exception:
        log.exception("%s failed", getattr(work, "__qualname__", work))
