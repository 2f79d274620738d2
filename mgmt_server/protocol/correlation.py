"""The one id that runs from a call through its job to the agent's log lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

current: ContextVar[str] = ContextVar("correlation", default="")


@contextmanager
def correlated(correlation: str) -> Iterator[None]:
    """Have everything that is logged or asked meanwhile carry this id."""
    token = current.set(correlation)
    try:
        yield
    finally:
        current.reset(token)
