"""IPMI controllers, through the program ipmitool. It gets the password by its environment or in a file, never as an
argument: arguments are seen by everybody on the machine."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

from mgmt_server.drivers.power import Controller
from mgmt_server.errors import Failed, InvalidValue, Unavailable
from mgmt_server.model.settings import Setting

PATH = Setting("outofbandmanagement.ipmitool.path", "Where the program ipmitool is")
INTERFACE = Setting("outofbandmanagement.ipmitool.interface", "How ipmitool talks to controllers: lanplus, lan")
RETRIES = Setting("outofbandmanagement.ipmitool.retries", "How often ipmitool asks again when it gets no answer")

WORDS = {"ON": "on", "OFF": "off", "CYCLE": "cycle", "RESET": "reset", "SOFT": "soft", "STATUS": "status"}
LONGEST = 20  # characters of a password, by IPMI 2.0
PASSWORD = re.compile(r"[A-Za-z0-9!$%&()*+,./:;<=>?@\[\]^_{|}~-]{1,20}")
SAID = re.compile(r"Chassis Power is (on|off)", re.IGNORECASE)
NOBODY = ("unable to establish", "no response", "timeout", "timed out", "name or service not known", "unreachable")


class Ipmitool:
    def act(self, controller: Controller, action: str, timeout: float) -> str:
        said = _run(controller, ["chassis", "power", WORDS[action]], timeout)
        if action != "STATUS":
            return ""
        found = SAID.search(said)
        return found[1].capitalize() if found else "Unknown"

    def change_password(self, controller: Controller, password: str, timeout: float) -> None:
        if not PASSWORD.fullmatch(password):
            raise InvalidValue(
                f"password: IPMI takes 1 to {LONGEST} letters, digits and signs; no spaces, quotes, # and backslashes"
            )
        number = _number_of(_run(controller, ["user", "list", "1"], timeout), controller)
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "script"
            script.touch(mode=0o600)
            script.write_text(f"user set password {number} {password} {16 if len(password) <= 16 else 20}\n")
            _run(controller, ["exec", str(script)], timeout, hidden=password)


def _number_of(listed: str, controller: Controller) -> int:
    """The user's number in the controller's own table."""
    for line in listed.splitlines():
        words = line.split()
        if len(words) > 1 and words[0].isdecimal() and words[1] == controller.username:
            return int(words[0])
    raise Failed(f"the controller of host {controller.name} lists no user {controller.username}")


def _run(controller: Controller, words: list[str], timeout: float, hidden: str = "") -> str:
    command = [
        PATH.text(), "-I", INTERFACE.text(), "-H", controller.address, "-p", str(controller.port),
        "-U", controller.username, "-R", RETRIES.text(), "-E", *words,
    ]  # fmt: skip
    environment = {**os.environ, "IPMI_PASSWORD": controller.password, "LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603  the program and its words are the operator's
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
            check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise Failed(
            f"{PATH.text()} is not there: install ipmitool on the management servers, or set {PATH.name}"
        ) from None
    except OSError as error:
        raise Failed(f"{PATH.text()} cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"the controller of host {controller.name} did not answer within {timeout:g} s") from None
    if done.returncode != 0:
        told = " ".join((done.stderr or done.stdout).split())[:300]
        for secret in (controller.password, hidden):
            told = told.replace(secret, "***") if secret else told
        kind = Unavailable if any(word in told.lower() for word in NOBODY) else Failed
        raise kind(f"the controller of host {controller.name} at {controller.address}: {told or 'it failed'}")
    return done.stdout
