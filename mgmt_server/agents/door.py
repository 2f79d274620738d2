"""How connections get in: TLS handshakes bounded in number, and not all of them for one address.

An accepted connection is not read before it may shake hands, so a storm of agents that come back, or of strangers,
costs no more CPU than the handshakes that are allowed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from websockets.asyncio.server import ServerConnection

BACKLOG = 1024
PAUSE = 0.2  # seconds, when no more connections can be taken


@dataclass
class Door:
    context: ssl.SSLContext
    make: Callable[[], ServerConnection]
    handshakes: int = 32  # at once; half as many for one address
    waiting_most: int = 8192  # connections that have not shaken hands yet; others stay in the kernel's queue
    timeout: float = 10.0  # seconds for one handshake
    waiting: int = 0
    refused: int = 0
    _slots: asyncio.Semaphore = field(init=False)
    _addresses: dict[str, tuple[asyncio.Semaphore, int]] = field(default_factory=dict)
    _entering: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.handshakes)

    async def accept(self, listener: socket.socket) -> None:
        """Let connections in until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            if self.waiting >= self.waiting_most:
                await asyncio.sleep(PAUSE)
                continue
            try:
                accepted, address = await loop.sock_accept(listener)
            except OSError:  # no more descriptors, or it went before we came
                await asyncio.sleep(PAUSE)
                continue
            self.waiting += 1
            task = loop.create_task(self._enter(accepted, str(address[0])))
            self._entering.add(task)
            task.add_done_callback(self._entering.discard)

    async def _enter(self, accepted: socket.socket, address: str) -> None:
        try:
            async with self._turn(address):
                await asyncio.get_running_loop().connect_accepted_socket(
                    self.make,
                    accepted,
                    ssl=self.context,
                    ssl_handshake_timeout=self.timeout,
                    ssl_shutdown_timeout=1.0,
                )
        except (OSError, asyncio.CancelledError):  # ssl.SSLError and TimeoutError are OSErrors
            self.refused += 1
            accepted.close()
        finally:
            self.waiting -= 1

    @contextlib.asynccontextmanager
    async def _turn(self, address: str) -> AsyncIterator[None]:
        mine, users = self._addresses.get(address) or (asyncio.Semaphore(max(1, self.handshakes // 2)), 0)
        self._addresses[address] = (mine, users + 1)
        try:
            async with mine, self._slots:
                yield
        finally:
            mine, users = self._addresses[address]
            if users == 1:
                del self._addresses[address]
            else:
                self._addresses[address] = (mine, users - 1)

    def close(self) -> None:
        for task in self._entering:
            task.cancel()


def listen(host: str, port: int) -> socket.socket:
    """Raises OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener
