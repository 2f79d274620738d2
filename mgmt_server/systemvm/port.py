"""The host's end of a system VM's port: ask its agent something and get the value of the answer."""

from __future__ import annotations

import json
import socket
import time
import uuid
from typing import Any


class PortError(Exception):
    """No answer came, or the agent refused; the text says which and why."""


class PortRefused(PortError):
    """The agent answered with an error."""


def ask(socket_path: str, type: str, body: dict[str, Any] | None = None, timeout: float = 30.0, *, id: str = "") -> Any:
    """Value of the agent's answer.

    socket_path: the UNIX socket of the channel. body: further fields of the request. timeout: seconds for all of it.
    id: give the same one to repeat a request whose answer was lost. Raises PortRefused and PortError.
    """
    request_id = id or str(uuid.uuid4())
    until = time.monotonic() + timeout
    # the empty line ends what an earlier asker may have left half-sent
    line = b"\n" + json.dumps({**(body or {}), "id": request_id, "type": type}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(timeout)
            link.connect(str(socket_path))
            link.sendall(line)
            answer = _answer(link, request_id, until)
    except TimeoutError:
        raise PortError(
            f"no answer to {type} on {socket_path} within {timeout:g} s: the machine is starting, stuck, or another "
            "asker holds the port"
        ) from None
    except OSError as error:
        raise PortError(f"{socket_path}: {error}: is the machine running?") from error
    if not answer.get("ok"):
        raise PortRefused(str(answer.get("error") or "refused without a reason"))
    return answer.get("value")


def _answer(link: socket.socket, request_id: str, until: float) -> dict[str, Any]:
    """The answer with this id; parts of lines and answers to earlier askers are passed over."""
    parts: list[bytes] = []
    while True:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        link.settimeout(left)
        chunk = link.recv(1 << 16)
        if not chunk:
            raise PortError("the port was closed before the answer came: has the machine stopped?")
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            try:
                answer = json.loads(b"".join([*parts, line]))
            except ValueError:
                answer = None
            parts = []
            if isinstance(answer, dict) and answer.get("id") == request_id:
                return answer
        parts.append(rest)
