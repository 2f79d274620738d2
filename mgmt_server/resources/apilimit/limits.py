"""How many calls an account may make, and how many log-ins an address may try. Counted by each node for itself."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from mgmt_server.db import cache_of_rows
from mgmt_server.errors import ApiError
from mgmt_server.model.settings import Setting
from mgmt_server.model.tenancy import Caller

ENABLED = Setting("api.throttling.enabled", "Whether the calls of an account are limited; root administrators' are not")
INTERVAL = Setting("api.throttling.interval", "Seconds in which the calls of an account are counted", least=1)
MOST = Setting("api.throttling.max", "Calls that an account may make in the interval, on each server", least=1)
KEPT = Setting("api.throttling.cachesize", "Accounts whose calls are counted at once; the quietest is dropped", least=1)
LOG_INS = Setting(
    "login.attempts.per.address",
    "Log-ins that may be tried from one address in a minute, on each server",
    type="Integer",
    default="60",
    least=1,
)
ADDRESSES = 20_000


class TooMany(ApiError):
    code = 429
    cs_code = 4545


@dataclass
class Window:
    until: float
    count: int = 0

    @property
    def left(self) -> int:
        """Milliseconds until it is counted anew."""
        return max(0, int(1000 * (self.until - time.monotonic())))


class Counter:
    """Calls of each, in windows that begin with the first call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: OrderedDict[Any, Window] = OrderedDict()

    def count(self, who: Any, seconds: float, kept: int) -> Window:
        with self._lock:
            window = self._windows.get(who)
            if window is None or window.until <= time.monotonic():
                window = self._windows[who] = Window(time.monotonic() + seconds)
                while len(self._windows) > kept:
                    self._windows.popitem(last=False)
            self._windows.move_to_end(who)
            window.count += 1
            return Window(window.until, window.count)

    def of(self, who: Any) -> Window | None:
        with self._lock:
            window = self._windows.get(who)
        return window if window is not None and window.left else None

    def forget(self, who: Any = None) -> None:
        with self._lock:
            if who is None:
                self._windows.clear()
            else:
                self._windows.pop(who, None)


calls, log_ins = Counter(), Counter()


@cache_of_rows
def forget() -> None:
    calls.forget()
    log_ins.forget()


def count_call(caller: Caller) -> None:
    """Raises TooMany."""
    if caller.is_root or not ENABLED.flag():
        return
    window = calls.count(caller.account_id, INTERVAL.number(), KEPT.number())
    if window.count > MOST.number():
        raise TooMany(f"The given user has reached his/her account api limit, please retry after {window.left} ms.")


def count_log_in(address: str) -> None:
    """Raises TooMany. Who has an IPv6 network has all of its addresses."""
    window = log_ins.count(_network(address), 60, ADDRESSES)
    if window.count > LOG_INS.number():
        raise TooMany(
            f"too many log-ins from this address: try again in {window.left // 1000 + 1} s (setting {LOG_INS.name})"
        )


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    return str(ipaddress.ip_network((found, 64), strict=False))
