"""Additional configuration of machines, which their owners write and operators bound."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

from sqlalchemy.orm import Session

from mgmt_server.errors import Failed, InvalidValue
from mgmt_server.model.scopes import of_account
from mgmt_server.model.settings import Setting
from mgmt_server.protocol import extra

ENABLED = Setting("enable.additional.vm.configuration", "Whether machines may have additional configuration")
ALLOWED = Setting(
    "allow.additional.vm.configuration.list.kvm",
    "Elements of libvirt's XML that additional configuration may have, as names with commas between",
)
PREFIX = "extraconfig"  # of the details that hold it
HYPERVISORS = ("KVM", "Simulator")
TITLE = re.compile(r"([A-Za-z0-9._-]{1,50}):")


def given(tx: Session, account_id: int, hypervisor: str, text: str | None) -> dict[str, str]:
    """The details that hold it: pieces with blank lines between, each with a title (`name:`) above it or a number."""
    if not text:
        return {}
    scopes = of_account(tx, account_id)
    if not ENABLED.flag(*scopes):
        raise InvalidValue(f"Machines of this account have no additional configuration: setting {ENABLED.name}")
    if hypervisor not in HYPERVISORS:
        raise InvalidValue(f"extraconfig is for machines on KVM, and this one is for {hypervisor}")
    allowed = set(ALLOWED.words(*scopes))
    found: dict[str, str] = {}
    for piece in re.split(r"\n\s*\n", unquote_plus(text).replace("\r\n", "\n").strip()):
        first, _, rest = piece.strip().partition("\n")
        title = TITLE.fullmatch(first.strip())
        key = f"{PREFIX}-{title[1] if title else len(found) + 1}"
        body = rest if title else piece
        if key in found:
            raise InvalidValue(f"extraconfig has two pieces called {key.removeprefix(PREFIX + '-')}")
        _check(key, body.strip(), allowed)
        found[key] = body.strip()
    return found


def _check(key: str, piece: str, allowed: set[str]) -> None:
    try:
        used = set().union(*(extra.names(e) for e in extra.elements(piece)))
    except Failed as error:
        raise InvalidValue(f"extraconfig: {key} cannot be taken: {error}") from error
    if used - allowed:
        wrong = ", ".join(sorted(used - allowed))[:200]
        raise InvalidValue(f"extraconfig: {wrong} is not in the list of what is allowed: setting {ALLOWED.name}")


def is_one(key: str) -> bool:
    return key.lower().startswith(PREFIX)
