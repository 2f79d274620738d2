"""How a host becomes known: a one-time token is exchanged for a certificate, and agent.toml is written."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from mgmt_server.agent.certificate import make_csr
from mgmt_server.agent.client import check_server, trusting
from mgmt_server.agent.config import ACCELERATORS, ConfigError, address_of, load, replace, store
from mgmt_server.errors import Failed, NotPermitted, ParameterError, Unavailable
from mgmt_server.protocol import link as wire
from mgmt_server.protocol.link import Answer, Enroll, Enrolled, pack, unpack

TIMEOUT = 20.0  # seconds


def enroll(
    servers: list[str],
    token: str,
    ca_fingerprint: str,
    config_path: str,
    accelerator: str = "auto",
    force: bool = False,
    *,
    name: str = "",
    kind: str = "host",
) -> bool:
    """Fetch a certificate into the folder of `config_path` and write that file; whether anything was done.

    `ca_fingerprint`: SHA-256 of the cloud's root certificate, hex, colons allowed. The agent's name is the one that the
    token was made for; a `name` must be the same. Nothing is done where a valid certificate is, unless `force`.
    Raises ParameterError, NotPermitted (the token), Unavailable (no server answers), Failed (not the right server).
    """
    if accelerator not in ACCELERATORS:
        raise ParameterError(f"--accelerator is {accelerator!r}, and may be {', '.join(ACCELERATORS)}")
    wanted = ca_fingerprint.replace(":", "").lower().strip()
    if len(wanted) != 64 or any(c not in "0123456789abcdef" for c in wanted):
        raise ParameterError(
            "--ca-fingerprint must be a SHA-256 in hex: 64 digits, as `cloudwright enroll-token` prints"
        )
    addresses = [_address(s) for s in servers]
    if not addresses:
        raise ParameterError("Name at least one --server HOST:8250")
    path = Path(config_path)
    if not force and enrolled(path):
        return False
    key = ec.generate_private_key(ec.SECP256R1())
    message = Enroll(token, make_csr(key, "agent"), name, kind)
    answer = _first_that_answers(addresses, wanted, message)
    _keep(path, servers, answer, key, accelerator, kind)
    return True


def enrolled(path: Path) -> bool:
    """Whether a certificate is there that is valid for another day."""
    try:
        config = load(path)
        certificate = x509.load_pem_x509_certificate(config.certificate.read_bytes())
        return config.key.exists() and config.ca.exists() and _days_left(certificate) >= 1
    except (ConfigError, OSError, ValueError):
        return False


def _days_left(certificate: x509.Certificate) -> float:
    return (certificate.not_valid_after_utc - datetime.now(UTC)).total_seconds() / 86400


def _address(server: str) -> tuple[str, int]:
    try:
        return address_of(server)
    except ConfigError as error:
        raise ParameterError(str(error)) from None


def _first_that_answers(addresses: list[tuple[str, int]], fingerprint: str, message: Enroll) -> Enrolled:
    silent = []
    for host, port in addresses:
        try:
            ca = _fetch_ca(host, port, fingerprint)
            return asyncio.run(_exchange(host, port, ca, message))
        except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed, http.client.HTTPException) as error:
            silent.append(f"{host}:{port}: {error or type(error).__name__}")
    raise Unavailable(
        "No management server could be asked: " + "; ".join(silent) + ". Check the address, that the server runs, and"
        f" that its port {wire.PORT} is reachable from here"
    )


def _fetch_ca(host: str, port: int, fingerprint: str) -> str:
    """The cloud's root certificate (PEM). It is asked for over TLS that trusts nobody yet; the fingerprint decides."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=context)
    try:
        connection.request("GET", "/ca")
        pem = connection.getresponse().read(1 << 16).decode("ascii", "replace")
    finally:
        connection.close()
    try:
        der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.DER)
    except ValueError:
        raise Failed(f"{host}:{port} is not a management server's agent port: it has no certificate to give") from None
    if not hmac.compare_digest(hashlib.sha256(der).hexdigest(), fingerprint):
        raise Failed(
            f"{host}:{port} belongs to another cloud, or somebody stands between: its CA has the fingerprint"
            f" {hashlib.sha256(der).hexdigest()}, not {fingerprint}. The token was not sent"
        )
    return pem


async def _exchange(host: str, port: int, ca: str, message: Enroll) -> Enrolled:
    where = f"[{host}]" if ":" in host else host
    async with asyncio.timeout(TIMEOUT):
        async with connect(
            f"wss://{where}:{port}/enroll", ssl=trusting(pem=ca), compression=None, max_size=wire.LIMIT, proxy=None
        ) as connection:
            check_server(connection)
            await connection.send(pack(message))
            answer = unpack(await connection.recv())
    if isinstance(answer, Answer):
        raise NotPermitted(answer.error)
    if not isinstance(answer, Enrolled):
        raise Failed(f"{host}:{port} answered with something else than a certificate")
    return answer


def _keep(
    path: Path, servers: list[str], answer: Enrolled, key: ec.EllipticCurvePrivateKey, accelerator: str, kind: str
) -> None:
    folder = path.resolve().parent
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    replace(folder / "key.pem", private, 0o600)
    replace(folder / "certificate.pem", answer.certificate.encode(), 0o644)
    replace(folder / "ca.pem", answer.ca.encode(), 0o644)
    values = {
        "servers": list(servers),
        "uuid": answer.uuid,
        "name": answer.name,
        "certificate": folder / "certificate.pem",
        "key": folder / "key.pem",
        "ca": folder / "ca.pem",
        "kind": kind,
        "accelerator": accelerator,
    }
    store(path, values)
