"""Logs: one JSON object a line, with the correlation id that runs from the call through the job to the agent."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from mgmt_server.protocol.correlation import current

EXTRAS = ("correlation", "address", "ms", "agent", "job", "host")


class Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if current.get():
            line["correlation"] = current.get()
        line.update({name: getattr(record, name) for name in EXTRAS if getattr(record, name, None)})
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str).decode()
        except orjson.JSONEncodeError:  # half a surrogate pair, for one
            return json.dumps(line, default=str)


LOOK = 0.5  # seconds between looks whether the file was moved away: each line would let all threads wait for two calls


class Lines(logging.Handler):
    """Appends to a file, opened anew half a second after it was moved away (logrotate) at the latest.

    One write a line, which the kernel appends as a whole: so threads need no lock, for which they would queue up.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self._anew = threading.Lock()
        self._descriptor = self._open()
        self._looked = time.monotonic()

    def createLock(self) -> None:
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode() + b"\n"
            moment = time.monotonic()
            if moment >= self._looked + LOOK:
                self._looked = moment
                if self._moved():
                    self._reopen()
            os.write(self._descriptor, line)
        except Exception:
            self.handleError(record)

    def _moved(self) -> bool:
        try:
            there = os.stat(self.file)
        except FileNotFoundError:
            return True
        return not os.path.samestat(there, os.fstat(self._descriptor))

    def _reopen(self) -> None:
        with self._anew:
            if self._moved():
                fresh = self._open()
                # the same number goes on: another thread may be about to write to it
                os.dup2(fresh, self._descriptor, inheritable=False)
                os.close(fresh)

    def _open(self) -> int:
        return os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def close(self) -> None:
        super().close()
        with self._anew:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1


def set_up(file: Path | None, level: str = "INFO") -> None:
    """To a file, or to stderr where there is none."""
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = Lines(file)
    handler.setFormatter(Json())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("uvicorn.access", "uvicorn.error", "httpx", "websockets", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
