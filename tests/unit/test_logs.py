"""The server's log: one whole JSON object a line, whoever writes beside it and whatever is done to the file."""

import json
import logging
import threading

import pytest

from mgmt_server import logs
from mgmt_server.logs import Json, Lines


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "LOOK", 0)
    handler = Lines(tmp_path / "server.log")
    handler.setFormatter(Json())
    logger = logging.Logger("there")
    logger.addHandler(handler)
    yield logger
    handler.close()


def lines(*files):
    return [json.loads(line)["message"] for file in files for line in file.read_text().splitlines()]


def test_many_threads_write_whole_lines_while_the_file_is_moved_away(log, tmp_path):
    file, old = tmp_path / "server.log", tmp_path / "server.log.1"
    half, count = threading.Barrier(9), 300

    def work(number):
        for n in range(count):
            if n == count // 2:
                half.wait(10)
            log.info("%s %s %s", number, n, "x" * 500)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    half.wait(10)
    file.rename(old)
    for thread in threads:
        thread.join()
    told = [tuple(map(int, line.split()[:2])) for line in lines(old, file)]
    assert sorted(told) == [(number, n) for number in range(8) for n in range(count)]
    assert lines(file), "what came after the move is in a file of the old name"


def test_what_is_no_utf_8_is_told_all_the_same(log, tmp_path):
    log.info("%s", "half \ud83d of a sign")
    assert lines(tmp_path / "server.log") == ["half \ud83d of a sign"]


def test_a_trace_is_one_line(log, tmp_path):
    try:
        raise ValueError("no\ngood")
    except ValueError:
        log.exception("it failed")
    (line,) = (tmp_path / "server.log").read_text().splitlines()
    assert "no\ngood" in json.loads(line)["trace"]
