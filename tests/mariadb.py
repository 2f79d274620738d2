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


@contextlib.contextmanager
def server(relaxed: bool = True) -> Iterator[str]:
    """The URL of an empty database `cloud` on a fresh server. `relaxed`: commits do not wait for the disk."""
    memory = Path("/dev/shm")  # relaxed: a disk would only slow the tests down
    place = str(memory) if relaxed and memory.is_dir() and shutil.disk_usage(memory).free > 2**30 else None
    folder = Path(tempfile.mkdtemp(prefix="cloudwright-mariadb-", dir=place))
    port = free_port()
    folder.chmod(0o755)
    data, sock = folder / "data", folder / "sock"
    user = ("--user=mysql",)
    install = [
        "mariadb-install-db",
        "--no-defaults",
        f"--datadir={data}",
        *user,
        "--auth-root-authentication-method=normal",
    ]
    folder.joinpath("data").mkdir()
    shutil.chown(data, "mysql", "mysql")
    shutil.chown(folder, "mysql", "mysql")
    subprocess.run([*install, "--skip-test-db"], check=True, capture_output=True)
    log = (folder / "log").open("wb")
    more = ("--innodb-flush-log-at-trx-commit=2",) if relaxed else ()
    process = subprocess.Popen(
        ["mariadbd", *OPTIONS, *more, *user, f"--datadir={data}", f"--port={port}", f"--socket={sock}",
         f"--pid-file={folder}/pid"],
        stdout=log, stderr=log,
    )  # fmt: skip
    try:
        _wait(port, process, folder / "log")
        _sql(sock, "CREATE DATABASE cloud CHARACTER SET utf8mb4; CREATE USER cloud@'127.0.0.1' IDENTIFIED BY 'cloud'; "
                   "GRANT ALL ON cloud.* TO cloud@'127.0.0.1';")  # fmt: skip
        yield f"mysql+pymysql://cloud:cloud@127.0.0.1:{port}/cloud"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


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
