"""What is read from the database again and again, and kept for a moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from sqlalchemy.orm import Session

from mgmt_server.db import cache_of_rows, reading

T = TypeVar("T")
STANDS = 3.0  # seconds: so long may what another node changed not be seen here


class Kept(Generic[T]):
    """Something read from the database, for all threads of this process.

    rules = Kept(lambda session: frozenset(session.scalars(select(Rule.text))))
    rules()             as it was read in the last three seconds; the same object as long as it is equal
    rules.forget()      one of the rows was changed: the next call reads anew
    """

    def __init__(self, read: Callable[[Session], T]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._until = 0.0
        self._forgotten = 0
        self._found: list[T] = []
        cache_of_rows(self._drop)

    def __call__(self) -> T:
        held = self._found
        if self._until > time.monotonic() and held:
            return held[0]
        with self._lock:
            held = self._found
            if self._until <= time.monotonic() or not held:
                known = self._forgotten
                with reading() as session:
                    found = self._read(session)
                if not held or held[0] != found:
                    held = self._found = [found]
                if known == self._forgotten:  # else what was read may be older than the change
                    self._until = time.monotonic() + STANDS
            return held[0]

    def forget(self) -> None:
        self._forgotten += 1
        self._until = 0.0

    def _drop(self) -> None:
        """Another database is opened: what is equal there is not the same."""
        self.forget()
        self._found = []
