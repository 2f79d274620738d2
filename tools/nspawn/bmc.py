"""A host's management controller: IPMI 2.0 over LAN, whose power switch is that of a machine of ours.

As in hardware, a command is taken at once and carried out a moment later; `chassis power status` tells how it is now.
Users are kept in a file, {name: password}, so that a new password outlives the controller. Needs pyghmi.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Protocol

from pyghmi.ipmi import bmc

APPLICATION = 6  # the group of requests in which users are
GET_ACCESS, GET_NAME, SET_PASSWORD = 0x44, 0x46, 0x47
WRONG_PASSWORD, NOT_NOW, OUT_OF_RANGE, NOT_NOW_OFF = 0x80, 0xC0, 0xC9, 0xD5
FIRST = 2  # as in hardware: user 1 is the one without a name
ADMINISTRATOR = 0x34  # may use IPMI, and all of it


class Switch(Protocol):
    def is_on(self) -> bool: ...
    def on(self) -> None: ...
    def off(self) -> None: ...
    def press(self) -> None:
        """The button: end in order."""


class Users:
    """Names and passwords in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> dict[str, str]:
        return json.loads(self.path.read_text())

    def get(self, name: str) -> str | None:
        return self.all().get(name)

    def change(self, name: str, password: str) -> None:
        new = self.path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(json.dumps(self.all() | {name: password}))
        os.replace(new, self.path)


class Controller(bmc.Bmc):
    def __init__(self, address: str, port: int, users: Users, switch: Switch) -> None:
        super().__init__(users, port=port, address=f"::ffff:{address}")
        self.users, self.switch = users, switch
        self._busy = threading.Lock()

    def get_power_state(self) -> str:
        return "on" if self.switch.is_on() else "off"

    def power_on(self) -> int:
        return self._do(self.switch.on)

    def power_off(self) -> int:
        return self._do(self.switch.off)

    def power_shutdown(self) -> int:
        return self._do(self.switch.press)

    def power_cycle(self) -> int:
        return self._do(self.switch.off, self.switch.on) if self.switch.is_on() else NOT_NOW_OFF

    power_reset = power_cycle

    def _do(self, *moves) -> int:
        """In a thread: who asked gets no answer while this one does not listen."""
        if not self._busy.acquire(blocking=False):
            return NOT_NOW

        def work() -> None:
            try:
                for move in moves:
                    move()
            finally:
                self._busy.release()

        threading.Thread(target=work, daemon=True).start()
        return 0

    def handle_raw_request(self, request, session) -> None:
        known = {GET_ACCESS: self._access, GET_NAME: self._name, SET_PASSWORD: self._password}
        found = known.get(request["command"]) if request["netfn"] == APPLICATION else None
        if found is None:
            super().handle_raw_request(request, session)
            return
        code, answer = found(bytes(request["data"]))
        session.send_ipmi_response(data=list(answer), code=code)

    def _user(self, number: int) -> str:
        names = list(self.users.all())
        return names[number - FIRST] if 0 <= number - FIRST < len(names) else ""

    def _access(self, data: bytes) -> tuple[int, bytes]:
        names = self.users.all()
        return 0, bytes([FIRST + len(names) - 1, len(names), 0, ADMINISTRATOR if self._user(data[1] & 0x3F) else 0])

    def _name(self, data: bytes) -> tuple[int, bytes]:
        return 0, self._user(data[0] & 0x3F).encode().ljust(16, b"\0")

    def _password(self, data: bytes) -> tuple[int, bytes]:
        name, operation = self._user(data[0] & 0x3F), data[1] & 3
        password = data[2:].rstrip(b"\0").decode("ascii", "replace")
        if not name:
            return OUT_OF_RANGE, b""
        if operation == 2:
            self.users.change(name, password)
        elif operation == 3 and self.users.get(name) != password:
            return WRONG_PASSWORD, b""
        return 0, b""


def serve(address: str, port: int, users: Path, switch: Switch) -> None:
    """Answer for ever; says so when it listens."""
    Controller(address, port, Users(users), switch)
    print(f"listening on {address} port {port}", flush=True)
    Controller.listen()
