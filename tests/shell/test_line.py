"""The line that tells on a terminal how long a job takes, seen on a real terminal's other end."""

import os
import pty
import select
import sys

import pytest

from mgmt_server.shell import client as wire
from tests.shell.test_api import api as api
from tests.shell.test_api import cloud as cloud

BACK = "\r\x1b[K"  # to the line's begin, and what stands there away
END = "<end>"


@pytest.fixture
def terminal(monkeypatch):
    """Makes standard error a terminal, in the test itself: what is captured sets it anew after the fixtures. Gives a
    function that tells what has come to the terminal."""
    seen, there = pty.openpty()
    monkeypatch.setattr(wire.time, "sleep", lambda seconds: None)
    with os.fdopen(there, "w") as stream:

        def told():
            print(END, end="", file=stream, flush=True)  # the kernel hands on what is written in its own time
            got = ""
            while not got.endswith(END):
                assert select.select([seen], [], [], 10)[0], got
                got += os.read(seen, 65536).decode()
            return got.removesuffix(END)

        def open_it():
            monkeypatch.setattr(sys, "stderr", stream)
            return told

        yield open_it
    os.close(seen)


def looks(monkeypatch, *answers):
    """What the server says of the job, one look after the other."""
    left = list(answers)
    real = wire.Client.call

    def call(self, command, sent):
        if command != "queryAsyncJobResult":
            return real(self, command, sent)
        answer = left.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(wire.Client, "call", call)


GOING = {"jobstatus": 0}
DONE = {"jobstatus": 1, "jobresult": {"success": True}}
FAILED = {"jobstatus": 2, "jobresultcode": 530, "jobresult": {"errortext": "no room"}}


def disable(api, cloud):
    name = cloud.account("ann")
    user = cloud.ask("listUsers", username=name, listall=True)["user"][0]["id"]
    return api("disableUser", f"id={user}", "-o", "json")


@pytest.mark.parametrize(("end", "code"), [(DONE, 0), (FAILED, 2)])
def test_the_line_comes_on_a_terminal_and_is_gone_at_the_end(api, cloud, terminal, monkeypatch, end, code):
    looks(monkeypatch, GOING, GOING, end)
    told = terminal()
    assert disable(api, cloud)[0] == code
    nothing, first, second, after = told().split(BACK)
    assert nothing == "" and first.startswith("/ disableUser ") and second.startswith("- disableUser ")
    assert first.endswith("  0 s") and first[1:] == second[1:], "the same job, and the sign turns"
    assert "disableUser" not in after and ("no room" in after) == (end is FAILED), "and what is told then has no rest"


def test_a_job_that_has_ended_at_once_has_no_line(api, cloud, terminal, monkeypatch):
    looks(monkeypatch, DONE)
    told = terminal()
    assert disable(api, cloud)[0] == 0 and told() == ""


def test_who_stops_waiting_gets_a_clean_line_and_the_way_to_the_job(api, cloud, terminal, monkeypatch):
    looks(monkeypatch, GOING, KeyboardInterrupt())
    told = terminal()
    assert disable(api, cloud)[0] == 130
    nothing, line, after = told().split(BACK)
    job = line.split()[2]
    assert nothing == "" and after.strip() == f"the job goes on: cloudwright api queryAsyncJobResult jobid={job}"


def test_elsewhere_there_is_no_line(api, cloud, monkeypatch):
    monkeypatch.setattr(wire.time, "sleep", lambda seconds: None)
    looks(monkeypatch, GOING, GOING, DONE)
    assert disable(api, cloud)[2] == ""
