"""A Redfish service over HTTPS for tests: one system, one user, as DMTF's schema has them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.directory import certificate

SYSTEM = "/redfish/v1/Systems/437XR1138R2"
RESET = f"{SYSTEM}/Actions/Oem.Reset"  # where it is, only the system tells
ACCOUNTS = "/redfish/v1/AccountService/Accounts"
STATES = {"On": "On", "ForceOn": "On", "ForceOff": "Off", "GracefulShutdown": "Off", "PowerCycle": "On"}


class Service:
    """What the controller knows, and what it was asked to do."""

    def __init__(self, folder: Path) -> None:
        self.users = {"admin": "s3cr3t-of-bmc"}
        self.power = "On"
        self.slow = 0  # looks until a new state is reached
        self.aim = ""
        self.allowed: list[str] | None = ["On", "ForceOff", "GracefulShutdown", "ForceRestart"]
        self.members = [SYSTEM]
        self.asked: list[str] = []  # resets
        self.moved = ""  # where it sends who asks
        self.ca = folder / "certificate.pem"
        self.port = 0

    def system(self) -> dict[str, Any]:
        if self.aim and self.slow > 0:
            self.slow -= 1
        elif self.aim:
            self.power, self.aim = self.aim, ""
        told: dict[str, Any] = {"target": RESET}
        if self.allowed is not None:
            told["ResetType@Redfish.AllowableValues"] = self.allowed
        state = self.power if not self.aim else f"Powering{self.aim}"
        return {"@odata.id": SYSTEM, "PowerState": state, "Actions": {"#ComputerSystem.Reset": told}}

    def reset(self, kind: str) -> int:
        if self.allowed is not None and kind not in self.allowed:
            return 400
        if kind == "ForceOff" and self.power == "Off":
            return 409
        self.asked.append(kind)
        self.aim = STATES.get(kind, self.power)
        return 204

    def etag(self) -> str:
        return '"' + hashlib.sha256(json.dumps(self.users).encode()).hexdigest()[:8] + '"'


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: Service

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _say(self, status: int, body: dict[str, Any] | None = None, **headers: str) -> None:
        text = json.dumps(body).encode() if body is not None else b""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _let_in(self) -> bool:
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        known = [base64.b64encode(f"{n}:{p}".encode()).decode() for n, p in self.service.users.items()]
        if given not in known:
            self._say(401, {"error": {"code": "Base.1.0.NoValidSession"}}, WWW_Authenticate='Basic realm="Redfish"')
        return given in known

    def _body(self) -> dict[str, Any]:
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")

    def do_GET(self) -> None:
        service = self.service
        if service.moved:
            self._say(308, None, Location=service.moved)
        elif not self._let_in():
            pass
        elif self.path == "/redfish/v1/Systems":
            self._say(200, {"Members": [{"@odata.id": m} for m in service.members]})
        elif self.path == SYSTEM:
            self._say(200, service.system())
        elif self.path == ACCOUNTS:
            self._say(200, {"Members": [{"@odata.id": f"{ACCOUNTS}/1"}]})
        elif self.path == f"{ACCOUNTS}/1":
            self._say(200, {"UserName": next(iter(service.users)), "Password": None}, ETag=service.etag())
        else:
            self._say(404)

    def do_POST(self) -> None:
        body = self._body()
        if self._let_in():
            self._say(self.service.reset(body.get("ResetType", "")) if self.path == RESET else 404)

    def do_PATCH(self) -> None:
        body, service = self._body(), self.service
        if not self._let_in():
            return
        if "If-Match" not in self.headers:
            self._say(428)
        elif self.headers["If-Match"] != service.etag():
            self._say(412)
        else:
            service.users = dict.fromkeys(service.users, body["Password"])
            self._say(204)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Service]:
    certificate(folder)
    service = Service(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"service": service}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    service.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
