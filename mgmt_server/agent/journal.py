"""What this agent was told and what it answered, on disk: a repeat gets the first answer, also after a restart."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

from mgmt_server.protocol.codec import build, dump, parse
from mgmt_server.protocol.link import Answer

KEPT = 7 * 86400  # seconds; longer than a server repeats a command


class Journal:
    """Usable from any thread."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE IF NOT EXISTS command (id TEXT PRIMARY KEY, type TEXT, answer TEXT, at REAL)")
        self._db.execute("CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, value)")
        self._db.execute("DELETE FROM command WHERE at < ?", (time.time() - KEPT,))

    def answer(self, id: str) -> Answer | None:
        with self._lock:
            row = self._db.execute("SELECT answer FROM command WHERE id = ? AND answer != ''", (id,)).fetchone()
        return build(Answer, parse(row[0])) if row else None

    def begin(self, id: str, type: str) -> None:
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO command VALUES (?, ?, '', ?)", (id, type, time.time()))

    def finish(self, answer: Answer) -> None:
        with self._lock:
            self._db.execute("UPDATE command SET answer = ? WHERE id = ?", (dump(answer).decode(), answer.id))

    def drop(self, id: str) -> None:
        """Nothing was done: a repeat starts anew."""
        with self._lock:
            self._db.execute("DELETE FROM command WHERE id = ? AND answer = ''", (id,))

    def unfinished(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(row[0] for row in self._db.execute("SELECT id FROM command WHERE answer = '' ORDER BY at"))

    def note(self, name: str, default: int = 0) -> int:
        with self._lock:
            row = self._db.execute("SELECT value FROM note WHERE name = ?", (name,)).fetchone()
        return row[0] if row else default

    def set_note(self, name: str, value: int) -> None:
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (name, value))

    def close(self) -> None:
        with self._lock:
            self._db.close()
