"""Logs: one JSON object a line, with the correlation id that runs from the call through the job to the agent."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
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
        return orjson.dumps(line, default=str).decode()


def set_up(file: Path | None, level: str = "INFO") -> None:
    """To a file, or to stderr where there is none."""
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = WatchedFileHandler(file)
    handler.setFormatter(Json())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("uvicorn.access", "uvicorn.error", "httpx", "websockets", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
