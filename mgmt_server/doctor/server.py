"""Checks of this server: its files, its database, its ports, its certificates, its administrator."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select, text

from mgmt_server import config as bootstrap
from mgmt_server.agents import ca
from mgmt_server.api.passwords import matches
from mgmt_server.config import Config
from mgmt_server.db import engine, now, reading
from mgmt_server.db.schema import current, head
from mgmt_server.doctor.finding import Finding, fail, ok, skipped, warn
from mgmt_server.jobs.rows import JobRow, Node
from mgmt_server.model.account import User
from mgmt_server.model.event import SettingValue
from mgmt_server.model.host import Host
from mgmt_server.web import certificate as tls

PATIENCE = 5.0  # seconds for a port to answer
NEAR = timedelta(days=30)
STUCK = timedelta(hours=2)
WELL_KNOWN = ("password", "admin", "cloudwright", "cloudstack")  # what nobody may have as a password


def files(config: Config) -> Iterator[Finding]:
    """Who may read what holds secrets."""
    kind, _, where = config.key.partition(":")
    wanted = [("configuration file", Path(config.source), 0o007)]
    if kind == "file":
        wanted.append(("encryption key", Path(where), 0o037))
    for name, path, forbidden in wanted:
        if not path.exists():
            yield fail(name, f"{path} is missing", "restore it from your backup")
            continue
        mode = path.stat().st_mode & 0o777
        if mode & forbidden:
            yield fail(name, f"{path} has mode {mode:04o}", f"chmod {mode & ~forbidden:04o} {path}")
        else:
            yield ok(name, f"{path} has mode {mode:04o}")


def database(_: Config) -> Iterator[Finding]:
    if engine().dialect.name == "sqlite":
        yield warn("database", "SQLite", "one server alone may use it; for several use MariaDB or MySQL")
        return
    with engine().connect() as connection:
        version = connection.scalar(text("SELECT VERSION()"))
        named = "SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')"
        level = connection.execute(text(named)).all()[0][1].replace("-", " ")
        most = int(connection.scalar(text("SELECT @@GLOBAL.max_connections")) or 0)
    yield ok("database", f"{version} answers")
    if level != "READ COMMITTED":
        yield fail(
            "isolation", f"transactions run in {level}", "nothing but READ COMMITTED is tested: remove the override"
        )
    else:
        yield ok("isolation", level)
    with reading() as session:
        nodes = session.scalar(select(func.count()).select_from(Node)) or 1
    need = 40 * nodes + 20
    if most < need:
        yield warn("connections", f"max_connections is {most}", f"{nodes} server(s) want {need}: raise it")
    else:
        yield ok("connections", f"max_connections is {most}")


def schema(_: Config) -> Iterator[Finding]:
    have, wanted = current(), head()
    if have != wanted:
        yield fail("schema", f"it is at {have}, this version wants {wanted}", "run `cloudwright migrate`")
    else:
        yield ok("schema", f"at {have or 'its first version'}")


def clock(_: Config) -> Iterator[Finding]:
    if engine().dialect.name == "sqlite":
        yield skipped("database clock", "SQLite uses this server's")
        return
    with reading() as session:
        there = session.scalar(text("SELECT UTC_TIMESTAMP(3)"))
    offset = abs((there - now()).total_seconds()) if there else 0.0
    if offset > 5:
        yield fail(
            "database clock", f"it is {offset:.0f} s off this server's", "have both follow the same time servers"
        )
    else:
        yield ok("database clock", f"within {max(offset, 0.1):.1f} s")


def nodes(_: Config) -> Iterator[Finding]:
    with reading() as session:
        known = list(session.scalars(select(Node).where(Node.removed.is_(None))))
    beating = [n.name for n in known if n.heartbeat and n.heartbeat > now() - timedelta(seconds=20)]
    silent = [n.name for n in known if n.name not in beating]
    if not beating:
        yield fail("servers", "no server is running", "systemctl start cloudwright; see its journal")
    elif silent:
        yield warn("servers", f"running: {', '.join(beating)}; silent: {', '.join(silent)}", "start the silent ones")
    else:
        yield ok("servers", f"running: {', '.join(beating)}")


def ports(config: Config) -> Iterator[Finding]:
    """What this server's own ports answer."""
    host, port = bootstrap.address(config.listen)
    try:
        connection = http.client.HTTPConnection(_here(host), port, timeout=PATIENCE)
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        told = f"{config.listen} answers {answer.status}"
        yield ok("API port", told) if answer.status == 200 else fail("API port", told, "see the server's log")
    except OSError as error:
        yield fail("API port", f"{config.listen}: {error}", "systemctl status cloudwright; is the port taken?")
    yield _agents_port(config)
    if not config.integration_port:
        yield ok("integration port", "closed")
    elif ipaddress.ip_address(_here(config.integration_address)).is_loopback:
        yield warn(
            "integration port",
            f"{config.integration_port} is open on {config.integration_address}",
            "every user of this machine is root of the cloud: set integration_port = 0 unless a client needs it",
        )
    else:
        yield fail(
            "integration port",
            f"{config.integration_port} is open on {config.integration_address}",
            "whoever reaches it is root of the cloud: set integration_port = 0, or integration_address to 127.0.0.1",
        )


def _agents_port(config: Config) -> Finding:
    if not config.agents_listen:
        return skipped("agents port", "agents_listen is empty: this server takes no agents")
    host, port = bootstrap.address(config.agents_listen)
    context = ssl.create_default_context(cadata=ca.load().pem)
    context.check_hostname = False
    try:
        with (
            socket.create_connection((_here(host), port), PATIENCE) as raw,
            context.wrap_socket(raw, server_hostname=_here(host)) as link,
        ):
            version = link.version()
    except ssl.SSLCertVerificationError as error:
        return fail("agents port", f"{config.agents_listen}: {error.verify_message}", "restart the server")
    except OSError as error:
        return fail(
            "agents port", f"{config.agents_listen}: {error}", "systemctl status cloudwright; is the port taken?"
        )
    return ok("agents port", f"{config.agents_listen} answers with this cloud's certificate ({version})")


def _here(host: str) -> str:
    return "127.0.0.1" if host in ("", "0.0.0.0", "::") else host  # noqa: S104  compared, not bound


def certificate(config: Config) -> Iterator[Finding]:
    """Of the API's port with TLS."""
    if not config.tls_listen:
        yield skipped("API certificate", "tls_listen is empty: the API speaks no TLS of its own")
        return
    path, _ = tls.files(config)
    try:
        left = tls.expires(path) - datetime.now(UTC)
    except (OSError, ValueError) as error:
        yield fail("API certificate", f"{path}: {error}", "correct tls_certificate, or leave it out to get one")
        return
    told = f"{path} is valid for {left.days} days" if left > timedelta(0) else f"{path} expired {-left.days} days ago"
    remedy = "put a new one there: the server takes it within 12 hours, or when it is restarted"
    if left < timedelta(0):
        yield fail("API certificate", told, remedy)
    elif left < NEAR:
        yield warn("API certificate", told, remedy)
    else:
        yield ok("API certificate", told)


def authority(_: Config) -> Iterator[Finding]:
    left = ca.load().certificate.not_valid_after_utc - datetime.now(UTC)
    if left < timedelta(0):
        yield fail("certificate authority", f"it expired {-left.days} days ago", "make a new one and enrol all agents")
    elif left < NEAR:
        yield warn("certificate authority", f"it expires in {left.days} days", "plan to enrol all agents anew")
    else:
        yield ok("certificate authority", f"valid for {left.days} days")


def administrator(_: Config) -> Iterator[Finding]:
    with reading() as session:
        known = session.execute(select(User.username, User.password).where(User.password.is_not(None))).all()
    weak = [n for n, hashed in known if n == "admin" and any(matches(p, hashed) for p in WELL_KNOWN)]
    if weak:
        yield fail("administrator", "admin has a password that everybody knows", "change it with updateUser")
    else:
        yield ok("administrator", "admin has no well-known password")


def settings(config: Config) -> Iterator[Finding]:
    """Where agents and system VMs are told to go."""
    with reading() as session:
        values = dict(
            session.execute(select(SettingValue.name, SettingValue.value).where(SettingValue.scope == "Global")).all()
        )
        real = session.scalar(
            select(func.count()).select_from(Host).where(Host.hypervisor == "KVM", Host.removed.is_(None))
        )
    told = config.advertise or str(values.get("host") or "")
    if not told or told in ("localhost", "127.0.0.1", "::1"):
        status = fail if real else warn
        yield status("address", f"agents are told {told or 'nothing'}", "set advertise to an address that hosts reach")
    else:
        yield ok("address", f"agents are told {told}")
    cidrs = str(values.get("management.network.cidr") or "")
    wrong = [c for c in cidrs.replace(",", " ").split() if not _is_network(c)]
    if wrong:
        yield fail("management network", f"{', '.join(wrong)} is no network", "correct setting management.network.cidr")
    elif cidrs and _is_address(told) and not any(_within(told, c) for c in cidrs.replace(",", " ").split()):
        yield fail(
            "management network",
            f"{told} is not in {cidrs}",
            "system VMs would not reach this server: correct setting management.network.cidr",
        )
    else:
        yield ok("management network", cidrs or "not narrowed")


def _is_network(value: str) -> bool:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return True


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _within(address: str, cidr: str) -> bool:
    found, network = ipaddress.ip_address(address), ipaddress.ip_network(cidr, strict=False)
    return found.version == network.version and found in network


def jobs(_: Config) -> Iterator[Finding]:
    with reading() as session:
        old = list(
            session.execute(
                select(JobRow.uuid, JobRow.command, JobRow.state)
                .where(JobRow.state.in_(("queued", "running", "waiting")), JobRow.created < now() - STUCK)
                .where(JobRow.not_before.is_(None))
                .limit(3)
            )
        )
    if old:
        named = ", ".join(f"{uuid} ({command or 'internal'}, {state})" for uuid, command, state in old)
        yield warn("jobs", f"older than two hours: {named}", "look for their ids in the log")
    else:
        yield ok("jobs", "none is older than two hours")
