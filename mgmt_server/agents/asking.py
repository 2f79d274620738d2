"""Asking agents, from any thread of the server: the half of the link that `ask` is."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from itertools import count
from typing import Any
from uuid import UUID

from mgmt_server.agents import directory, mailbox
from mgmt_server.agents.session import Session
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.protocol import link as wire
from mgmt_server.protocol.link import Answer, Request

PATIENCE = 5.0  # seconds that a question waits for an agent that is not connected
POLL = 1.0  # seconds between looks for answers and commands that other nodes put into the mailbox


class Asking:
    """What is under way between callers and sessions."""

    node: str
    counters: dict[str, int]
    _loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._arrivals = threading.Condition()
        self._expected: dict[str, Future[Answer]] = {}  # call id -> whoever waits on this node
        self._numbers = count(1)

    def ask(
        self,
        agent: str,
        type: str,
        body: Any = None,
        *,
        call: UUID | None = None,
        timeout: float = 60.0,
        correlation: str = "",
    ) -> Any:
        """Have the agent do or say something: the value of its answer, as JSON gives it.

        With a `call` id it goes through the mailbox: done at most once, repeated safely under the same id. Without one
        it is a question, asked again by whoever needs it. `timeout` in seconds. Raises Unavailable when the agent does
        not answer in time, Failed with its own words when it tried and could not.
        """
        self.counters["asked"] += 1
        if call is not None:
            return _value(self._command(agent, type, body, str(call), timeout, correlation))
        if self._arrive(agent, min(timeout, PATIENCE)):
            return _value(self._question(agent, type, body, timeout, correlation))
        name, node = directory.node_of(agent)
        if node and node != self.node:
            return _value(self._relay(agent, type, body, timeout, correlation))
        raise Unavailable(_not_connected(name or agent))

    def _question(self, agent: str, type: str, body: Any, timeout: float, correlation: str) -> Answer:
        current = self._sessions.get(agent)
        if current is None:
            raise Unavailable(_not_connected(agent))
        future: Future[Answer] = Future()
        request = Request(f"read-{next(self._numbers)}", 0, type, body, correlation, timeout=timeout)
        self._loop.call_soon_threadsafe(self._put_question, current, request, future)
        try:
            return future.result(timeout)
        except TimeoutError:
            self._loop.call_soon_threadsafe(current.asked.pop, request.id, None)
            raise Unavailable(
                f"The agent {current.who.name} is connected and did not answer {type!r} within {timeout:g} s: see its"
                " log (`journalctl -u cloudwright-agent`)"
            ) from None

    def _put_question(self, current: Session, request: Request, future: Future[Answer]) -> None:
        if self._sessions.get(current.who.uuid) is not current:
            future.set_exception(Unavailable(f"The link with the agent {current.who.name} was cut"))
            return
        current.asked[request.id] = future
        self._spawn(current.send(request))

    def _command(self, agent: str, type: str, body: Any, call: str, timeout: float, correlation: str) -> Answer:
        end = time.monotonic() + timeout
        future = self._expected.setdefault(call, Future())
        try:
            current = self._sessions.get(agent)
            answer = mailbox.put(call, agent, type, body, correlation, current.epoch if current else 0)
            if answer is not None:
                return answer
            if current is not None:
                request = Request(call, 0, type, body, correlation, durable=True, timeout=timeout)
                self._spawn_from_thread(current.send(request))
            found = self._await_answer(call, future, end)
        finally:
            self._expected.pop(call, None)
        if found is not None:
            return found
        was_sent = mailbox.withdraw(call)
        name, node = directory.node_of(agent)
        if was_sent or node:
            raise Unavailable(
                f"The agent {name or agent} did not answer {type!r} within {timeout:g} s; it may still be at it: see"
                " its log (`journalctl -u cloudwright-agent`)"
            )
        raise Unavailable(_not_connected(name or agent))

    def _await_answer(self, call: str, future: Future[Answer], end: float) -> Answer | None:
        while (left := end - time.monotonic()) > 0:
            try:
                return future.result(min(left, 2 * POLL))
            except TimeoutError:
                answer = mailbox.answer_of(call)  # it may have come to another node
                if answer is not None:
                    return answer
        return None

    def _relay(self, agent: str, type: str, body: Any, timeout: float, correlation: str) -> Answer:
        """Ask through the node that the agent is connected to."""
        call = f"relay-{self.node}-{next(self._numbers)}-{time.time_ns():x}"[:40]
        mailbox.put(call, agent, type, body, correlation, durable=False)
        try:
            answer = self._await_answer(call, Future(), time.monotonic() + timeout)
        finally:
            mailbox.forget(call)
        if answer is None:
            raise Unavailable(f"The agent {agent} is connected to another node and did not answer within {timeout:g} s")
        return answer

    def _arrive(self, agent: str, patience: float) -> bool:
        """Wait for the agent to be connected here; False where it is connected to another node, or stays away."""
        if agent in self._sessions:
            return True
        if self._elsewhere(agent):
            return False
        with self._arrivals:
            return self._arrivals.wait_for(lambda: agent in self._sessions, patience)

    def _elsewhere(self, agent: str) -> bool:
        return directory.node_of(agent)[1] not in ("", self.node)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self._loop.create_task(work)
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)

    def _spawn_from_thread(self, work: Coroutine[Any, Any, Any]) -> None:
        self._loop.call_soon_threadsafe(self._spawn, work)


_tasks: set[asyncio.Task[Any]] = set()  # the loop itself keeps no strong reference to its tasks


def _value(answer: Answer) -> Any:
    if answer.ok:
        return answer.value
    raise (Unavailable if answer.code == "unavailable" else Failed)(answer.error or "the agent gave no reason")


def _not_connected(name: str) -> str:
    return (
        f"The agent {name} is not connected: on that host see `systemctl status cloudwright-agent`, and whether it"
        f" reaches this server's port {wire.PORT}"
    )
