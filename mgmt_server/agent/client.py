"""The agent's end of the link: dial, say hello, obey the newest epoch, come back when cut off."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from mgmt_server.agent import notify, version
from mgmt_server.agent.certificate import held, request_of, take
from mgmt_server.agent.config import Config, address_of
from mgmt_server.agent.journal import Journal
from mgmt_server.agent.work import Work
from mgmt_server.errors import ApiError, Failed
from mgmt_server.protocol import link as wire
from mgmt_server.protocol.identity import role_of
from mgmt_server.protocol.link import Answer, BadMessage, Hello, Ping, Report, Request, Welcome, pack, unpack
from mgmt_server.protocol.machine import HostFacts

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds between tries
HANDSHAKE = 20.0  # seconds for TCP, TLS and WebSocket
REPORTS_KEPT = 1000  # while cut off; machine states are swept anyway
RENEWAL_CHECK = 6 * 3600.0
RELINK = 1.0  # seconds


class Refused(Exception):
    """The server does not want this agent, or is none of ours."""


class Client:
    def __init__(
        self, config: Config, journal: Journal, work: Work, facts: Callable[[], HostFacts | None], boot_id: str
    ) -> None:
        self.config, self.journal, self.work, self.facts, self.boot_id = config, journal, work, facts, boot_id
        self.epoch = journal.note("epoch")
        self.connected = threading.Event()
        self.on_link: Callable[[], None] = lambda: None  # called in the loop: must not wait
        self.stopping = False
        self._connection: ClientConnection | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reports: deque[Report] = deque(maxlen=REPORTS_KEPT)
        self._renewals = 0
        self._heard = 0.0
        self._interval = wire.PING_INTERVAL

    # --- from any thread --------------------------------------------------------------------------------------------

    def report(self, type: str, body: Any) -> None:
        """Tell the server, now or when it is there again."""
        self._reports.append(Report(type, body))
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._push)

    def stop(self) -> None:
        self.stopping = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._hang_up)

    def relink(self) -> None:
        """Dial anew soon: what is being answered is sent before."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.call_later, RELINK, self._let_go)

    # --- the loop ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until `stop`."""
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        turn, pause = random.randrange(len(self.config.servers)), FIRST_PAUSE  # noqa: S311
        while not self.stopping:
            server = self.config.servers[turn % len(self.config.servers)]
            turn += 1
            began = time.monotonic()
            try:
                longer = await self._converse(server)
            except (OSError, TimeoutError, InvalidHandshake, Refused, BadMessage, ConnectionClosed, ApiError) as error:
                longer = isinstance(error, Refused)
                log.warning("no link with %s: %s", server, _words(error))
                notify.status(f"No link with {server}: {_words(error)}")
            except asyncio.CancelledError:
                if self.stopping:
                    return
                raise
            if time.monotonic() - began > 2 * LONGEST_PAUSE:
                pause = FIRST_PAUSE
            pause = LONGEST_PAUSE if longer else pause
            if not self.stopping:
                await asyncio.sleep(random.uniform(pause / 4, pause))  # noqa: S311  jitter: not all hosts at once
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _converse(self, server: str) -> bool:
        """One connection, from dial to end; whether to stay away for longer."""
        host, port = address_of(server)
        context = client_context(self.config)
        where = f"[{host}]" if ":" in host else host
        async with connect(
            f"wss://{where}:{port}/agent",
            ssl=context,
            compression=None,
            max_size=wire.ORDERS,
            ping_interval=None,
            open_timeout=HANDSHAKE,
            close_timeout=2,
            user_agent_header=None,
            proxy=None,
        ) as connection:
            check_server(connection)
            try:
                await self._greet(connection)
                self._connection, self._heard = connection, time.monotonic()
                self.connected.set()
                log.info("linked with %s, epoch %d", server, self.epoch)
                notify.status(f"{notify.LINKED} {server}")
                self.on_link()
                self._push()
                pinger = asyncio.create_task(self._ping(connection))
                try:
                    await self._receive(connection)
                finally:
                    pinger.cancel()
            except ConnectionClosed as error:
                code = error.rcvd.code if error.rcvd else 0
                log.warning("the link with %s ended: %s", server, error.rcvd or "cut")
                notify.status(f"The link with {server} ended: {error.rcvd or 'cut'}")
                return code in (wire.REFUSED, wire.SUPERSEDED, wire.GARBAGE)
            finally:
                self._connection = None
                self.connected.clear()
        return False

    async def _greet(self, connection: ClientConnection) -> None:
        facts = await asyncio.to_thread(self.facts)
        await connection.send(
            pack(
                Hello(
                    self.config.uuid,
                    self.boot_id,
                    version(),
                    self.config.kind,
                    facts,
                    tuple({*self.work.unfinished(), *self.journal.unfinished()}),
                    self.epoch,
                    takes=wire.ORDERS,
                )
            )
        )
        async with asyncio.timeout(HANDSHAKE):
            welcome = unpack(await connection.recv())
        if not isinstance(welcome, Welcome):
            raise BadMessage("the server did not answer the hello with a welcome")
        if welcome.epoch <= self.epoch:
            raise Refused(f"the server's epoch {welcome.epoch} is not above {self.epoch}, which this agent obeyed")
        self.epoch, self._interval = welcome.epoch, max(0.05, welcome.ping_interval)
        self.journal.set_note("epoch", self.epoch)

    async def _receive(self, connection: ClientConnection) -> None:
        async for data in connection:
            self._heard = time.monotonic()
            message = unpack(data, wire.ORDERS)
            if isinstance(message, Request):
                self._obey(message)
            elif isinstance(message, Answer):
                await asyncio.to_thread(self._renewed, message)
            elif not isinstance(message, Ping):
                raise BadMessage(f"a {type(message).__name__} from a server")

    def _obey(self, request: Request) -> None:
        if request.epoch < self.epoch:
            text = f"the command is of epoch {request.epoch}, and this agent obeys {self.epoch}"
            self._reply(Answer(request.id, False, error=text, code="epoch"))
            return
        self.work.take(request, self._reply)

    def _reply(self, answer: Answer) -> None:
        """From any thread. An answer that finds no link is in the journal, and asked for again."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._send_answer, answer)

    def _send_answer(self, answer: Answer) -> None:
        try:
            data = pack(answer)
        except BadMessage as error:
            data = pack(Answer(answer.id, False, error=str(error), code="failed"))
        self._send(data)

    def _send(self, data: str) -> None:
        if self._connection is not None:
            task = asyncio.get_running_loop().create_task(_quietly(self._connection, data))
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)

    def _push(self) -> None:
        while self._reports and self._connection is not None:
            try:
                self._send(pack(self._reports.popleft()))
            except BadMessage as error:
                log.warning("a report is left out: %s", error)

    async def _ping(self, connection: ClientConnection) -> None:
        number, renewal = 0, 0.0
        while True:
            if time.monotonic() >= renewal:
                renewal = time.monotonic() + RENEWAL_CHECK
                await asyncio.to_thread(self._ask_for_renewal)
            await asyncio.sleep(self._interval * random.uniform(0.8, 1.2))  # noqa: S311
            if time.monotonic() - self._heard > wire.SILENCE * self._interval:
                log.warning("the server is silent: hanging up")
                connection.transport.abort()
                return
            number += 1
            await _quietly(connection, pack(Ping(number)))

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.transport.abort()

    def _hang_up(self) -> None:
        if self._main is not None:
            self._main.cancel()

    # --- the certificate's renewal ----------------------------------------------------------------------------------

    def _ask_for_renewal(self) -> None:
        certificate = held(self.config)
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if datetime.now(UTC) < begin + (end - begin) * 2 / 3:
            return
        self._renewals += 1
        request = Request(f"renew-{self._renewals}", self.epoch, "renew", {"csr": request_of(self.config)})
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._send, pack(request))

    def _renewed(self, answer: Answer) -> None:
        if not answer.ok or not isinstance(answer.value, dict):
            log.warning("the certificate was not renewed: %s", answer.error)
            return
        try:
            log.info("certificate renewed until %s", take(self.config, str(answer.value["certificate"])))
        except Failed as error:
            log.warning("the certificate was not renewed: %s", error)


_tasks: set[asyncio.Task[None]] = set()


async def _quietly(connection: ClientConnection, data: str) -> None:
    try:
        await connection.send(data)
    except ConnectionClosed:
        return


def client_context(config: Config) -> ssl.SSLContext:
    """TLS 1.3 with our certificate; the other side must hold one of the cloud's own CA (see check_server)."""
    context = trusting(config.ca)
    context.load_cert_chain(config.certificate, config.key)
    return context


def trusting(ca: Path | None = None, pem: str = "") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # a balancer's or another node's address will do: the role is checked instead
    context.load_verify_locations(cafile=ca, cadata=pem or None)
    return context


def check_server(connection: ClientConnection) -> None:
    """Raises Refused unless the certificate (of our CA: TLS saw to that) is a server's."""
    der = connection.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
    found = role_of(x509.load_der_x509_certificate(der))
    if found is None or found[0] != "server":
        raise Refused("it presents a certificate that is not a management server's")


def _words(error: Exception) -> str:
    if isinstance(error, InvalidStatus):
        body = (error.response.body or b"").decode(errors="replace").strip()
        return f"HTTP {error.response.status_code} {body}"
    return str(error) or type(error).__name__
