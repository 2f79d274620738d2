"""Threads that serve an event loop."""

import asyncio
import gc
import threading
import time

import pytest

from mgmt_server.web.threads import Threads


def alive(name):
    return [t for t in threading.enumerate() if t.name.startswith(f"{name}_")]


def goes(name):
    end = time.monotonic() + 10
    while alive(name) and time.monotonic() < end:
        time.sleep(0.01)
    return not alive(name)


def test_as_many_work_at_once_as_there_are_and_others_wait_for_them():
    threads, gate, at_it = Threads(3, "three"), threading.Event(), []

    def work(number):
        at_it.append(number)
        gate.wait(10)
        return number

    async def many():
        futures = [threads.run(work, n) for n in range(5)]
        while len(at_it) < 3:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert sorted(at_it) == [0, 1, 2] and len(alive("three")) == 3
        gate.set()
        return await asyncio.gather(*futures)

    assert asyncio.run(many()) == list(range(5))


def test_one_after_the_other_takes_one_thread():
    threads = Threads(8, "single")

    async def calls():
        for n in range(20):
            assert await threads.run(abs, -n) == n
        return len(alive("single"))

    assert asyncio.run(calls()) == 1


def test_what_work_raises_is_raised_where_it_is_waited_for_and_ends_no_thread():
    threads = Threads(1, "raising")

    async def calls():
        for bad in (ValueError("no"), SystemExit(3)):
            with pytest.raises(type(bad)):
                await threads.run(_raise, bad)
        return await threads.run(abs, -1)

    assert asyncio.run(calls()) == 1


def _raise(error):
    raise error


def test_who_does_not_wait_any_more_disturbs_nobody():
    threads, gate = Threads(1, "leaving"), threading.Event()

    async def leave():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(threads.run(gate.wait, 10), 0.05)
        gate.set()
        return await threads.run(abs, -1)

    assert asyncio.run(leave()) == 1
    gate.clear()

    async def gone():
        threads.run(gate.wait, 10)

    asyncio.run(gone())  # its loop is closed before the work is done
    gate.set()

    async def later():
        return await threads.run(abs, -2)

    assert asyncio.run(later()) == 2


@pytest.mark.parametrize("how", ["told", "forgotten"])
def test_they_end(how):
    threads = Threads(4, f"ending-{how}")

    async def calls():
        await asyncio.gather(*[threads.run(time.sleep, 0.05) for _ in range(4)])

    asyncio.run(calls())
    assert len(alive(f"ending-{how}")) == 4
    if how == "told":
        threads.end()
    else:
        del threads, calls
        gc.collect()
    assert goes(f"ending-{how}")
