"""A host's power, through its management controller: what it says, and switching it.

Actions are the protocol's: ON, OFF, CYCLE, RESET, SOFT, STATUS. Each may be repeated. Raises `Unavailable` when the
controller does not answer, `Failed` with its own words when it does and refuses. Passwords never reach a command line,
a log or an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

ACTIONS = ("ON", "OFF", "CYCLE", "RESET", "SOFT", "STATUS")


@dataclass(frozen=True)
class Controller:
    """Where a host's controller is, and how to get in."""

    host: str  # uuid of the host
    name: str  # of the host
    address: str
    port: int
    username: str
    password: str = field(repr=False)


class Power(Protocol):
    def act(self, controller: Controller, action: str, timeout: float) -> str:
        """Do it, and say the power state after STATUS: On, Off or Unknown; empty after all others."""

    def change_password(self, controller: Controller, password: str, timeout: float) -> None:
        """Give the user that `controller` names another password."""
