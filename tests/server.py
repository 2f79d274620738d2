"""A server process, as users start it: `cloudwright serve --simulator`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from tests.mariadb import free_port


class Server:
    module = "mgmt_server.cli"

    def __init__(self, data: Path, *options: str, database: str = "") -> None:
        self.data, self.options = data, [*options, *(["--database", database] if database else [])]
        self.port = free_port()
        self.process: subprocess.Popen[str] | None = None
        self.seconds = 0.0
        self.by_file = False  # start by the configuration file that a first start left: a test may have changed it

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/client/api"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, **environment: str) -> Server:
        """Start and wait for its ready line; `seconds` says how long that took."""
        began = time.monotonic()
        what = ["--simulator", "--data", str(self.data), "--listen", f"127.0.0.1:{self.port}", *self.options]
        if self.by_file:
            what = ["--config", str(self.data / "cloudwright.toml")]
        errors = (self.data.parent / f"{self.data.name}.err").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.module, "serve", *what],
            stdout=subprocess.PIPE, stderr=errors, text=True, env=os.environ | environment,
        )  # fmt: skip
        errors.close()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            self.process.wait(20)
            told = (self.data.parent / f"{self.data.name}.err").read_text(errors="replace")
            raise RuntimeError(f"the server did not start: {line}{told[-3000:]}")
        self.seconds = time.monotonic() - began
        return self

    def kill(self) -> None:
        """As by kill -9."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    @property
    def credentials(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.data / "credentials.json").read_text())
        return found

    def client(self) -> Client:
        return Client(self.url, self.credentials["api_key"], self.credentials["api_secret"])


class Client:
    """Signed calls over HTTP, with one connection."""

    def __init__(self, url: str, key: str, secret: str) -> None:
        self.url, self.key, self.secret = url, key, secret
        self.session = requests.Session()

    def ask(self, command: str, **sent: Any) -> dict[str, Any]:
        """The content of the answer. Raises RuntimeError with the server's text."""
        answered = self.fetch(command, **sent)
        ((_, content),) = answered.json().items()
        if answered.status_code >= 400:
            raise RuntimeError(f"{answered.status_code}: {content.get('errortext')}")
        return content  # type: ignore[no-any-return]

    def fetch(self, command: str, **sent: Any) -> requests.Response:
        """The whole answer, as it came."""
        import base64

        from mgmt_server.web.signature import digest

        pairs = {k: (str(v).lower() if isinstance(v, bool) else str(v)) for k, v in sent.items()}
        pairs |= {"command": command, "response": "json", "apiKey": self.key}
        pairs["signature"] = base64.b64encode(digest(pairs, self.secret)).decode()
        return self.session.post(self.url, data=pairs, timeout=60)

    def job(self, command: str, *, poll: float = 0.02, seconds: float = 120, **sent: Any) -> Any:
        return self.wait(self.ask(command, **sent)["jobid"], poll=poll, seconds=seconds)

    def wait(self, job: str, *, poll: float = 0.02, seconds: float = 120) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            done = self.ask("queryAsyncJobResult", jobid=job)
            if done["jobstatus"] == 1:
                return done.get("jobresult")
            if done["jobstatus"] == 2:
                raise RuntimeError(f"{done['jobresult'].get('errorcode')}: {done['jobresult'].get('errortext')}")
            time.sleep(poll)
        raise RuntimeError(f"job {job} did not end within {seconds} s")


@contextlib.contextmanager
def running(data: Path, *options: str, database: str = "") -> Iterator[Server]:
    server = Server(data, *options, database=database)
    try:
        yield server.start()
    finally:
        server.stop()
