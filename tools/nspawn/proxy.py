"""A plain HTTP proxy that keeps packages on disk.

It listens inside a network namespace and dials out from the machine: that is what lets apt and pip work in a
network that has no way out. A socket stays in the namespace it was made in, so one process can do both.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import http.client
import http.server
import os
import socket
import socketserver
import tempfile
import threading
from pathlib import Path
from urllib.parse import urlsplit

CACHE = Path(os.environ.get("CLOUDWRIGHT_CACHE", "/var/cache/cloudwright")) / "proxy"
PORT = 3142
HOP_HEADERS = {"connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "transfer-encoding"}


def cacheable(path: str) -> bool:
    """Whether what lies at a path never changes: a package carries its version, an index by hash its content."""
    return path.endswith((".deb", ".udeb", ".whl")) or "/by-hash/" in path


class Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 300

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged: addresses may carry credentials."""

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        self.close_connection = True
        with socket.create_connection((host.strip("[]"), int(port)), timeout=30) as server:
            server.settimeout(None)
            self.connection.settimeout(None)
            self.send_response_only(200, "OK")
            self.end_headers()
            back = threading.Thread(target=pump, args=(server, self.connection), daemon=True)
            back.start()
            pump(self.connection, server)
            back.join()

    def do_GET(self) -> None:
        kept = CACHE / kept_name(self.path)
        if "Range" not in self.headers and cacheable(urlsplit(self.path).path):
            if kept.exists():
                self.answer_kept(kept)
            else:
                self.fetch(kept)
        else:
            self.fetch(None)

    do_HEAD = do_GET

    def answer_kept(self, kept: Path) -> None:
        self.send_response_only(200, "OK")
        self.send_header("Content-Length", str(kept.stat().st_size))
        self.end_headers()
        if self.command == "GET":
            with open(kept, "rb") as source:
                self.connection.sendfile(source)

    def fetch(self, keep_as: Path | None) -> None:
        url = urlsplit(self.path)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_HEADERS}
        upstream = http.client.HTTPConnection(url.hostname or "", url.port or 80, timeout=120)
        with contextlib.closing(upstream):
            try:
                upstream.request(self.command, url._replace(scheme="", netloc="").geturl() or "/", headers=headers)
                response = upstream.getresponse()
            except OSError as error:
                self.send_error(502, f"{url.hostname}: {error}")
                return
            self.send_response_only(response.status, response.reason)
            for name, value in response.getheaders():
                if name.lower() not in HOP_HEADERS:
                    self.send_header(name, value)
            if response.length is None and self.command == "GET":
                self.close_connection = True  # no length: the end of the answer is the end of the connection
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command == "GET":
                self.copy(response, keep_as if response.status == 200 and response.length else None)

    def copy(self, response: http.client.HTTPResponse, keep_as: Path | None) -> None:
        expected, size = response.length, 0
        part = None
        if keep_as:
            CACHE.mkdir(parents=True, exist_ok=True)
            part = tempfile.NamedTemporaryFile(dir=CACHE, prefix=".part", delete=False)  # noqa: SIM115
        try:
            while chunk := response.read1(1 << 18):
                self.wfile.write(chunk)
                size += len(chunk)
                if part:
                    part.write(chunk)
        finally:
            if expected is not None and size != expected:
                self.close_connection = True  # or the client waits for the rest
            if keep_as and part:
                part.close()
                if size == expected:
                    Path(part.name).rename(keep_as)  # whole or not at all
                Path(part.name).unlink(missing_ok=True)


def kept_name(url: str) -> str:
    return f"{hashlib.sha256(url.encode()).hexdigest()[:20]}-{Path(urlsplit(url).path).name[-100:]}"


def pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(1 << 18):
            sink.sendall(chunk)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


def listen_in(netns: str, address: tuple[str, int]) -> socket.socket:
    """A listening socket inside a named network namespace, made by a thread that comes back out."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as home, open(f"/run/netns/{netns}") as inside:
        if libc.setns(inside.fileno(), 0):
            raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {netns}")
        try:
            return socket.create_server(address, backlog=64)
        finally:
            libc.setns(home.fileno(), 0)


def serve(netns: str, address: str) -> None:
    server = Server((address, PORT), Proxy, bind_and_activate=False)
    server.socket.close()
    server.socket = listen_in(netns, (address, PORT))
    server.serve_forever()


@contextlib.contextmanager
def on_loopback():
    """The same proxy for the machine itself while an image is built; gives its URL."""
    server = Server(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
