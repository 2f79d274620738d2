"""Threads for what would keep an event loop waiting.

Each call passes through here, and what the standard library's executor does on the way (a future of its own, with
locks, that is chained to the loop's) took a tenth of the calls that a server answers.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")


class Threads:
    """At most `count` of them, started as they are needed; they end with the last reference to this object."""

    def __init__(self, count: int, name: str) -> None:
        self.count, self.name = count, name
        self._todo: SimpleQueue[Any] = SimpleQueue()
        self._started = self._open = 0
        self._end = weakref.finalize(self, _end, self._todo)

    def run(self, work: Callable[..., Result], *args: Any) -> asyncio.Future[Result]:
        """Have `work` done, from a running loop. What it raises is raised where the future is waited for.

        Who does not wait any more leaves it to be done all the same.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._open += 1
        if self._started < min(self._open, self.count):
            self._started += 1
            name = f"{self.name}_{self._started}"
            threading.Thread(target=_serve, args=(self._todo,), name=name, daemon=True).start()
        self._todo.put((loop, self._settle, future, work, args))
        return future

    def _settle(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self._open -= 1
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def end(self) -> None:
        """No thread takes up anything more."""
        self._end()


def _end(todo: SimpleQueue[Any]) -> None:
    todo.put(None)


def _serve(todo: SimpleQueue[Any]) -> None:
    """Takes no reference to the threads' owner while it waits, or that would never go."""
    while (one := todo.get()) is not None:
        loop, settle, future, work, args = one
        result, error = None, None
        try:
            result = work(*args)
        except BaseException as failure:
            error = failure
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, future, result, error)
        del one, loop, settle, future, work, args, result, error
    todo.put(None)  # for the next thread
