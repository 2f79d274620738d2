"""What may be registered, and by whom."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select

from mgmt_server.api.context import Context
from mgmt_server.api.parameters import no_entity
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Account
from mgmt_server.model.scopes import of_account
from mgmt_server.model.settings import Setting
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import ADMINS
from mgmt_server.model.zone import Zone
from mgmt_server.protocol.download import refuse
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.template.bring import INSIDE

HYPERVISORS = ("KVM", "Simulator")
FORMATS = {
    "KVM": ("QCOW2", "RAW", "VHD", "VHDX", "VMDK", "OVA"),  # what is no QCOW2 or RAW is converted when it comes
    "Simulator": ("QCOW2", "RAW", "VHD", "VHDX", "VMDK", "OVA"),
}
NO_HYPERVISOR = "None"  # of ISOs, which any can use
TYPES = ("USER", "VNF", "BUILTIN")
ARCHITECTURES = ("x86_64", "aarch64")
PUBLIC = Setting(
    "allow.public.user.templates",
    "Whether users may make their templates public",
    type="Boolean",
    default="true",
    scopes=("Account",),
)


def hypervisor_of(text: str) -> str:
    for known in HYPERVISORS:
        if known.lower() == text.lower():
            return known
    raise InvalidValue(f"Hypervisor Type: {text[:100]} is invalid. Supported here are: {', '.join(HYPERVISORS)}")


def format_of(hypervisor: str, text: str) -> str:
    for known in FORMATS[hypervisor]:
        if known.lower() == text.lower():
            return known
    raise InvalidValue(f"format={text[:100]} does not run on {hypervisor}: register {', '.join(FORMATS[hypervisor])}")


def url_of(text: str) -> str:
    """A URL that may be fetched and shown. Credentials in it would be told to whoever sees the template."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InvalidValue(f"url={text[:200]} is no URL: write it as https://host/path/image.qcow2") from None
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise InvalidValue(f"url={text[:200]} is no http or https URL: write it as https://host/path/image.qcow2")
    if parts.username is not None or parts.password is not None:
        raise InvalidValue("url holds a user or a password, which all who see the template would read: leave them out")
    if port == 0 or any(c.isspace() for c in text):
        raise InvalidValue(f"url={text[:200]} is no URL: it has a blank in it, or port 0")
    return text


def check_host(url: str) -> None:
    """Refuse at once an address that would be refused when it is fetched. Names are looked up then."""
    host = urlsplit(url).hostname or ""
    try:
        literal = ip_address(host)
    except ValueError:
        return
    kind = refuse(literal, INSIDE.words())
    if kind:
        raise InvalidValue(
            f"Illegal host specified in URL: {host} is a {kind} address, from which nothing is fetched. An "
            f"administrator can allow its network with the setting {INSIDE.name}"
        )


def zones_of(ctx: Context, zoneid: str | None, zoneids: Sequence[str] | None) -> tuple[list[Zone], bool]:
    """The zones that a template shall be in, and whether it is for all, those to come included (-1 alone)."""
    if zoneid is not None and zoneids:
        raise InvalidValue("zoneid and zoneids exclude each other: send one of them")
    name, keys = ("zoneids", [k.strip() for k in zoneids]) if zoneids else ("zoneid", [(zoneid or "").strip()])
    if not any(keys):
        raise InvalidValue("zoneid is missing: name a zone, or -1 for all")
    usable = select(Zone).where(Zone.usable_by(ctx.caller), Zone.removed.is_(None)).order_by(Zone.id)
    if keys == ["-1"]:
        if not ctx.caller.is_root:
            raise InvalidValue(f"{name}=-1 is for root administrators: name a zone")
        return list(ctx.session.scalars(usable)), True
    found = {}
    for key in keys:
        zone = ctx.session.scalar(usable.where(_key(ctx, key)))
        if zone is None:
            raise no_entity(name, key)
        found[zone.id] = zone
    return list(found.values()), False


def _key(ctx: Context, text: str) -> Any:
    if ctx.caller.is_root and text.isdecimal() and len(text) < 19:
        return (Zone.uuid == text) | (Zone.id == int(text))
    return Zone.uuid == text


def check_visibility(ctx: Context, owner: Account | None, ispublic: bool | None, isfeatured: bool | None) -> None:
    """Refuse what the caller may not do with a template."""
    if isfeatured and not ctx.caller.is_root:
        raise InvalidValue("isfeatured is for root administrators: leave it out")
    scope = of_account(ctx.session, owner.id) if owner else ()
    if ispublic and ctx.caller.role not in ADMINS and not PUBLIC.flag(*scope):
        raise InvalidValue("users may not make templates public here (setting allow.public.user.templates)")


def check_type(ctx: Context, templatetype: str | None, isrouting: bool | None) -> str | None:
    """The type that is meant, None for none. Those that do not count against limits are for root administrators."""
    if isrouting:
        raise InvalidValue(
            "routers start from the system VM template, which comes with the installation (cloudwright template "
            "install-system): leave isrouting out"
        )
    if not templatetype:
        return None
    found = one_of("templatetype", templatetype, TYPES)
    if found == "BUILTIN" and not ctx.caller.is_root:
        raise InvalidValue("templatetype=BUILTIN is for root administrators: send USER or VNF, or leave it out")
    return found


def template_alone(template: Template, parameter: str = "id") -> Template:
    """Refuse an ISO where a template is meant, as if it were not there."""
    if template.format == "ISO":
        raise no_entity(parameter, template.uuid)
    return template


def iso_alone(iso: Template, parameter: str = "id") -> Template:
    """Refuse a template where an ISO is meant, as if it were not there."""
    if iso.format != "ISO":
        raise no_entity(parameter, iso.uuid)
    return iso


def not_system(template: Template) -> None:
    if template.type == "SYSTEM":
        raise InvalidValue(f"{template.name} is what system VMs start from: it is there with each secondary storage")
