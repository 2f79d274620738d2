"""A running server: web, jobs, agents, in one process."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import uvicorn

from mgmt_server import config as bootstrap
from mgmt_server import db
from mgmt_server.config import Config, ConfigurationError
from mgmt_server.install import open_database
from mgmt_server.jobs.worker import Workers
from mgmt_server.logs import set_up
from mgmt_server.resources.transfer import links
from mgmt_server.web import certificate
from mgmt_server.web.app import create, open_port
from mgmt_server.web.metrics import Metrics
from mgmt_server.web.protocol import Http

log = logging.getLogger("cloudwright")
RENEWED = 12 * 3600.0  # seconds between looks at the certificate


def our_version() -> str:
    try:
        return version("cloudwright")
    except PackageNotFoundError:
        return "0"


class Server:
    """Everything that `cloudwright serve` runs. The database is open and prepared."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.metrics = Metrics()
        self.workers = Workers(config.node, threads=config.workers, address=config.advertise, version=our_version())
        self.metrics.gauges(self._gauges)
        self.link: Any = None
        self._stop = asyncio.Event()

    async def run(self, ready: Callable[[str], None]) -> None:
        """Serve until a signal says stop. `ready` is called with the URL once calls are answered."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        self.workers.on_lost = lambda: loop.call_soon_threadsafe(self._stop.set)
        if self.config.agents_listen:
            self._start_link()
        app = create(simulator=self.config.simulator, version=our_version(), metrics=self.metrics, health=self._health)
        listening = _listen(self.config.listen)
        servers = [_uvicorn(app)]
        sockets = [listening]
        if self.config.integration_port:
            log.warning(
                "the integration port %s is open on %s: whoever reaches it is root of this cloud, without a key",
                self.config.integration_port,
                self.config.integration_address,
            )
            sockets.append(_listen(f"{self.config.integration_address}:{self.config.integration_port}"))
            servers.append(_uvicorn(open_port(self.config.simulator, self.metrics)))
        if self.config.tls_listen:
            sockets.append(_listen(self.config.tls_listen))
            servers.append(_uvicorn(app, self.config))
        self.workers.start()
        tasks = [asyncio.create_task(s.serve(sockets=[k])) for s, k in zip(servers, sockets, strict=True)]
        renewing = [asyncio.create_task(self._renew(s)) for s in servers if s.config.ssl]
        while not all(s.started for s in servers):
            if any(t.done() for t in tasks):
                raise ConfigurationError("the web server did not start; see the log")
            await asyncio.sleep(0.01)
        host, port = listening.getsockname()[:2]
        links.use_base(self._address(host, port))
        gc.freeze()  # what was loaded stays: looking through it again and again holds up calls by 0.1 s each time
        ready(f"http://{host}:{port}")
        await asyncio.wait([asyncio.create_task(self._stop.wait()), *tasks], return_when=asyncio.FIRST_COMPLETED)
        for server in servers:
            server.should_exit = True
        for task in renewing:
            task.cancel()
        await asyncio.gather(*tasks)
        if self.link is not None:
            self.link.stop()
        await asyncio.to_thread(self.workers.stop)
        db.disconnect()

    def _address(self, host: str, port: int) -> str:
        """Where clients reach this server, as far as it knows."""
        name = self.config.advertise or (socket.getfqdn() if host in ("0.0.0.0", "::") else host)  # noqa: S104
        if self.config.tls_listen:
            return f"https://{name}:{bootstrap.address(self.config.tls_listen)[1]}"
        return f"http://{name}:{port}"

    async def _renew(self, server: uvicorn.Server) -> None:
        """Take a new certificate into use without a restart: ours near its end, or what stands in the files by then."""
        while True:
            await asyncio.sleep(RENEWED)
            try:
                await asyncio.to_thread(certificate.prepare, self.config)
                if isinstance(server.config.ssl, ssl.SSLContext):
                    certificate.load(server.config.ssl, self.config)
            except Exception:
                log.exception("the certificate of %s was not renewed", self.config.tls_listen)

    def _start_link(self) -> None:
        from mgmt_server.agents import ca
        from mgmt_server.agents.server import Link
        from mgmt_server.resources.host.link import PATIENCE, PING, attach

        host, port = bootstrap.address(self.config.agents_listen)
        advertised = f"{self.config.advertise or host}:{port}"
        self.link = Link(
            ca.load(), listen=(host, port), node=self.config.node, advertise=(advertised,),
            ping_interval=PING.number(), silence=PATIENCE.fraction(),
        )  # fmt: skip
        attach(self.link)
        self.link.start()

    def _health(self) -> dict[str, Any]:
        return {"node": self.config.node, "version": our_version(), "jobs": self.workers.busy}

    def _gauges(self) -> dict[str, tuple[str, float]]:
        found: dict[str, tuple[str, float]] = {
            "sql_statements": ("Statements executed since the start", db.statements()),
            "jobs_running": ("Jobs that run on this node now", self.workers.busy),
        }
        if self.link is not None:
            found["agents_connected"] = ("Agents connected to this node", len(self.link.connected()))
        return found


def _uvicorn(app: Any, with_tls: Config | None = None) -> uvicorn.Server:
    options: dict[str, Any] = {}
    if with_tls is not None:
        certificate.prepare(with_tls)
        chain, key = certificate.files(with_tls)
        # tried here, because uvicorn does not tell what is wrong with them
        certificate.load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), with_tls)
        options = {"ssl_certfile": chain, "ssl_keyfile": key}
    settings = uvicorn.Config(
        app, http=Http, access_log=False, log_config=None, server_header=False, timeout_keep_alive=75, backlog=1024,
        proxy_headers=False,  # uvicorn believes everybody on this machine; whom we believe is set: see web/origin.py
        **options,
    )  # fmt: skip
    settings.load()
    if isinstance(settings.ssl, ssl.SSLContext):
        settings.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    server = uvicorn.Server(settings)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  ours stop all servers together
    return server


def _listen(text: str) -> socket.socket:
    host, port = bootstrap.address(text)
    try:
        found = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
        )
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {text}: {error.strerror}; another program may have that port"
        ) from None
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


def serve(config: Config, key: bytes, prepare: Callable[[], None]) -> None:
    """Open the database, let `prepare` do what has to be done first, run."""
    set_up(config.log_file if config.source else None)
    open_database(config, key)
    prepare()

    def ready(url: str) -> None:
        print(f"ready {url}", flush=True)

    async def main() -> None:
        await Server(config).run(ready)

    try:
        import uvloop

        uvloop.run(main())
    except ImportError:
        asyncio.run(main())
    sys.stdout.flush()
