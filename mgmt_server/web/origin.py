"""Where a call comes from: the address behind proxies, the networks an account may call from, the page in a browser."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache

from mgmt_server.db import reading
from mgmt_server.errors import ApiError, Unauthenticated
from mgmt_server.model.scopes import of_account
from mgmt_server.model.settings import Setting

BELIEVED = Setting(
    "proxy.header.verify", "Whether the headers of proxies (proxy.header.names) tell the caller's address"
)
NAMES = Setting(
    "proxy.header.names", "Headers in which a proxy tells the caller's address; the first that is there counts"
)
PROXIES = Setting("proxy.cidr", "Networks of the proxies whose headers are believed, separated by commas")
CHECKED = Setting(
    "api.source.cidr.checks.enabled", "Whether calls are refused from outside api.allowed.source.cidr.list"
)
ALLOWED = Setting("api.allowed.source.cidr.list", "Networks from which calls are answered, for all or for one account")
PAGES = Setting(
    "api.allowed.origins",
    "Origins (https://ui.example.org) whose pages may make changes in a session, besides the server's own",
    type="String",
    default="",
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class WrongPage(ApiError):
    code = 403


@lru_cache(1000)
def networks(text: str) -> tuple[Network, ...]:
    """The networks of a list. What is none is left out: it lets nobody in."""
    found = []
    for word in text.replace(",", " ").split():
        try:
            found.append(ipaddress.ip_network(word, strict=False))
        except ValueError:
            continue
    return tuple(found)


@lru_cache(10_000)
def parsed(text: str) -> Address | None:
    text = text.strip().strip('"')
    if text.startswith("[") and "]" in text:
        text = text[1 : text.index("]")]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def within(address: Address, of: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in of)


def caller(peer: str, headers: Mapping[str, str]) -> str:
    """The caller's address: the peer's, or what proxies of ours say, the right-most hop that is none of them."""
    if not BELIEVED.flag():
        return peer
    proxies, last = networks(PROXIES.text()), parsed(peer)
    if last is None or not within(last, proxies):
        return peer
    told = next((headers[n.lower()] for n in NAMES.words() if n.lower() in headers), "")
    for hop in reversed(told.split(",")):
        address = parsed(hop)
        if address is None:  # whoever wrote this is not known: the last one who is counts
            break
        last = address
        if not within(address, proxies):
            break
    return str(last)


def by_tls(peer: str, headers: Mapping[str, str]) -> bool:
    """Whether a proxy of ours says that the call came to it by TLS."""
    told = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
    if told != "https" or not BELIEVED.flag():
        return False
    address = parsed(peer)
    return address is not None and within(address, networks(PROXIES.text()))


def check_address(account_id: int, address: str) -> None:
    """Raises Unauthenticated."""
    if not CHECKED.flag():
        return
    with reading() as session:
        text = ALLOWED.text(*of_account(session, account_id))
    if text == ALLOWED.default:
        return
    found = parsed(address)
    if found is None or not within(found, networks(text)):
        raise Unauthenticated(
            f"calls of this account are refused from {address[:50]}: an administrator may allow it in {ALLOWED.name}"
        )


def check_page(headers: Mapping[str, str]) -> None:
    """Refuse what a page of another site makes a browser send. Programs send neither header. Raises WrongPage."""
    origin, site = headers.get("origin", ""), headers.get("sec-fetch-site", "")
    if not origin and site in ("", "same-origin", "none"):
        return
    if origin and origin.rstrip("/") in (page.rstrip("/") for page in PAGES.words()):
        return
    own = not origin or origin.lower().partition("://")[2] == headers.get("host", "").lower()
    if not own or site not in ("", "same-origin", "none"):
        raise WrongPage(
            f"this session was asked to change something by a page of {(origin or 'another site')[:100]}: if that is "
            f"your own web interface, name it in {PAGES.name}"
        )
