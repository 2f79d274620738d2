"""What a server and an agent say to each other on port 8250: JSON text messages over WebSocket and mutual TLS.

The agent dials and says hello; the server answers with the epoch under which it now owns that agent. From then on each
side may ask (`Request`) and is answered under the same id (`Answer`). The id of a command that changes something is the
call id of the job's step: a repeat of an answered id gets the first answer again, also after a restart of either side.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from mgmt_server.protocol import VERSION
from mgmt_server.protocol.codec import BadMessage as BadMessage
from mgmt_server.protocol.codec import build, dump, parse
from mgmt_server.protocol.machine import HostFacts

LIMIT = 1 << 20  # bytes of one message to a server
ORDERS = 64 << 20  # of one to an agent: a router's document has the user data of all guests of its network
PORT = 8250
PING_INTERVAL = 60.0  # seconds; the agent adds jitter
SILENCE = 2.5  # ping intervals after which either side takes the other for dead
HELLO_TIMEOUT = 10.0  # seconds

# WebSocket close codes of ours
GARBAGE = 4400
REFUSED = 4403
LATE = 4408
SUPERSEDED = 4409


@dataclass(frozen=True)
class Hello:
    agent: str  # uuid, the one in the certificate
    boot_id: str
    version: str
    kind: str = "host"  # host, systemvm: the role in the certificate
    facts: HostFacts | None = None
    unfinished: tuple[str, ...] = ()  # ids of commands that are under way
    epoch: int = 0  # highest that this agent obeyed so far
    protocol: int = VERSION
    takes: int = LIMIT  # bytes of the largest message that it accepts


@dataclass(frozen=True)
class Welcome:
    epoch: int
    ping_interval: float = PING_INTERVAL
    protocol: int = VERSION


@dataclass(frozen=True)
class Request:
    id: str
    epoch: int
    type: str
    body: Any = None
    correlation: str = ""
    durable: bool = False  # changes something: the answer is kept in the journal
    timeout: float = 0.0  # seconds after which nobody waits any more; 0: not told


@dataclass(frozen=True)
class Answer:
    id: str
    ok: bool
    value: Any = None
    error: str = ""
    code: str = ""  # failed, unavailable, unknown, epoch, bad


@dataclass(frozen=True)
class Report:
    """What an agent tells unasked: type machines (list of MachineState) or statistics."""

    type: str
    body: Any = None


@dataclass(frozen=True)
class Ping:
    """Either side's; answered by the server with the same number."""

    number: int = 0


@dataclass(frozen=True)
class Enroll:
    token: str
    csr: str  # PEM
    name: str = ""  # empty: the one that the token was made for
    kind: str = "host"


@dataclass(frozen=True)
class Enrolled:
    uuid: str
    name: str
    certificate: str  # PEM
    ca: str  # PEM
    servers: tuple[str, ...] = field(default=())


Message = Hello | Welcome | Request | Answer | Report | Ping | Enroll | Enrolled

_KINDS: dict[str, type[Any]] = {
    "hello": Hello,
    "welcome": Welcome,
    "request": Request,
    "answer": Answer,
    "report": Report,
    "ping": Ping,
    "enroll": Enroll,
    "enrolled": Enrolled,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_FIELDS = {kind: tuple(f.name for f in dataclasses.fields(kind)) for kind in _NAMES}


def pack(message: Message, limit: int = LIMIT) -> str:
    """The message as one WebSocket text message. Raises BadMessage when it is larger than the other side accepts."""
    kind = type(message)
    content = {"message": _NAMES[kind]} | {name: getattr(message, name) for name in _FIELDS[kind]}
    data = dump(content)
    if len(data) > limit:
        raise BadMessage(f"{_NAMES[kind]} of {len(data)} bytes is larger than the limit of {limit}")
    return data.decode()


def unpack(data: str | bytes, limit: int = LIMIT) -> Message:
    """The message in `data`. Raises BadMessage for anything else."""
    if len(data) > limit:
        raise BadMessage(f"message of {len(data)} bytes is larger than the limit of {limit}")
    content = parse(data)
    name = content.get("message") if isinstance(content, dict) else None
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise BadMessage(f"unknown message {str(name)[:50]!r}")
    message: Message = build(kind, content, str(name))
    return message
