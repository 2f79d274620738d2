"""`make bench`: what the design promises, measured. Prints figures beside their goals; asserts nothing."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import mariadb
from tests.bench import fill, losses, report, wire
from tests.bench.figures import cpu_of, memory_of, metric, percentile, say
from tests.bench.tenants import DOMAINS, tenants
from tests.server import Server

CLOUDSTACK = "CloudStack 4.22"

REST = 10.0  # seconds

PARTS = ("sqlite", "mariadb", "tenants", "losses", "agents", "modules")


def start_and_rest(server: Server, seconds: float = 20) -> None:
    say("ready after", f"{server.seconds:.2f} s", "<= 3 s", f"{CLOUDSTACK} 13 s: {13 / server.seconds:.0f} x")
    time.sleep(3)
    before, began = cpu_of(server.pid), time.monotonic()
    time.sleep(seconds)
    used = 100 * (cpu_of(server.pid) - before) / (time.monotonic() - began)
    say("idle", f"{used:.2f} % of a core", "<= 1 %", "CloudStack 5 %")
    say("resident", f"{memory_of(server.pid):.0f} MiB", "<= 250 MiB", "CloudStack 1,100 MiB")


def calls(server: Server, name: str, count: int, work: Callable[[Any], Any], goal: str = "", peer: str = "") -> None:
    """Wall-clock and CPU of one call after the other, and its statements. Of long pages until the last byte is there:
    what a client needs to read a megabyte of JSON is its own."""
    client = server.client()
    for _ in range(3):
        work(client)
    statements, cpu = metric(server, "cloudwright_sql_statements"), cpu_of(server.pid)
    times = []
    for _ in range(count):
        began = time.perf_counter()
        work(client)
        times.append(1000 * (time.perf_counter() - began))
    cpu = 1000 * (cpu_of(server.pid) - cpu) / count
    statements = (metric(server, "cloudwright_sql_statements") - statements) / count
    told = f"p50 {percentile(times, 0.5):.1f} p95 {percentile(times, 0.95):.1f} ms"
    say(name, told, goal, peer)
    say("", f"{cpu:.2f} ms CPU, {statements:.1f} SQL")


def deploys(server: Server, zone: dict[str, str], clients: int, each: int) -> None:
    done: list[float] = []
    failed: list[str] = []

    def work(number: int) -> None:
        client = server.client()
        for n in range(each):
            began = time.perf_counter()
            try:
                client.job(
                    "deployVirtualMachine", poll=0.02 if clients == 1 else 0.5, zoneid=zone["zone"],
                    templateid=zone["template"], serviceofferingid=zone["offering"], networkids=zone["network"],
                    name=f"b{clients}-{number}-{n}",
                )  # fmt: skip
                done.append(time.perf_counter() - began)
            except RuntimeError as error:
                failed.append(str(error))

    statements, cpu = metric(server, "cloudwright_sql_statements"), cpu_of(server.pid)
    began = time.perf_counter()
    threads = [threading.Thread(target=work, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    count = max(len(done), 1)
    statements = (metric(server, "cloudwright_sql_statements") - statements) / count
    cpu = 1000 * (cpu_of(server.pid) - cpu) / count
    if clients == 1:
        say("deploy alone", f"p50 {1000 * percentile(done, 0.5):.0f} ms", "<= 150 ms", "CloudStack 1,937 ms")
    else:
        rate = len(done) / seconds
        say(f"deploys, {clients} clients", f"{rate:.1f}/s", ">= 40/s", f"CloudStack 4.2/s: {rate / 4.2:.0f} x")
    say("", f"{cpu:.1f} ms CPU, {statements:.0f} SQL each, polls and timers with it")
    if failed:
        say("failed", f"{len(failed)}: {failed[0][:80]}")


def one_database(kind: str, database: str, rows: int, quick: bool) -> None:
    print(f"\n{kind}")
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "cloud", database=database)
        url = database or f"sqlite:///{folder}/cloud/cloud.db"
        try:
            server.start()
            server.stop()
            server.start()
            start_and_rest(server, 5 if quick else 20)
            zone = fill.prepare(url, Path(folder) / "cloud", server.client())
            deploys(server, zone, 1, 5 if quick else 30)
            deploys(server, zone, 32, 3 if quick else 15)
            wire.measure(server, say, cpu_of)
            calls(server, "listZones", 300, lambda c: c.ask("listZones"), "<= 1 ms CPU", "CloudStack 5.4 ms CPU")
            began = time.perf_counter()
            fill.machines(url, Path(folder) / "cloud", rows)
            print(f"  ({rows} machines written in {time.perf_counter() - began:.0f} s)")
            page = {"page": rows // 1000, "pagesize": 500, "listall": "true"}
            calls(
                server, f"page of 500 among {rows} machines", 30, lambda c: c.ask("listVirtualMachines", **page),
                "p95 <= 40 ms, <= 3 SQL", "CloudStack 1,453 ms at 1,604",
            )  # fmt: skip
            calls(
                server, "the same, page of 20", 60,
                lambda c: c.ask("listVirtualMachines", page=2, pagesize=20, listall="true"), "", "CloudStack 71 ms",
            )  # fmt: skip
        finally:
            server.stop()
        fill.measure_recount(url, Path(folder) / "cloud", rows, say)
        if database:
            fill.measure_placements(database, Path(folder) / "cloud", say)


def lists_of_tenants(kind: str, database: str, rows: int) -> None:
    """Pages of accounts and of domains, each with what it has and may have."""
    print(f"\n{kind}: accounts and domains")
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "cloud", database=database)
        try:
            server.start()
            server.stop()
            began = time.perf_counter()
            tenants(database or f"sqlite:///{folder}/cloud/cloud.db", Path(folder) / "cloud", rows)
            print(f"  ({rows} accounts written in {time.perf_counter() - began:.0f} s)")
            server.start()
            time.sleep(REST)  # what a start has to do, and the database after so many rows, is over
            for name, page, among in (("listAccounts", rows // 1000, rows), ("listDomains", 2, DOMAINS)):
                sent = {"page": page, "pagesize": 500, "listall": "true"}
                what = f"{name}, 500 among {among}"
                calls(server, what, 40, lambda c, n=name, s=sent: c.fetch(n, **s).raise_for_status(), "p95 <= 40 ms")  # type: ignore[misc]
        finally:
            server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=25_000)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=PARTS)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    if options.only in (None, "mariadb"):
        with mariadb.server(relaxed=False) as url:
            one_database("MariaDB on the same machine", url, options.rows, options.quick)
    if options.only in (None, "sqlite"):
        one_database("SQLite", "", options.rows, options.quick)
    if options.only in (None, "tenants"):
        lists_of_tenants("SQLite", "", options.rows)
        with mariadb.server(relaxed=False) as url:
            lists_of_tenants("MariaDB on the same machine", url, options.rows)
    if options.only in (None, "losses"):
        machines = 200 if options.quick else 1000
        losses.measure("SQLite", "", machines)
        with mariadb.server(relaxed=False) as url:
            losses.measure("MariaDB on the same machine", url, machines)
    if options.only in (None, "agents"):
        report.measure(say)
        fill.agents(say, 200 if options.quick else 2000)
    if options.only in (None, "modules"):
        fill.modules(say)


if __name__ == "__main__":
    main()
