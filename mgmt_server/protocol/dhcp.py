"""DHCP options that one guest may be told besides the usual ones: which there are, and what each may say.

Mask, gateway, name servers, host name, domain and times are the network's own. A value is checked so far that the
router's dnsmasq takes it: a network's guests share it.
"""

from __future__ import annotations

import ipaddress
import re

ADDRESSES, NUMBER, TEXT, NAMES, ROUTES = "addresses", "number", "text", "names", "routes"
KNOWN: dict[int, tuple[str, str]] = {
    2: ("time-offset", NUMBER),
    4: ("time-server", ADDRESSES),
    7: ("log-server", ADDRESSES),
    9: ("lpr-server", ADDRESSES),
    13: ("boot-file-size", NUMBER),
    16: ("swap-server", ADDRESSES),
    17: ("root-path", TEXT),
    18: ("extension-path", TEXT),
    23: ("default-ttl", NUMBER),
    26: ("mtu", NUMBER),
    40: ("nis-domain", TEXT),
    41: ("nis-server", ADDRESSES),
    42: ("ntp-server", ADDRESSES),
    44: ("netbios-ns", ADDRESSES),
    45: ("netbios-dd", ADDRESSES),
    46: ("netbios-nodetype", NUMBER),
    47: ("netbios-scope", TEXT),
    60: ("vendor-class", TEXT),
    66: ("tftp-server", TEXT),
    67: ("bootfile-name", TEXT),
    69: ("smtp-server", ADDRESSES),
    70: ("pop3-server", ADDRESSES),
    72: ("www-server", ADDRESSES),
    100: ("posix-timezone", TEXT),
    101: ("tzdb-timezone", TEXT),
    114: ("captive-portal", TEXT),
    119: ("domain-search", NAMES),
    121: ("classless-static-route", ROUTES),
    150: ("tftp-server-address", ADDRESSES),
    **{code: (f"option-{code}", TEXT) for code in range(224, 255)},  # of the site
}
MOST = {2: 2**31 - 1, 13: 65_535, 23: 255, 26: 65_535, 46: 8}  # of numbers
LONGEST = 255
_TEXT = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]{1,255}")  # without quotes and backslashes, which it stands in
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*")


def written(code: str, value: str) -> str:
    """An option as dnsmasq reads it. Raises ValueError for what no guest can be told."""
    if not code.isdecimal() or len(code) > 3 or int(code) not in KNOWN:
        raise ValueError(f"{code[:20]} is none of the options that a guest can be told: {', '.join(map(str, KNOWN))}")
    number = int(code)
    name, kind = KNOWN[number]
    parts = [part.strip() for part in value.split(",")]
    good = (
        len(value) <= LONGEST
        and {
            ADDRESSES: lambda: all(_is_address(p) for p in parts),
            NUMBER: lambda: value.isdecimal() and int(value) <= MOST[number],
            TEXT: lambda: _TEXT.fullmatch(value) is not None,
            NAMES: lambda: all(_NAME.fullmatch(p) for p in parts),
            ROUTES: lambda: len(parts) % 2 == 0 and all(map(_is_route, parts[::2], parts[1::2])),
        }[kind]()
    )
    if not good:
        raise ValueError(f"{value[:50]!r} cannot be the option {number} ({name}), which takes {_takes(kind, number)}")
    return f'{number},"{value}"' if kind == TEXT else f"{number},{','.join(parts)}"


def _takes(kind: str, number: int) -> str:
    return {
        ADDRESSES: "IPv4 addresses with commas between",
        NUMBER: f"a number up to {MOST.get(number)}",
        TEXT: "a text without quotes and backslashes",
        NAMES: "domain names with commas between",
        ROUTES: "routes as NETWORK/LENGTH,GATEWAY with commas between",
    }[kind]


def _is_address(text: str) -> bool:
    try:
        return str(ipaddress.IPv4Address(text)) == text
    except ValueError:
        return False


def _is_route(network: str, gateway: str) -> bool:
    try:
        return "/" in network and ipaddress.IPv4Network(network) is not None and _is_address(gateway)
    except ValueError:
        return False
