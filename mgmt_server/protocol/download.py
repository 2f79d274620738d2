"""The one fetcher of what users name by URL: http and https only, and never of what only this server can reach.

A name is resolved once; the address that was looked at is the one that is dialled, so that a second answer of the name
server changes nothing. Each redirect is looked at anew.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from mgmt_server.errors import Failed, InvalidValue, Unavailable

REDIRECTS = 5
DIAL = 15.0  # seconds to reach one address: a firewall that drops packets is told, not waited for
SILENCE = 60.0  # seconds without a byte
CHUNK = 1 << 18
BEGINNING = 1 << 18  # bytes of an image that tell what it is
PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers of a server that may answer better later
CARRIER_NAT = ipaddress.ip_network("100.64.0.0/10")  # not told to be private, and not of the Internet either

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Limits:
    """`allowed`: networks of ours that may be fetched from, as CIDRs. Bytes and seconds of one download.
    `authorities`: certificates (PEM) that are trusted besides those of the system.
    `redirects`: whether a server may name another URL instead. `dial`, `silence`: seconds for a connection, and without
    a byte on it."""

    allowed: tuple[str, ...] = ()
    size: int = 50 << 30
    seconds: float = 6 * 3600.0
    authorities: tuple[str, ...] = ()
    redirects: bool = True
    dial: float = DIAL
    silence: float = SILENCE


@dataclass(frozen=True)
class Fetched:
    size: int
    url: str  # after redirects
    modified: str = ""


@dataclass(frozen=True)
class Beginning:
    content: bytes
    size: int  # of the whole; 0: the server does not tell


def refuse(address: Address, allowed: Sequence[str]) -> str:
    """Why this address must not be dialled; empty when it may be."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    for text in allowed:
        try:
            network = ipaddress.ip_network(text.strip(), strict=False)
        except ValueError:
            raise Failed(
                f"setting secstorage.allowed.internal.sites holds {text!r}, which is no network: write 192.0.2.0/24"
            ) from None
        if address.version == network.version and address in network:
            return ""
    kinds = (
        (address.is_loopback, "loopback"),
        (address.is_link_local, "link-local"),
        (address.is_multicast, "multicast"),
        (address.is_unspecified, "unspecified"),
        (address.version == 4 and address in CARRIER_NAT, "private"),
        (address.is_private, "private"),
        (address.is_reserved, "reserved"),
    )
    return next((name for is_it, name in kinds if is_it), "")


def resolve(host: str, port: int, allowed: Sequence[str]) -> list[str]:
    """The addresses to dial, in order.

    Raises Unavailable, InvalidValue when one of them is not to be dialled.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unavailable(f"the host {host} of the URL cannot be resolved: {error}") from None
    texts = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
    for text in texts:
        kind = refuse(ipaddress.ip_address(text), allowed)
        if kind:
            raise InvalidValue(
                f"the host {host} of the URL is {text}, a {kind} address: nothing is fetched from there. An "
                "administrator can allow its network with the setting secstorage.allowed.internal.sites"
            )
    return texts


@dataclass(frozen=True)
class _Begun:
    """A download that was cut off: so many bytes are there, of what the server called `validator`."""

    size: int = 0
    validator: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Range": f"bytes={self.size}-", "If-Range": self.validator} if self.size else {}


def fetch(
    url: str,
    file: Path,
    limits: Limits,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    resume: bool = False,
) -> Fetched:
    """Fetch a URL into a file. `progress(bytes so far, bytes in all or 0)`; whatever it raises ends the download.

    resume: go on with a file that was cut off, where the server has the same content still; else it begins anew.
    Raises InvalidValue for a URL that must not be fetched, Failed, and Unavailable for what may pass.
    """
    end = time.monotonic() + limits.seconds
    for begun in (_begun(url, file) if resume else _Begun(), _Begun()):
        with _answer(url, limits, begun.headers) as (answer, last):
            if answer.status == 416 and answer.headers.get("Content-Range") == f"bytes */{begun.size}":
                return Fetched(begun.size, last)  # all of it was there
            if answer.status == 416:
                continue
            have = _goes_on(answer, begun)
            if resume and not have:
                _remember(url, file, answer)
            size = _store(answer, file, limits, end, progress, have)
            return Fetched(size, last, answer.headers.get("Last-Modified") or "")
    raise Failed(f"{shown(url)} answered 416")


def peek(url: str, limits: Limits, length: int = BEGINNING) -> Beginning:
    """The first bytes of what a URL leads to. Raises as `fetch` does."""
    end = time.monotonic() + SILENCE
    with _answer(url, limits, {"Range": f"bytes=0-{length - 1}"}) as (answer, _):
        if answer.status == 416:
            raise Failed(f"{shown(url)} is empty")
        part = (answer.headers.get("Content-Range") or "").startswith("bytes 0-")
        if answer.status == 206 and not part:
            raise Failed("the server answered with a part that nobody asked for")
        told = (answer.headers.get("Content-Range") or "").rpartition("/")[2] if answer.status == 206 else ""
        told = told or answer.headers.get("Content-Length") or ""
        content = b""
        while len(content) < length and (piece := answer.read1(length - len(content))):
            content += piece
            if time.monotonic() > end:
                raise Unavailable(f"{shown(url)}: its first {length} bytes did not come within {SILENCE:g} s")
        size = int(told) if told.isdecimal() else 0
        if len(content) < min(length, size):
            raise Unavailable(f"the connection was cut after {len(content)} of {size} bytes")
        return Beginning(content, size)


@contextmanager
def _answer(url: str, limits: Limits, headers: dict[str, str]) -> Iterator[tuple[http.client.HTTPResponse, str]]:
    """What a URL answers and where that was, after redirects. 416 only where a part was asked for."""
    first = url
    for _ in range(REDIRECTS + 1):
        connection, target = _connect(url, limits)
        try:
            answer = _ask(connection, target, url, headers)
            if answer.status in (301, 302, 303, 307, 308):
                to = urljoin(url, answer.headers.get("Location") or "")
                if not limits.redirects:
                    raise Failed(
                        f"{shown(url)} leads to {shown(to)}, and nothing is followed here: register that URL, or set "
                        "store.download.follow.redirects"
                    )
                url = to
                continue
            if answer.status in PASSING:
                raise Unavailable(f"{shown(url)} answered {answer.status} {answer.reason}")
            if answer.status not in (200, 206) and not (answer.status == 416 and headers):
                raise Failed(f"{shown(url)} answered {answer.status} {answer.reason}")
            yield answer, url
            return
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"{shown(url)}: {error or type(error).__name__}") from None
        finally:
            connection.close()
    raise Failed(f"{shown(first)}: more than {REDIRECTS} redirects")


def _note_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.from")


def _begun(url: str, file: Path) -> _Begun:
    """What is there of an earlier download of this URL, where it can be told that the content is the same."""
    try:
        note = json.loads(_note_of(file).read_text())
        return _Begun(file.stat().st_size, note["validator"]) if note["url"] == url else _Begun()
    except (OSError, ValueError, KeyError, TypeError):
        return _Begun()


def _remember(url: str, file: Path, answer: http.client.HTTPResponse) -> None:
    """Note what the server calls this content; a weak validator does not tell whether bytes are the same."""
    tag = answer.headers.get("ETag") or ""
    validator = tag if tag.startswith('"') else answer.headers.get("Last-Modified") or ""
    _note_of(file).unlink(missing_ok=True)
    if validator:
        _note_of(file).write_text(json.dumps({"url": url, "validator": validator}))


def _goes_on(answer: http.client.HTTPResponse, begun: _Begun) -> int:
    """The byte from which the answer goes on; 0 for the whole."""
    if answer.status == 200:
        return 0
    if not begun.size or not (answer.headers.get("Content-Range") or "").startswith(f"bytes {begun.size}-"):
        raise Failed("the server answered with a part that nobody asked for")
    return begun.size


def _connect(url: str, limits: Limits) -> tuple[http.client.HTTPConnection, str]:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise InvalidValue(f"{shown(url)} is no URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidValue(f"{shown(url)} is no http or https URL: nothing else is fetched")
    if parts.username or parts.password:
        raise InvalidValue("a URL with a user name or password in it is not fetched: others could read it")
    addresses = resolve(parts.hostname, port, limits.allowed)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme == "https":
        return _Secure(parts.hostname, port, addresses, limits), target
    return _Plain(parts.hostname, port, addresses, limits), target


class _Plain(http.client.HTTPConnection):
    """Dials the addresses that were looked at, whatever the name says by now."""

    def __init__(self, host: str, port: int, addresses: list[str], limits: Limits) -> None:
        super().__init__(host, port, timeout=limits.silence)
        self.addresses, self.limits = addresses, limits

    def connect(self) -> None:
        said = []
        for address in self.addresses:
            try:
                self.sock = socket.create_connection((address, self.port), self.limits.dial)
            except TimeoutError:
                seconds = f"{self.limits.dial:g} s"
                said.append(f"{address} port {self.port} does not answer within {seconds}: see firewalls between")
            except OSError as error:
                said.append(f"{address} port {self.port}: {error.strerror or error}")
            else:
                self.sock.settimeout(self.limits.silence)
                return
        raise OSError("; ".join(said))


class _Secure(_Plain):
    default_port = 443

    def __init__(self, host: str, port: int, addresses: list[str], limits: Limits) -> None:
        super().__init__(host, port, addresses, limits)
        self.trust = ssl.create_default_context()
        for authority in limits.authorities:
            self.trust.load_verify_locations(cadata=authority)

    def connect(self) -> None:
        super().connect()
        self.sock = self.trust.wrap_socket(self.sock, server_hostname=self.host)


def _ask(
    connection: http.client.HTTPConnection, target: str, url: str, more: dict[str, str]
) -> http.client.HTTPResponse:
    try:
        headers = {"User-Agent": "cloudwright", "Accept-Encoding": "identity", **more}
        connection.request("GET", target, headers=headers)
        return connection.getresponse()
    except ssl.SSLCertVerificationError as error:
        raise Unavailable(f"{shown(url)}: its certificate is not trusted: {error.verify_message}") from None
    except UnicodeEncodeError:
        raise InvalidValue(f"{shown(url)} holds characters that must be percent-encoded") from None


def _store(
    answer: http.client.HTTPResponse,
    file: Path,
    limits: Limits,
    end: float,
    progress: Callable[[int, int], None],
    have: int,
) -> int:
    """Bytes of the file, of which `have` were there already."""
    told = answer.headers.get("Content-Length") or ""
    total = have + int(told) if told.isdecimal() else 0
    if total > limits.size:
        raise Failed(f"it has {total} bytes: at most {limits.size} are fetched")
    done = have
    with open(file, "ab" if have else "wb") as sink:
        while piece := answer.read1(CHUNK):  # what there is: one that sends byte by byte must not hide the end
            done += len(piece)
            if done > limits.size:
                raise Failed(f"it has more than {limits.size} bytes: no more are fetched")
            if time.monotonic() > end:
                raise Failed(f"it did not end within {limits.seconds:g} s; {done} bytes came")
            sink.write(piece)
            progress(done, total)
    if total and done != total:
        raise Unavailable(f"the connection was cut after {done} of {total} bytes")
    return done


def shown(url: str) -> str:
    """A URL without what may be secret in it: what stands before the last @, and the query."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}"[:200]
