"""A MariaDB server of the run's own: its data in a temporary folder, a port of loopback, no other MariaDB touched."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

OPTIONS = (
    "--no-defaults", "--skip-networking=0", "--bind-address=127.0.0.1", "--skip-name-resolve",
    "--innodb-buffer-pool-size=256M", "--innodb-log-file-size=64M", "--innodb-flush-log-at-trx-commit=1",
    "--transaction-isolation=READ-COMMITTED", "--max-connections=400", "--innodb-lock-wait-timeout=20",
    "--innodb-rollback-on-timeout=1", "--character-set-server=utf8mb4", "--performance-schema=off",
)  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def available() -> bool:
    return all(shutil.which(p) for p in ("mariadbd", "mariadb-install-db"))


class Database:
    """A MariaDB server with an empty database `cloud`, that can be killed and started again.

    `relaxed`: commits do not wait for the disk.
    """

    def __init__(self, relaxed: bool = True) -> None:
        memory = Path("/dev/shm")  # relaxed: a disk would only slow the tests down
        place = str(memory) if relaxed and memory.is_dir() and shutil.disk_usage(memory).free > 2**30 else None
        self.folder = Path(tempfile.mkdtemp(prefix="cloudwright-mariadb-", dir=place))
        self.folder.chmod(0o755)
        self.port, self.relaxed = free_port(), relaxed
        self.process: subprocess.Popen[bytes] | None = None
        data = self.folder / "data"
        data.mkdir()
        shutil.chown(data, "mysql", "mysql")
        shutil.chown(self.folder, "mysql", "mysql")
        install = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=mysql", "--skip-test-db"]
        subprocess.run([*install, "--auth-root-authentication-method=normal"], check=True, capture_output=True)
        self.start()
        _sql(
            self.folder / "sock",
            "CREATE DATABASE cloud CHARACTER SET utf8mb4; "
            "CREATE USER cloud@'127.0.0.1' IDENTIFIED BY 'cloud'; GRANT ALL ON cloud.* TO cloud@'127.0.0.1';",
        )

    @property
    def url(self) -> str:
        return f"mysql+pymysql://cloud:cloud@127.0.0.1:{self.port}/cloud"

    def start(self) -> None:
        more = ("--innodb-flush-log-at-trx-commit=2",) if self.relaxed else ()
        folder = self.folder  # also for what it puts aside: another server that starts removes such files from /tmp
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["mariadbd", *OPTIONS, *more, "--user=mysql", f"--datadir={folder}/data", f"--port={self.port}",
                 f"--socket={folder}/sock", f"--pid-file={folder}/pid", f"--tmpdir={folder}"],
                stdout=log, stderr=log,
            )  # fmt: skip
        _wait(self.port, self.process, folder / "log")

    def kill(self) -> None:
        """As by kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def remove(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def running(relaxed: bool = True) -> Iterator[Database]:
    made = Database(relaxed)
    try:
        yield made
    finally:
        made.remove()


@contextlib.contextmanager
def server(relaxed: bool = True) -> Iterator[str]:
    """The URL of an empty database `cloud` on a fresh server."""
    with running(relaxed) as made:
        yield made.url


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"MariaDB did not start: {log.read_text(errors='replace')[-2000:]}")


def _sql(sock: Path, statements: str) -> None:
    subprocess.run(["mariadb", "--no-defaults", "-uroot", f"--socket={sock}", "-e", statements], check=True)
