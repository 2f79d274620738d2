"""What the bench measures against: a zone of simulated hosts, and tens of thousands of machines."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, update

from mgmt_server import db
from mgmt_server.config import decoded
from mgmt_server.db import new_uuid, now
from mgmt_server.db.secrets import unlock
from mgmt_server.model import everything
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.offering import ServiceOffering
from mgmt_server.model.simulator import SimulatedMachine
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Zone
from tests.simulated import GIB, simulated_zone

HOSTS = 400


def _open(url: str, data: Path) -> None:
    import mgmt_server.jobs.rows  # noqa: F401

    everything()
    unlock(decoded((data / "secret.key").read_text(), "the bench's key"))
    db.connect(url)


def prepare(url: str, data: Path, client: Any) -> dict[str, str]:
    """Hosts, pool, template and one network, with a first machine in it."""
    _open(url, data)
    zone = db.write(lambda tx: simulated_zone(tx, hosts=HOSTS, memory=2048 * GIB, cpu=4_000_000))
    db.disconnect()
    zone["offering"] = client.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    name = "DefaultIsolatedNetworkOfferingWithSourceNatService"
    offering = client.ask("listNetworkOfferings", name=name)["networkoffering"][0]["id"]
    zone["network"] = client.ask(
        "createNetwork", name="bench", zoneid=zone["zone"], networkofferingid=offering, gateway="10.8.0.1",
        netmask="255.255.0.0",
    )["network"]["id"]  # fmt: skip
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": zone["offering"]}
    client.job("deployVirtualMachine", networkids=zone["network"], **sent)
    return zone


def machines(url: str, data: Path, count: int) -> None:
    """Write so many running machines with disk and NIC straight into the database."""
    _open(url, data)
    with db.reading() as session:
        zone = session.scalar(select(Zone.id))
        hosts = [(h.id, h.uuid) for h in session.scalars(select(Host))]
        network = session.scalar(select(Network).where(Network.name == "bench"))
        offering = session.scalar(select(ServiceOffering.id).where(ServiceOffering.name == "Small Instance"))
        template = session.scalar(select(Template).where(Template.type == "BUILTIN"))
        first = (session.scalar(select(Vm.id).order_by(Vm.id.desc()).limit(1)) or 0) + 1000
    for start in range(0, count, 2500):
        numbers = range(first + start, first + min(start + 2500, count))
        db.write(_rows, list(numbers), zone, hosts, network, offering, template)
    db.disconnect()


def _rows(
    tx: Any, numbers: list[int], zone: int, hosts: list[tuple[int, str]], network: Any, offering: int, template: Any
) -> None:
    common = {"account_id": 2, "domain_id": 1, "created": now(), "zone_id": zone}
    uuids = {n: new_uuid() for n in numbers}
    tx.execute(  # what the hosts would say of them: else the server finds them missing, and starts them elsewhere
        insert(SimulatedMachine),
        [
            {"uuid": new_uuid(), "created": now(), "name": f"i-2-{n}-VM", "host": hosts[n % len(hosts)][1],
             "machine": uuids[n], "state": "Running", "memory": 512 << 20, "call": "", "disks": [], "nics": [],
             "points": {}}
            for n in numbers
        ],
    )  # fmt: skip
    tx.execute(
        insert(Vm),
        [
            {"id": n, "uuid": uuids[n], "name": f"vm-{n}", "display_name": f"vm-{n}",
             "kind": "User", "state": "Running", "host_id": hosts[n % len(hosts)][0], "reserved": True,
             "service_offering_id": offering, "template_id": template.id,
             "os_type_id": template.os_type_id, "hypervisor": "Simulator", "cpus": 1, "speed": 500, "memory": 512,
             "user_id": 2, "details": {}, "statistics": {}, "state_changed": now(), **common}
            for n in numbers
        ],
    )  # fmt: skip
    tx.execute(
        insert(Volume),
        [
            {"uuid": new_uuid(), "name": f"ROOT-{n}", "kind": "ROOT", "size": 2 * GIB, "vm_id": n, "device": 0,
             "slot": 0, "state": "Ready", "template_id": template.id, "details": {}, **common}
            for n in numbers
        ],
    )  # fmt: skip
    tx.execute(
        insert(Nic),
        [
            {"uuid": new_uuid(), "created": now(), "vm_id": n, "network_id": network.id, "device": 0,
             "is_default": True,
             "mac": f"02:01:{n >> 24 & 255:02x}:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}",
             "address": f"10.99.{n >> 8 & 255}.{n & 255}", "netmask": "255.255.0.0", "gateway": "10.8.0.1",
             "broadcast": network.broadcast, "traffic": "Guest"}
            for n in numbers
        ],
    )  # fmt: skip


def _nothing_used(tx: Any) -> None:
    """The hosts' figures as if no machine were there: the server's own recount may have put them right meanwhile."""
    tx.execute(update(Host).values(cpu_used=0, memory_used=0, machines=0))


def measure_placements(url: str, data: Path, say: Callable[..., None], seconds: float = 5, workers: int = 16) -> None:
    """Host capacity taken by many at once: candidates, choice, conditional UPDATE, each in a transaction."""
    from mgmt_server.allocation import hosts
    from mgmt_server.allocation.hosts import Need

    _open(url, data)
    db.write(_nothing_used)
    with db.reading() as session:
        zone = session.scalar(select(Zone.id))
    need = Need(zone, "Simulator", 1, 2**20)
    counts = [0] * workers
    end = time.monotonic() + seconds

    def place(tx: Any) -> bool:
        return any(hosts.take(tx, h.id, need.cpu, need.memory) for h in hosts.candidates(tx, need))

    def work(number: int) -> None:
        while time.monotonic() < end:
            counts[number] += db.write(place)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say(f"placements, {workers} threads", f"{sum(counts) / seconds:.0f}/s", ">= 500/s")
    db.disconnect()


def measure_recount(url: str, data: Path, count: int, say: Callable[..., None]) -> None:
    """What so many machines hold, counted anew where every host's figures are wrong. The server must be stopped."""
    from mgmt_server.allocation import recount

    _open(url, data)
    db.write(_nothing_used)
    began = time.perf_counter()
    found = len(recount.wrong())
    looked = time.perf_counter() - began
    repairs = recount.repair_all()
    seconds = time.perf_counter() - began - looked
    counted = sum(r.real[2] for r in repairs)
    if counted < count or len(repairs) != found or recount.wrong():
        raise RuntimeError(f"{counted} machines counted, {found} hosts found wrong, {len(repairs)} put right")
    say(f"recount of {counted} machines", f"{seconds:.2f} s", "<= 5 s for 25,000")
    say("", f"{looked:.2f} s to look, {len(repairs)} hosts put right")
    db.disconnect()


def agents(say: Callable[..., None], count: int) -> None:
    from tests.agent.load import measure

    print(f"\nAgents over the real channel, {count} of them")
    found = measure(count)
    for name, value in found.items():
        say(name, f"{value:.2f}" if isinstance(value, float) else str(value))
    say("goals", "", "<= 60 KiB, <= 3 % idle")


def modules(say: Callable[..., None]) -> None:
    from tests.collection.bench_loop import figures
    from tests.collection.servers import simulator

    print("\nAnsible: 50 entities in one looped task")
    with tempfile.TemporaryDirectory() as folder, simulator(Path(folder)) as server:
        for name, value in figures(server).items():
            say(name, f"{value:.1f} ms", "" if name.endswith("start_ms") else "<= 35 ms each")
