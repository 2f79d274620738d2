"""Certificates for tests: an authority, and web servers on loopback that it vouches for."""

from __future__ import annotations

import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _signed(name: str, key: Any, by: Any, *more: x509.ExtensionType, days: int = 9) -> str:
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(_name(name)).issuer_name(_name("images")).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=10)).not_valid_after(now + timedelta(days=days))
    for extension in more:
        made = made.add_extension(extension, critical=False)
    return made.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def authority(days: int = 9) -> tuple[str, Any]:
    """(certificate, key) of an authority that holds for so many days."""
    key = ec.generate_private_key(ec.SECP256R1())
    mark = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return _signed("images", key, key, x509.BasicConstraints(ca=True, path_length=None), mark, days=days), key


def serving(by: Any, folder: Path, address: str = "127.0.0.1") -> ssl.SSLContext:
    """TLS of a server at an address, whose certificate an authority has signed; it lies with its key in server.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key())
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_text(_signed(address, key, by, names, above) + secret.decode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


@contextmanager
def web_server(pages: Any, by: Any, folder: Path) -> Iterator[str]:
    """The address of an HTTPS server with these pages, whose certificate an authority has signed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), pages)
    server.socket = serving(by, folder).wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
