"""Signs of life in shared pools: each host counts up in a file of its own, and watches whether the others still do.

No clock but this host's own is believed: a host is as old as the last moment at which its file was seen to change. Who
cannot read a pool sees nobody die in it: ages count up to the last successful look, not to now.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

from mgmt_server.agent.config import Config
from mgmt_server.agent.places import pool_place, safe_name
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.protocol.machine import Pool

log = logging.getLogger(__name__)

EVERY = 5.0  # seconds
PREFIX = "heartbeat-"
SHARED = ("NetworkFilesystem", "SharedMountPoint")


class Heartbeat:
    """Of one pool, in a thread of its own: a pool whose server is away keeps whoever asks it."""

    def __init__(
        self, config: Config, pool: Pool, every: float = EVERY, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.config, self.pool, self._every, self._clock = config, pool, every, clock
        self._name = safe_name(PREFIX + config.uuid)
        self._life = os.urandom(8).hex()  # so that an agent that starts anew counts on from nowhere
        self._count = 0
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[bytes, float]] = {}  # agent -> (content, when it was new)
        self._looked = 0.0
        self._wrote: float | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name=f"heartbeat {self.pool.uuid}", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.beat()
            except (Failed, Unavailable, OSError) as error:
                log.warning("no sign of life in pool %s: %s", self.pool.uuid, error)
            self._stop.wait(self._every)

    def beat(self) -> None:
        """Count up, and look at the others."""
        place = pool_place(self.config, self.pool)
        self._count += 1
        place.write(self._name, f"{self._life} {self._count}\n".encode())
        with self._lock:
            self._wrote = self._clock()
        found = {n.removeprefix(PREFIX): place.read(n) for n in place.names(PREFIX) if n != self._name}
        with self._lock:
            self._looked = self._clock()
            for who, content in found.items():
                known = self._seen.get(who)
                if known is None or known[0] != content:
                    self._seen[who] = (content, self._looked)
            for who in self._seen.keys() - found.keys():
                del self._seen[who]

    def ages(self) -> dict[str, float]:
        """Agent -> seconds; of this host itself, since it last could write."""
        with self._lock:
            found = {who: max(0.0, self._looked - at) for who, (_, at) in self._seen.items()}
            if self._wrote is not None:
                found[self.config.uuid] = max(0.0, self._clock() - self._wrote)
            return found


class Heartbeats:
    """Of all shared pools of this host."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._lock = threading.Lock()
        self._all: dict[str, Heartbeat] = {}

    def follow(self, pools: list[Pool]) -> None:
        """Have a heartbeat in each of these that is shared, and in no other."""
        wanted = {p.uuid: p for p in pools if p.type in SHARED}
        with self._lock:
            for uuid in [u for u, each in self._all.items() if wanted.get(u) != each.pool]:
                self._all.pop(uuid).stop()
            for uuid, pool in wanted.items():
                if uuid not in self._all:
                    self._all[uuid] = Heartbeat(self.config, pool)
                    self._all[uuid].start()

    def leave(self, pool: Pool) -> None:
        """This host uses the pool no more, and is not to be missed in it."""
        with self._lock:
            found = self._all.pop(pool.uuid, None)
        if found is not None:
            found.stop()
            try:
                pool_place(self.config, pool).unlink(PREFIX + self.config.uuid)
            except (Failed, Unavailable, OSError) as error:
                log.warning("the sign of life in pool %s stays: %s", pool.uuid, error)

    def ages(self, pool: Pool) -> dict[str, float]:
        with self._lock:
            found = self._all.get(pool.uuid)
        if found is None:
            raise Failed(
                f"this host leaves no sign of life in the pool {pool.uuid}: it is not shared, or not added here"
            )
        return found.ages()

    def stop(self) -> None:
        with self._lock:
            for each in self._all.values():
                each.stop()
            self._all.clear()
