"""The real agent, which ends as by kill -9 at the boundary of a command that a test has written into a file.

Usage: python dying_agent.py AGENT.TOML FILE; the file holds COMMAND BOUNDARY, and is taken away first.
Boundaries: told (nothing noted yet), begun (noted, nothing done), done (not noted), noted (not answered).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mgmt_server.agent import work
from mgmt_server.agent.main import run
from mgmt_server.protocol.link import Answer, Request

FILE = Path(sys.argv[2])


def boundary(name: str, request: Request) -> None:
    if FILE.exists() and FILE.read_text().split() == [request.type, name]:
        FILE.unlink()
        os._exit(9)


def journaled(self: work.Work, command: work.Command, request: Request) -> Answer:
    boundary("told", request)
    self.journal.begin(request.id, request.type)
    boundary("begun", request)
    answer = work._carry_out(command, request)
    boundary("done", request)
    if answer.code == "unavailable":
        self.journal.drop(request.id)
    else:
        self.journal.finish(answer)
    boundary("noted", request)
    return answer


if __name__ == "__main__":
    work.Work._journaled = journaled  # type: ignore[method-assign]
    run(sys.argv[1])
