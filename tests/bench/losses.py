"""How long it takes until all runs again after a zone lost its power, and until a host is empty.

python -m tests.bench.losses [--machines 1000] [--database URL]
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from mgmt_server import db
from tests.bench import fill
from tests.bench.__main__ import cpu_of
from tests.server import Server
from tests.simulated import GIB, simulated_zone

PER_HOST, PER_NETWORK = 40, 100
BMC = {"driver": "simulator", "address": "127.0.0.1", "port": "623", "username": "x", "password": "x"}


def build(server: Server, url: str, machines: int) -> dict[str, str]:
    hosts = machines // PER_HOST + 4
    fill._open(url, server.data)
    zone = db.write(lambda tx: simulated_zone(tx, hosts=hosts, memory=2048 * GIB, cpu=4_000_000))
    db.disconnect()
    client = server.client()
    offering = client.ask(
        "createServiceOffering", name="ha", displaytext="ha", cpunumber=1, cpuspeed=500, memory=512, offerha="true"
    )
    zone["offering"] = offering["serviceoffering"]["id"]
    return zone


def deploy(server: Server, zone: dict[str, str], machines: int) -> None:
    """From 16 clients, some networks full."""
    client = server.client()
    name = "DefaultIsolatedNetworkOfferingWithSourceNatService"
    offering = client.ask("listNetworkOfferings", name=name)["networkoffering"][0]["id"]
    networks = [
        client.ask(
            "createNetwork", name=f"n{n}", zoneid=zone["zone"], networkofferingid=offering, gateway=f"10.{n + 10}.0.1",
            netmask="255.255.0.0",
        )["network"]["id"]
        for n in range(-(-machines // PER_NETWORK))
    ]  # fmt: skip

    def work(number: int) -> None:
        mine = server.client()
        for n in range(number, machines, 16):
            mine.job(
                "deployVirtualMachine", poll=0.3, zoneid=zone["zone"], templateid=zone["template"],
                serviceofferingid=zone["offering"], networkids=networks[n % len(networks)], name=f"m{n}",
            )  # fmt: skip

    _together([threading.Thread(target=work, args=(n,)) for n in range(16)])


def _together(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def states(client: Any) -> dict[str, int]:
    counts = {}
    for state in ("Running", "Stopped", "Starting"):
        told = client.ask("listVirtualMachines", listall="true", state=state, page=1, pagesize=1)
        counts[state] = int(told.get("count", 0))
    return counts


def lose_all(server: Server, machines: int) -> float:
    """Every host's power goes, and comes back: seconds from then until all guests run."""
    client = server.client()
    hosts = [h["id"] for h in client.ask("listHosts", type="Routing")["host"]]
    for host in hosts:
        client.ask("configureOutOfBandManagement", hostid=host, **BMC)
        client.job("enableOutOfBandManagementForHost", poll=0.02, hostid=host)
    for host in hosts:
        client.job("issueOutOfBandManagementPowerAction", poll=0.02, hostid=host, action="OFF")
    time.sleep(12)  # as long as a look at lost hosts takes: nothing must be fenced now
    fenced = client.ask("listAlerts", name="ALERT.HA.ACTION").get("alert", [])
    print(f"  dark: {states(client)}; alerts: {[a['description'][:60] for a in fenced]}", flush=True)
    began, cpu = time.monotonic(), cpu_of(server.pid)
    for host in hosts:
        client.ask("issueOutOfBandManagementPowerAction", hostid=host, action="ON")
    gone, last = False, 0.0
    while time.monotonic() - began < 300:
        found = states(client)
        gone = gone or found["Running"] < machines
        if time.monotonic() - last > 5:
            last = time.monotonic()
            print(f"  {time.monotonic() - began:5.1f} s {found}", flush=True)
        if gone and found["Running"] >= machines:
            break
        time.sleep(0.3)
    print(f"  the server used {cpu_of(server.pid) - cpu:.1f} s of CPU for it", flush=True)
    return time.monotonic() - began


def evacuate(server: Server, zone: dict[str, str]) -> tuple[int, float]:
    """Fill a host with 50, then empty it."""
    client = server.client()
    host = zone["hosts"].split(",")[0]
    count = 0
    while count < 50:
        try:
            client.job(
                "deployVirtualMachine", poll=0.02, zoneid=zone["zone"], templateid=zone["template"],
                serviceofferingid=zone["offering"], hostid=host,
            )  # fmt: skip
        except RuntimeError as error:
            print(f"  (no more guests on one host: {str(error)[:160]})", flush=True)
            break
        count += 1
    there = client.ask("listVirtualMachines", listall="true", hostid=host, page=1, pagesize=1).get("count", 0)
    began = time.monotonic()
    client.job("prepareHostForMaintenance", poll=0.05, id=host)
    return int(there), time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=1000)
    parser.add_argument("--database", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "cloud", database=options.database)
        try:
            server.start()
            zone = build(server, options.database or f"sqlite:///{folder}/cloud/cloud.db", options.machines)
            began = time.monotonic()
            deploy(server, zone, options.machines)
            print(f"  ({options.machines} machines deployed in {time.monotonic() - began:.0f} s)", flush=True)
            count, seconds = evacuate(server, zone)
            print(f"  evacuation of {count} guests: {seconds:.1f} s (goal <= 10 s for 50)", flush=True)
            client = server.client()
            client.job("cancelHostMaintenance", id=zone["hosts"].split(",")[0])
            total = states(client)["Running"]
            seconds = lose_all(server, total)
            print(f"  {total} starts after a power loss: {seconds:.1f} s (goal <= 60 s)", flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
