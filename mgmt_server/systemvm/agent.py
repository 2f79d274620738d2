"""The agent of a system VM: answers its host on the virtio-serial port `cloudwright.agent.0`.

A request is a line of JSON, `{"id": "...", "type": "...", ...}`, and so is its answer: `{"id": "...", "ok": true,
"value": ...}` or `{"id": "...", "ok": false, "error": "text"}`. Types: ping, facts, router.configure (with `document`).

It imports little before it answers: under emulation each module costs.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

from mgmt_server.systemvm import boot

PORT_NAME = "cloudwright.agent.0"
PORTS = "/sys/class/virtio-ports"
STATE = "/var/lib/cloudwright"
LINE_LIMIT = 64 << 20  # bytes: a document of thousands of guests with their user data is smaller
CHANGING = ("router.configure",)  # what the journal keeps; the rest may be done twice


class Agent:
    """Dispatches requests. Heavy modules are imported in the background, and by the first request that needs them."""

    def __init__(self, arguments: dict[str, str], control: str, state: str = STATE) -> None:
        self.arguments = arguments
        self.control = control
        self.state = state
        self.lock = threading.Lock()
        self._router = None
        self._journal = None

    @property
    def router(self):  # noqa: ANN201 - naming the type would import it
        with self.lock:
            if self._router is None:
                from mgmt_server.systemvm.router import Router

                self._router = Router(self.control, state=self.state)
                try:
                    self._router.restore()
                except Exception as error:  # a new document may mend what the old one cannot
                    log(f"the last document could not be restored: {type(error).__name__}: {error}")
            return self._router

    @property
    def journal(self):  # noqa: ANN201
        if self._journal is None:
            from mgmt_server.systemvm.journal import Journal

            self._journal = Journal(os.path.join(self.state, "journal.json"))
        return self._journal

    def answer_line(self, line: bytes) -> dict:
        """Answer to one line; whoever asks always gets one."""
        request_id = None
        try:
            request = json.loads(line)
            if not isinstance(request, dict) or not isinstance(request.get("id"), str):
                raise ValueError('a request is an object with a text "id"')
            request_id = request["id"]
            return self.answer(request_id, request)
        except Exception as error:
            kind = type(error).__name__
            log(f"request {request_id}: {kind}: {error}")
            plain = kind in ("Refused", "ValueError", "JSONDecodeError")
            return {"id": request_id, "ok": False, "error": str(error) if plain else f"{kind}: {error}"}

    def answer(self, request_id: str, request: dict) -> dict:
        kind = request.get("type")
        if kind == "ping":
            return {"id": request_id, "ok": True, "value": {"uptime": uptime(), "name": self.arguments.get("name", "")}}
        if kind == "facts":
            value = {"boot_arguments": sorted(self.arguments), "uptime": uptime(), **self.router.facts()}
            return {"id": request_id, "ok": True, "value": value}
        if kind not in CHANGING:
            raise ValueError(f"unknown type {kind!r}: this agent knows ping, facts, {', '.join(CHANGING)}")
        known = self.journal.get(request_id)
        if known is not None:
            return known
        from mgmt_server.systemvm.router import Refused

        try:
            value = self.router.configure(request.get("document"))
            answer = {"id": request_id, "ok": True, "value": value}
        except Refused as error:
            log(f"request {request_id} refused: {error}")
            answer = {"id": request_id, "ok": False, "error": str(error)}
        self.journal.add(request_id, answer)
        log(f"request {request_id}: {kind} {answer.get('value', 'refused')}")
        return answer

    def prepare(self) -> None:
        """What need not be waited for: the router as it was, host keys, SSH."""
        try:
            self.router.open_ssh()
        except Exception as error:
            log(f"preparing: {type(error).__name__}: {error}")


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def uptime() -> float:
    return float(boot.read_bytes("/proc/uptime").split()[0])


def find_port(ports: str = PORTS) -> str:
    """Path of the port's device, without waiting for udev to make its symbolic link; empty where there is none."""
    for name in os.listdir(ports) if os.path.isdir(ports) else ():
        if boot.read_bytes(f"{ports}/{name}/name").strip() == PORT_NAME.encode():
            return f"/dev/{name}"
    return ""


def lines(fd: int):  # noqa: ANN201
    """Lines that come in on the port; waits where nobody is connected on the host's side."""
    parts: list[bytes] = []
    held = 0
    while True:
        chunk = os.read(fd, 1 << 16)
        if not chunk:
            time.sleep(0.05)
            continue
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield b"".join([*parts, line])
            parts, held = [], 0
        parts.append(rest)
        held += len(rest)
        if held > LINE_LIMIT:
            log(f"dropped a line of more than {LINE_LIMIT} bytes")
            parts, held = [], 0


def serve(fd: int, agent: Agent) -> None:
    """Answer for ever."""
    for line in lines(fd):
        if not line.strip():
            continue
        answer = memoryview(json.dumps(agent.answer_line(line)).encode() + b"\n")
        while answer:
            answer = answer[os.write(fd, answer) :]


def main() -> int:
    arguments = boot.boot_arguments()
    os.makedirs(STATE, mode=0o711, exist_ok=True)
    control = address = ""
    try:
        control, address = boot.bring_up_control(arguments)
    except ValueError as error:  # the port may do without
        log(f"no control link: {error}")
    agent = Agent(arguments, control)
    preparing = threading.Thread(target=agent.prepare, daemon=True)
    port = find_port()
    if not port:
        preparing.start()
        boot.say_on_console(f"AGENT waits for a virtio-serial port named {PORT_NAME}")
    while not port:
        time.sleep(0.5)
        port = find_port()
    fd = os.open(port, os.O_RDWR)
    boot.say_on_console(f"AGENT up name={arguments.get('name', '-')} control={address or '-'}")
    if preparing.ident is None:  # not started yet: the answer to a first ping comes before it
        preparing.start()
    serve(fd, agent)
    return 0
