"""JSON to RouterDocument, and everything that must hold before a router believes it.

Texts of a document end up in files that other programs parse: whatever could break out of its line is refused here.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields
from typing import Any

from mgmt_server.protocol import dhcp
from mgmt_server.protocol.router import Guest, Interface, Lease, RouterDocument

NESTED = {"Interface": Interface, "Lease": Lease, "Guest": Guest}
TRAFFIC = ("Guest", "Public", "Control")
KEY_TYPES = ("ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-")
LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"

_is_name = re.compile(rf"{LABEL}\Z").match
_is_domain = re.compile(rf"{LABEL}(\.{LABEL})*\Z").match
_is_device = re.compile(r"[a-z][a-z0-9]{0,14}\Z").match
_is_mac = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z").match
_is_metadata_key = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*\Z").match
_is_plain_line = re.compile(r"[^\x00-\x1f\x7f]*\Z").match


class Refused(Exception):
    """A document that is not applied; the text says what is wrong with it, problem by problem."""


def parse(raw: Any) -> RouterDocument:
    """The document in an answered JSON value, checked. MACs come out in lower case. Raises Refused."""
    problems: list[str] = []
    document = _object(RouterDocument, raw, "document", problems)
    if not problems:
        problems = check(document)
    if problems:
        more = f"; and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise Refused("; ".join(problems[:10]) + more)
    return document


def _object(kind: type, raw: Any, where: str, problems: list[str]) -> Any:
    """An instance of a protocol class; fields that it does not know are ignored, for a younger server sends them."""
    if not isinstance(raw, dict):
        problems.append(f"{where} is not an object")
        return None
    values = {}
    for field in fields(kind):
        if field.name in raw:
            values[field.name] = _value(str(field.type), raw[field.name], f"{where}.{field.name}", problems)
        elif field.default is MISSING and field.default_factory is MISSING:
            problems.append(f"{where}.{field.name} is missing")
    if problems:
        return None
    if "mac" in values:
        values["mac"] = values["mac"].lower()
    return kind(**values)


def _value(kind: str, raw: Any, where: str, problems: list[str]) -> Any:
    if kind.startswith("tuple["):
        inner = kind[len("tuple[") : -1].removesuffix(", ...")
        if not isinstance(raw, list | tuple):
            problems.append(f"{where} is not a list")
            return ()
        if inner in NESTED:
            return tuple(_object(NESTED[inner], item, f"{where}[{n}]", problems) for n, item in enumerate(raw))
        return tuple(_value(inner, item, f"{where}[{n}]", problems) for n, item in enumerate(raw))
    if kind.startswith("dict["):
        if isinstance(raw, dict) and all(isinstance(text, str) for pair in raw.items() for text in pair):
            return dict(raw)
        problems.append(f"{where} is not an object of texts")
        return {}
    expected = {"str": str, "int": int, "bool": bool}[kind]
    if type(raw) is not expected:
        problems.append(f"{where} is {type(raw).__name__}, not {expected.__name__}")
    return raw


def check(document: RouterDocument) -> list[str]:
    """What is wrong with a document, one text each; empty when nothing is."""
    problems: list[str] = []
    say = problems.append
    if not _is_domain(document.name):
        say(f"name {document.name!r} is no host name")
    if document.version < 0:
        say(f"version {document.version} is negative")
    if document.domain and (len(document.domain) > 253 or not _is_domain(document.domain)):
        say(f"domain {document.domain!r} is no domain name")
    for field in ("gateway", "guest_gateway"):
        if getattr(document, field) and not _address(getattr(document, field)):
            say(f"{field} {getattr(document, field)!r} is no IPv4 address")
    for server in document.dns:
        if not _address(server):
            say(f"dns server {server!r} is no IPv4 address")
    if document.management_cidr and not _network(document.management_cidr):
        say(f"management_cidr {document.management_cidr!r} is no IPv4 network")
    for key in document.authorized_keys:
        if not key.startswith(KEY_TYPES) or not _is_plain_line(key) or len(key.split()) < 2:
            say(f"authorized key {key[:20]!r}... is no public key on one line")
    networks = _check_interfaces(document, say)
    _check_leases(document, networks, say)
    _check_guests(document, networks, say)
    return problems


def _check_interfaces(document: RouterDocument, say: Callable[[str], None]) -> dict[str, ipaddress.IPv4Network]:
    """Networks of the sound interfaces, by name."""
    networks = {}
    for item in document.interfaces:
        where = f"interface {item.name!r}"
        network = _network(f"{item.address}/{item.prefix}") if _address(item.address) else None
        if not _is_device(item.name):
            say(f"{where} is no device name")
        if not _is_mac(item.mac):
            say(f"{where}: MAC {item.mac!r} is not like 02:00:4c:9f:00:01")
        if item.traffic not in TRAFFIC:
            say(f"{where}: traffic {item.traffic!r} is none of {', '.join(TRAFFIC)}")
        if item.mtu and not 576 <= item.mtu <= 65535:
            say(f"{where}: MTU {item.mtu} is not from 576 to 65535")
        if network is None:
            say(f"{where}: {item.address}/{item.prefix} is no IPv4 address with its prefix length")
            continue
        networks[item.name] = network
        if item.gateway and (not _address(item.gateway) or ipaddress.IPv4Address(item.gateway) not in network):
            say(f"{where}: gateway {item.gateway} is not in {network}")
    _no_doubles((item.name for item in document.interfaces), "interface", say)
    _no_doubles((item.mac for item in document.interfaces), "interface MAC", say)
    _no_doubles((item.address for item in document.interfaces), "interface address", say)
    return networks


def _check_leases(document: RouterDocument, networks: dict, say: Callable[[str], None]) -> None:
    own = {item.address: item.name for item in document.interfaces}
    guest = {item.name for item in document.interfaces if item.traffic == "Guest"}
    for item in document.leases:
        where = f"lease of {item.mac}"
        network = networks.get(item.interface)
        if not _is_mac(item.mac):
            say(f"{where}: that is no MAC like 02:00:4c:9f:00:01")
        if not _is_name(item.hostname):
            say(f"{where}: {item.hostname!r} is no host name (letters, digits and hyphens, at most 63)")
        if item.interface not in guest:
            say(f"{where}: {item.interface!r} is no Guest interface, which are: {', '.join(sorted(guest)) or 'none'}")
        elif not _address(item.address):
            say(f"{where}: {item.address!r} is no IPv4 address")
        elif network is not None:
            address = ipaddress.IPv4Address(item.address)
            if address not in network or address in (network.network_address, network.broadcast_address):
                say(f"{where}: {item.address} is no host of {network} on {item.interface}")
        for code, value in item.options.items():
            try:
                dhcp.written(code, value)
            except ValueError as error:
                say(f"{where}: {error}")
        if item.address in own:
            say(f"{where}: {item.address} is the router's own, on {own[item.address]}")
    _no_doubles((item.mac for item in document.leases), "lease for MAC", say)
    _no_doubles((item.address for item in document.leases), "lease of address", say)


def _check_guests(document: RouterDocument, networks: dict, say: Callable[[str], None]) -> None:
    ranges = [networks[item.name] for item in document.interfaces if item.traffic == "Guest" and item.name in networks]
    for item in document.guests:
        where = f"guest {item.address!r}"
        if not _address(item.address):
            say(f"{where}: that is no IPv4 address")
        elif not any(ipaddress.IPv4Address(item.address) in network for network in ranges):
            say(f"{where} is in no network of a Guest interface")
        for key in item.metadata:
            if not _is_metadata_key(key):
                say(f"{where}: metadata key {key!r} is no path of letters, digits, dots and hyphens")
        if not _is_plain_line(item.password):
            say(f"{where}: its password has control characters")
        try:
            base64.b64decode(item.user_data, validate=True)
        except (binascii.Error, ValueError) as error:
            say(f"{where}: user_data is no base64: {error}")
    _no_doubles((item.address for item in document.guests), "guest", say)


def _no_doubles(values: Iterable[str], what: str, say: Callable[[str], None]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            say(f"{what} {value} is there twice")
        seen.add(value)


def _address(text: str) -> bool:
    try:
        return str(ipaddress.IPv4Address(text)) == text
    except ValueError:
        return False


def _network(text: str) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        return None
