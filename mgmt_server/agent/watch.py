"""What a host tells unasked: the power states of its machines."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from mgmt_server.agent.commands import Host
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.protocol.codec import plain
from mgmt_server.protocol.machine import MachineState

log = logging.getLogger(__name__)

SWEEP = 10.0  # seconds between looks at all machines


class Watch:
    """Tells the server of power states: at once when libvirt says so, and all that differ at each sweep."""

    def __init__(self, host: Host, report: Callable[[str, Any], None]) -> None:
        self.host, self.report = host, report
        self._known: dict[str, tuple[str, int]] = {}  # name -> (state, port) as told
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        host.virt.changed = lambda name: self._wake.set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def forget_told(self) -> None:
        """A server that we just met is told everything."""
        self._known.clear()
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(SWEEP)
            self._wake.clear()
            try:
                self.sweep()
            except (Failed, Unavailable) as error:
                log.warning("machines cannot be watched: %s", error)
                time.sleep(1)

    def sweep(self) -> None:
        found = {m.name: m for m in self.host.virt.machines()}
        changed = [m for m in found.values() if self._known.get(m.name) != (m.state, m.vnc_port)]
        gone = [MachineState(name, "", "Stopped") for name in self._known if name not in found]
        self._known = {m.name: (m.state, m.vnc_port) for m in found.values()}
        if changed or gone:
            self.report("machines", plain([*changed, *gone]))
