"""A small web page, served once at start, that asks for the encryption key, so that it is on no disk."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

PAGE = b"""<!doctype html><title>Cloudwright is locked</title><h1>Cloudwright is locked</h1>
<p>It starts as soon as it has the encryption key of its database.</p>
<form method=post><input name=key type=password size=50 autofocus> <button>Unlock</button></form>"""


def ask_for_key(host: str, port: int) -> str:
    """Wait until somebody sends a key by the page, and return it."""
    found: list[str] = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say(200, PAGE)

        def do_POST(self) -> None:
            length = min(int(self.headers.get("Content-Length") or 0), 4096)
            key = parse_qs(self.rfile.read(length).decode("utf-8", "replace")).get("key", [""])[0].strip()
            if not key:
                self._say(400, b"no key was sent")
                return
            found.append(key)
            self._say(200, b"<!doctype html><p>Thank you. Cloudwright starts now; this page is gone.")

        def _say(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=UTF-8")
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: what is sent here is secret."""

    with HTTPServer((host, port), Page) as server:
        print(f"locked: send the encryption key by http://{host}:{server.server_port}/", file=sys.stderr, flush=True)
        while not found:
            server.handle_request()
    return found[0]
