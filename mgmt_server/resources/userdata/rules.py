"""What machines read at their start: checked, and put together from what was sent, registered and linked.

Variables are the guest's affair: cloud-init fills `{{ ds.meta_data.name }}` in data that begins with
`## template: jinja` from the metadata, so their values are handed out as metadata, and nothing is rendered here.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

from sqlalchemy.orm import Session

from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Account
from mgmt_server.model.settings import Setting
from mgmt_server.model.template import Template
from mgmt_server.model.userdata import UserData

LIMIT = Setting("vm.userdata.max.length", "Bytes that user data may have, decoded", least=0, most=2**20)
OVERRIDE, APPEND, DENY = POLICIES = ("ALLOWOVERRIDE", "APPEND", "DENYOVERRIDE")
VARIABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
# what every guest is told anyway, and no variable may stand for
KNOWN = frozenset(
    {"availability-zone", "cloud-domain", "cloud-domain-id", "cloud-identifier", "hypervisor-host-name", "instance-id"}
    | {"local-hostname", "local-ipv4", "password", "public-hostname", "public-ipv4", "public-keys", "service-offering"}
    | {"user-data", "vm-id", "vm-id-uuid"}
)
KINDS = (
    ("#!", "x-shellscript"),
    ("#cloud-config", "cloud-config"),
    ("#cloud-boothook", "cloud-boothook"),
    ("#include", "x-include-url"),
    ("## template: jinja", "jinja2"),
)


@dataclass(frozen=True)
class Given:
    """User data that a call sent or named."""

    text: str | None = None  # base64
    registered: UserData | None = None
    values: dict[str, str] = field(default_factory=dict)  # of its variables


@dataclass(frozen=True)
class Composed:
    """What a machine shall read, as its row has it."""

    text: str | None = None
    registered: int | None = None
    values: dict[str, str] = field(default_factory=dict)


def checked(text: str | None) -> str | None:
    """User data in the usual alphabet, once it is known to be base64 and not too long."""
    if not text:
        return None
    compact = "".join(text.split()).replace("-", "+").replace("_", "/")
    compact += "=" * (-len(compact) % 4)
    try:
        raw = base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidValue("userdata is no base64 text: encode it first") from None
    limit = LIMIT.number() or 32768
    if len(raw) > limit:
        raise InvalidValue(f"userdata has {len(raw)} bytes; the setting {LIMIT.name} allows {limit}")
    return compact


def variables(text: str | None) -> str | None:
    """Names of variables, each once, as they are kept."""
    names = list(dict.fromkeys(n.strip() for n in (text or "").split(",") if n.strip()))
    for name in names:
        if not VARIABLE.fullmatch(name):
            raise InvalidValue(f"params: {name[:100]} is no name: use letters, digits, hyphens and underscores")
        if name in KNOWN:
            raise InvalidValue(f"params: {name} is told to every machine anyway: leave it out, or name it otherwise")
    return ",".join(names) or None


def compose(tx: Session, given: Given, template: Template | None, whose: Account) -> Composed:
    """What a machine of this template reads when a call gave this. Raises InvalidValue where that may not be."""
    if given.registered is not None and given.registered.account_id != whose.id:
        raise InvalidValue(f"The user data {given.registered.name} belongs to another account than {whose.name}")
    if given.text and given.registered is not None:
        raise InvalidValue("userdata and userdataid exclude each other: send one of them")
    mine = given.registered.data if given.registered is not None else checked(given.text)
    number = given.registered.id if given.registered is not None else None
    linked = tx.get(UserData, template.user_data_id) if template is not None and template.user_data_id else None
    sources = [given.registered] if given.registered is not None else []
    if linked is not None and template is not None:
        policy = template.user_data_policy or OVERRIDE
        if mine and policy == DENY:
            raise InvalidValue(f"The template {template.name} brings user data that may not be overridden: send none")
        if not mine or policy == APPEND:
            sources.append(linked)
        if not mine:
            mine = linked.data
        elif policy == APPEND:
            mine = joined(linked.data, mine)
    _fit(given.values, sources, mine)
    return Composed(mine, number, dict(given.values) if mine else {})


def _fit(values: dict[str, str], sources: list[UserData], text: str | None) -> None:
    if not values:
        return
    if not text:
        raise InvalidValue("userdatadetails gives values, and there is no user data with variables: leave it out")
    names = {n for source in sources for n in (source.params or "").split(",") if n}
    for name in values:
        if not VARIABLE.fullmatch(name) or name in KNOWN:
            raise InvalidValue(f"userdatadetails: {name[:100]} can be no variable of user data")
        if sources and name not in names:
            told = f"it has {', '.join(sorted(names))}" if names else "it has none"
            raise InvalidValue(f"userdatadetails: the user data has no variable {name}: {told}")


def joined(first: str, second: str) -> str:
    """Two pieces of user data as one that cloud-init takes apart again. Raises InvalidValue when it grows too long."""
    whole = MIMEMultipart(boundary="==cloudwright==")
    for piece in (first, second):
        text = base64.b64decode(piece).decode("utf-8", "replace")
        kind = next((k for start, k in KINDS if text.startswith(start)), "plain")
        whole.attach(MIMEText(text, kind, "utf-8"))
    return checked(base64.b64encode(whole.as_bytes()).decode()) or ""
