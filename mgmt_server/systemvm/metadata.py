"""User data and metadata on port 80, the password on 8080, each guest's own by the address it asks from.

HTTP is spoken by hand: the standard library's server costs a second to import under emulation.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
from collections.abc import Callable

from mgmt_server.protocol.router import Guest

HEAD_LIMIT = 8192  # bytes of a request
PATIENCE = 5.0  # seconds that a guest may take over its request
AT_ONCE = 64  # connections served at a time, a guest at most a quarter of them
TREES = ("latest", "1.0", "2009-04-04")

Reply = tuple[int, bytes]


class Guests:
    """What each guest may be told, and which passwords were taken."""

    def __init__(self, taken: frozenset[str] = frozenset(), on_taken: Callable[[], None] = lambda: None):
        self.lock = threading.Lock()
        self.by_address: dict[str, Guest] = {}
        self.taken = taken  # marks of (address, password)
        self.on_taken = on_taken

    def set(self, guests: tuple[Guest, ...]) -> None:
        """Replace all; what was taken is forgotten with its guest, or when another password waits."""
        with self.lock:
            self.by_address = {guest.address: guest for guest in guests}
            marks = {guest.address: mark(guest) if guest.password else "" for guest in guests}
            self.taken = frozenset(m for m in self.taken if marks.get(m.split()[0]) in ("", m))

    def taken_addresses(self) -> list[str]:
        with self.lock:
            return sorted(m.split()[0] for m in self.taken)

    def metadata(self, client: str, target: str, headers: dict[str, str]) -> Reply:
        """Answer of port 80."""
        guest = self.by_address.get(client)
        if guest is None:
            return 404, b""
        path = target.partition("?")[0].strip("/")
        first, _, rest = path.partition("/")
        if not path:
            return 200, "\n".join(TREES).encode()
        if first in TREES:
            path = rest
        if not path:
            return 200, b"meta-data\nuser-data"
        if path == "user-data":
            return (200, base64.b64decode(guest.user_data)) if guest.user_data else (404, b"")
        if path == "meta-data":
            return 200, "\n".join(sorted({key.partition("/")[0] for key in guest.metadata})).encode()
        value = guest.metadata.get(path.removeprefix("meta-data/"))
        return (404, b"") if value is None or not path.startswith("meta-data/") else (200, value.encode())

    def password(self, client: str, target: str, headers: dict[str, str]) -> Reply:
        """Answer of port 8080: the password until the guest says it has it, then `saved_password`."""
        request = headers.get("domu_request", "")
        if request not in ("send_my_password", "saved_password"):
            return 200, b"bad_request"
        with self.lock:
            guest = self.by_address.get(client)
            waiting = guest is not None and guest.password and mark(guest) not in self.taken
            if waiting and request == "send_my_password":
                return 200, guest.password.encode()
            if waiting:
                self.taken |= {mark(guest)}
        if waiting:
            self.on_taken()
        return 200, b"saved_password"


def mark(guest: Guest) -> str:
    """Tells one password of one address from others without being it."""
    salted = hashlib.pbkdf2_hmac("sha256", guest.password.encode(), guest.address.encode(), 1000)
    return f"{guest.address} {salted.hex()}"


class Listener:
    """One listening socket, and a thread for each connection to it."""

    def __init__(self, address: str, port: int, answer: Callable[[str, str, dict[str, str]], Reply]) -> None:
        self.answer = answer
        self.busy: dict[str, int] = {}
        self.lock = threading.Lock()
        self.socket = socket.create_server((address, port), backlog=128)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # close alone leaves a thread in accept
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _accept(self) -> None:
        while True:
            try:
                link, (client, *_) = self.socket.accept()
            except OSError:
                return
            with self.lock:
                held = self.busy.get(client, 0)
                full = held >= AT_ONCE // 4 or sum(self.busy.values()) >= AT_ONCE
                if not full:
                    self.busy[client] = held + 1
            if full:
                link.close()
            else:
                threading.Thread(target=self._serve, args=(link, client), daemon=True).start()

    def _serve(self, link: socket.socket, client: str) -> None:
        try:
            with link:
                link.settimeout(PATIENCE)
                link.sendall(respond(read_head(link), client, self.answer))
        except OSError:
            pass  # the guest went away or took too long
        finally:
            with self.lock:
                self.busy[client] -= 1
                if not self.busy[client]:
                    del self.busy[client]


def read_head(link: socket.socket) -> bytes:
    """A request up to its empty line, or what came before the guest stopped or sent too much."""
    head = b""
    while b"\r\n\r\n" not in head and b"\n\n" not in head and len(head) < HEAD_LIMIT:
        chunk = link.recv(4096)
        if not chunk:
            break
        head += chunk
    return head


def respond(head: bytes, client: str, answer: Callable[[str, str, dict[str, str]], Reply]) -> bytes:
    """The whole HTTP answer to a request's head."""
    first, *rest = head.decode("latin-1").splitlines() or [""]
    words = first.split()
    if len(words) < 2 or words[0] not in ("GET", "HEAD"):
        status, body = (400 if len(words) < 2 else 405), b""
    else:
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        status, body = answer(client, words[1], headers)
    reason = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}[status]
    lines = (
        f"HTTP/1.0 {status} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return lines.encode() + (b"" if words[:1] == ["HEAD"] else body)
