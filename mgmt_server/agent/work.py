"""Carrying out requests: in threads, in order for each machine, once for each id."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from mgmt_server.agent.journal import Journal
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.protocol.codec import BadMessage, plain
from mgmt_server.protocol.link import Answer, Request

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """`run(body)` gives the answer's value. `lane(body)` names what it works on: one lane, one command at a time."""

    run: Callable[[Any], Any]
    lane: Callable[[Any], str] | None = None  # None: may run beside anything
    changes: bool = False


class Work:
    def __init__(self, commands: dict[str, Command], journal: Journal, threads: int = 16) -> None:
        self.commands, self.journal = commands, journal
        self._pool = ThreadPoolExecutor(threads, "work")
        self._questions = ThreadPoolExecutor(4, "question")  # so that slow commands do not keep them waiting
        self._lock = threading.Lock()
        self._under_way: dict[str, list[Callable[[Answer], None]]] = {}  # id -> whom to answer
        self._lanes: dict[str, deque[Callable[[], None]]] = {}

    def take(self, request: Request, reply: Callable[[Answer], None]) -> None:
        """Carry it out and call `reply` from some thread, once; a repeat of what runs joins it."""
        command = self.commands.get(request.type)
        if command is None:
            known = ", ".join(sorted(self.commands))
            text = f"this agent does not know {request.type!r}; update it. It knows {known}"
            reply(Answer(request.id, False, error=text, code="unknown"))
        elif not command.changes:
            self._questions.submit(lambda: reply(_carry_out(command, request)))
        else:
            self._take_once(command, request, reply)

    def _take_once(self, command: Command, request: Request, reply: Callable[[Answer], None]) -> None:
        with self._lock:
            if request.id in self._under_way:
                self._under_way[request.id].append(reply)
                return
            answer = self.journal.answer(request.id)
            if answer is None:
                self._under_way[request.id] = [reply]
        if answer is not None:
            reply(answer)
            return
        try:
            lane = command.lane(request.body) if command.lane else request.id
        except (BadMessage, KeyError, TypeError) as error:
            self._finished(Answer(request.id, False, error=f"{request.type}: {error}", code="bad"))
            return
        self._queue(lane, lambda: self._finished(self._journaled(command, request)))

    def _journaled(self, command: Command, request: Request) -> Answer:
        self.journal.begin(request.id, request.type)
        answer = _carry_out(command, request)
        if answer.code == "unavailable":
            self.journal.drop(request.id)
        else:
            self.journal.finish(answer)
        return answer

    def _finished(self, answer: Answer) -> None:
        with self._lock:
            replies = self._under_way.pop(answer.id, [])
        for reply in replies:
            reply(answer)

    def _queue(self, lane: str, work: Callable[[], None]) -> None:
        with self._lock:
            waiting = self._lanes.get(lane)
            if waiting is not None:
                waiting.append(work)
                return
            self._lanes[lane] = deque([work])
        self._pool.submit(self._drive, lane)

    def _drive(self, lane: str) -> None:
        while True:
            with self._lock:
                waiting = self._lanes[lane]
                if not waiting:
                    del self._lanes[lane]
                    return
                work = waiting.popleft()
            try:
                work()
            except Exception:
                log.exception("a command on %s broke", lane)

    def unfinished(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._under_way)

    def stop(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._questions.shutdown(wait=False, cancel_futures=True)


def _carry_out(command: Command, request: Request) -> Answer:
    try:
        value = plain(command.run(request.body))
        log.info("%s %s done [%s]", request.type, request.id, request.correlation)
        return Answer(request.id, True, value)
    except Unavailable as error:
        code, text = "unavailable", str(error)
    except BadMessage as error:
        code, text = "bad", f"{request.type}: {error}"
    except Failed as error:
        code, text = "failed", str(error)
    except Exception as error:
        log.exception("%s %s broke [%s]", request.type, request.id, request.correlation)
        code, text = "failed", f"{request.type}: {type(error).__name__}: {error}"
    log.warning("%s %s failed: %s [%s]", request.type, request.id, text, request.correlation)
    return Answer(request.id, False, error=text, code=code)
