"""Servers for the tests of the collection: the real one with simulated hosts, and the one in memory behind a port."""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLAYBOOK = ROOT / "playbooks" / "zone.yml"
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.cloudwright.cloud.tests.unit.fake_cloud import new_cloud  # noqa: E402
from ansible_collections.cloudwright.cloud.tests.unit.fake_wire import KEY, SECRET  # noqa: E402

START_SECONDS = 60


@dataclass
class Server:
    """Where it is, and the file with the credentials."""

    url: str
    credentials: Path

    def play(self, playbook: str | Path, *options: str, timeout: float = 600) -> Played:
        """Run a playbook with this server's credentials; `playbook` is a file, or the text of one."""
        if "\n" in str(playbook):
            file = self.credentials.parent / "play.yml"
            file.write_text(str(playbook))
            playbook = file
        command = [f"{sys.prefix}/bin/ansible-playbook", str(playbook), *options]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("CLOUDWRIGHT_API_")},
            "CLOUDWRIGHT_API_CREDENTIALS_FILE": str(self.credentials),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_NOCOLOR": "1",
        }
        started = time.monotonic()
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=timeout, cwd=ROOT, check=False
        )
        return Played(done.returncode, done.stdout + done.stderr, time.monotonic() - started)


@dataclass
class Played:
    """What a playbook said, and the seconds that it took."""

    code: int
    text: str
    seconds: float

    def recap(self, word: str) -> int:
        """A number of the recap, such as changed, over all hosts."""
        return sum(int(n) for n in re.findall(rf"\b{word}=(\d+)", self.text))


@contextmanager
def simulator(folder: Path) -> Iterator[Server]:
    """`cloudwright serve --simulator` on a free port; it ends with the block. CLOUDWRIGHT_TEST_CREDENTIALS names the
    credentials of a server that runs already and is used instead."""
    given = os.environ.get("CLOUDWRIGHT_TEST_CREDENTIALS")
    if given:
        yield Server(json.loads(Path(given).read_text())["api_url"], Path(given))
        return
    data = folder / "cloud"
    command = [f"{sys.prefix}/bin/cloudwright", "serve", "--simulator", "--data", str(data), "--listen", "127.0.0.1:0"]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        url = _ready(process, folder / "server.log")
        credentials = folder / "credentials.json"
        found = json.loads((data / "credentials.json").read_text())
        credentials.write_text(json.dumps(found | {"api_url": f"{url}/client/api"}))  # the port is known only now
        yield Server(url, credentials)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(process: subprocess.Popen[str], log: Path) -> str:
    """The address in the line `ready http://...`. Raises RuntimeError with the end of the log."""
    assert process.stdout is not None
    waiting = selectors.DefaultSelector()
    waiting.register(process.stdout, selectors.EVENT_READ)
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and waiting.select(end - time.monotonic()):
        line = process.stdout.readline()
        if line.startswith("ready "):
            return line.split()[1].rstrip("/").removesuffix("/client/api")
        if not line:
            break
    raise RuntimeError(f"the server did not get ready:\n{log.read_text()[-3000:]}")


@contextmanager
def in_memory(folder: Path, certificate: Path | None = None) -> Iterator[tuple[Server, object]]:
    """The unit tests' server behind a port; yields it and what it holds. `certificate`: PEM with its key, for TLS."""
    cloud, lock = new_cloud(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            query = self.rfile.read(length).decode() if length else self.path.partition("?")[2]
            with lock:
                status, body = cloud.answer(self.command, query)
            head = f"HTTP/1.0 {status} x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            self.wfile.write(head + body)  # in one packet

        do_POST = do_GET

        def log_message(self, *_args: object) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scheme = "http"
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket, scheme = context.wrap_socket(server.socket, server_side=True), "https"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"{scheme}://127.0.0.1:{server.server_port}"
    credentials = folder / "credentials.json"
    credentials.write_text(json.dumps({"api_url": url, "api_key": KEY, "api_secret": SECRET}))
    try:
        yield Server(url, credentials), cloud
    finally:
        server.shutdown()
        server.server_close()
