"""How long it takes until all runs again after a zone lost its power, and until a host is empty.

python -m tests.bench.losses [--machines 1000] [--database URL]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from mgmt_server import db
from mgmt_server.model.simulator import SimulatedMachine
from mgmt_server.model.vm import Vm
from tests.bench import fill
from tests.bench.figures import cpu_of, say
from tests.server import Server
from tests.simulated import GIB, simulated_zone

PER_HOST, PER_NETWORK = 40, 100
EVACUATED = 50  # guests of the host that is emptied
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


def deploy(server: Server, zone: dict[str, str], machines: int) -> list[str]:
    """From 16 clients, some networks full. The networks."""
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

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))  # raises what a client was refused
    return networks


def states(client: Any) -> dict[str, int]:
    counts = {}
    for state in ("Running", "Stopped", "Starting"):
        told = client.ask("listVirtualMachines", listall="true", state=state, page=1, pagesize=1)
        counts[state] = int(told.get("count", 0))
    return counts


def really_running() -> int:
    """Guests that run in the simulated world, whatever the server believes."""
    rows = select(func.count()).select_from(SimulatedMachine).join(Vm, Vm.uuid == SimulatedMachine.machine)
    with db.reading() as session:
        return session.scalar(rows.where(SimulatedMachine.state == "Running", Vm.kind == "User")) or 0


def lose_all(server: Server, url: str, machines: int) -> float:
    """Every host's power goes, and comes back: seconds from then until all guests run."""
    fill._open(url, server.data)
    client = server.client()
    hosts = [h["id"] for h in client.ask("listHosts", type="Routing")["host"]]
    for host in hosts:
        client.ask("configureOutOfBandManagement", hostid=host, **BMC)
        client.job("enableOutOfBandManagementForHost", poll=0.02, hostid=host)
    for host in hosts:
        client.job("issueOutOfBandManagementPowerAction", poll=0.02, hostid=host, action="OFF")
    time.sleep(12)  # as long as a look at lost hosts takes: nothing must be fenced now
    fenced = client.ask("listAlerts", name="ALERT.HA.ACTION").get("alert", [])
    if lit := really_running():
        raise RuntimeError(f"{lit} guests run on hosts without power")
    print(f"  dark: {states(client)}; alerts: {[a['description'][:60] for a in fenced]}", flush=True)
    began, cpu = time.monotonic(), cpu_of(server.pid)
    for host in hosts:
        client.ask("issueOutOfBandManagementPowerAction", hostid=host, action="ON")
    last = began
    while (real := really_running()) < machines or states(client)["Running"] < machines:
        if time.monotonic() - began > 300:
            raise RuntimeError(f"{real} of {machines} guests run after 300 s; the server says {states(client)}")
        if time.monotonic() - last > 5:
            last = time.monotonic()
            print(f"  {time.monotonic() - began:5.1f} s {states(client)}, {real} really", flush=True)
        time.sleep(0.3)
    seconds = time.monotonic() - began
    print(f"  the server used {cpu_of(server.pid) - cpu:.1f} s of CPU for it", flush=True)
    db.disconnect()
    return seconds


def guests_on(client: Any, host: str) -> int:
    told = client.ask("listVirtualMachines", listall="true", hostid=host, page=1, pagesize=1)
    return int(told.get("count", 0))


def evacuate(server: Server, zone: dict[str, str], networks: list[str]) -> tuple[int, float]:
    """Fill a host until it has 50 guests, then empty it: how many there were, and seconds."""
    client = server.client()
    host = zone["hosts"].split(",")[0]
    # routers are on it too, and count
    client.ask("updateHypervisorCapabilities", hypervisor="Simulator", maxguestslimit=EVACUATED + len(networks))
    for n in range(guests_on(client, host), EVACUATED):
        client.job(
            "deployVirtualMachine", poll=0.02, zoneid=zone["zone"], templateid=zone["template"],
            serviceofferingid=zone["offering"], hostid=host, networkids=networks[n % len(networks)], name=f"e{n}",
        )  # fmt: skip
    there = guests_on(client, host)
    began = time.monotonic()
    client.job("prepareHostForMaintenance", poll=0.05, id=host)
    seconds = time.monotonic() - began
    if left := guests_on(client, host):
        raise RuntimeError(f"{left} of {there} guests are still on the host")
    client.job("cancelHostMaintenance", id=host)
    return there, seconds


def measure(kind: str, database: str, machines: int) -> None:
    print(f"\n{kind}: losses")
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "cloud", database=database)
        try:
            server.start()
            url = database or f"sqlite:///{folder}/cloud/cloud.db"
            zone = build(server, url, machines)
            began = time.monotonic()
            networks = deploy(server, zone, machines)
            print(f"  ({machines} machines deployed in {time.monotonic() - began:.0f} s)", flush=True)
            count, seconds = evacuate(server, zone, networks)
            say(f"evacuation of {count} guests", f"{seconds:.1f} s", f"<= 10 s for {EVACUATED}")
            total = states(server.client())["Running"]
            seconds = lose_all(server, url, total)
            say(f"{total} starts after a loss of power", f"{seconds:.1f} s", "<= 60 s for 1,000")
        finally:
            server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=1000)
    parser.add_argument("--database", default="")
    options = parser.parse_args()
    measure("MariaDB" if options.database else "SQLite", options.database, options.machines)


if __name__ == "__main__":
    main()
