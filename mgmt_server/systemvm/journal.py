"""Answers already given, by the id of their request: a request that comes twice is done once."""

from __future__ import annotations

import json
import os


class Journal:
    """The last `limit` answers, kept in a file that survives a restart of the agent."""

    def __init__(self, path: str, limit: int = 200) -> None:
        self.path = path
        self.limit = limit
        self.answers: dict[str, dict] = {}
        try:
            with open(path) as file:
                self.answers = dict(json.load(file))
        except FileNotFoundError:
            pass
        except (ValueError, TypeError):
            # an unreadable journal costs a repeated configuration, which changes nothing
            os.replace(path, f"{path}.unreadable")

    def get(self, request_id: str) -> dict | None:
        return self.answers.get(request_id)

    def add(self, request_id: str, answer: dict) -> None:
        self.answers[request_id] = answer
        for old in list(self.answers)[: -self.limit]:
            del self.answers[old]
        write_file(self.path, json.dumps(list(self.answers.items())))


def write_file(path: str, text: str, mode: int = 0o600) -> None:
    """Replace a file so that a reader, or a power cut, meets the old or the new one, never a part."""
    fresh = f"{path}.new"
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def read_file(path: str) -> str | None:
    """Text of a file, None where there is none."""
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return None
