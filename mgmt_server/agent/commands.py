"""What a host's agent can be asked: one table, and what stands behind each entry."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from mgmt_server.agent import accelerator, browsing, facts, firmware, shaping
from mgmt_server.agent.config import Config
from mgmt_server.agent.disks import Disks
from mgmt_server.agent.domain import Surroundings
from mgmt_server.agent.domain import build as build_domain
from mgmt_server.agent.guests import Guests
from mgmt_server.agent.heartbeat import Heartbeats
from mgmt_server.agent.maintenance import Scripts
from mgmt_server.agent.migration import LONGEST, Manner, Migration, Ready
from mgmt_server.agent.network import Network
from mgmt_server.agent.saving import Saving
from mgmt_server.agent.snapshots import Snapshots
from mgmt_server.agent.storage import Storage
from mgmt_server.agent.unmanaged import describe
from mgmt_server.agent.virt import Virt, told
from mgmt_server.agent.work import Command
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.protocol.codec import build, plain
from mgmt_server.protocol.machine import (
    Disk,
    File,
    HostFacts,
    HostStatistics,
    Image,
    Machine,
    MachineState,
    Move,
    Nic,
    Pool,
)
from mgmt_server.protocol.router import Applied, RouterDocument
from mgmt_server.systemvm import port

log = logging.getLogger(__name__)

GRACE = 60.0  # seconds that a guest has to follow the power button
ROUTER_PATIENCE = 180.0  # seconds for a router's agent to answer after its start


class Host:
    def __init__(self, config: Config, changed: Callable[[str], None] = lambda name: None) -> None:
        self.config = config
        self.boot_id = facts.boot_id()
        self.accelerator = accelerator.choose(config, self.boot_id)
        self.virt = Virt(config.libvirt, changed)
        self.storage = Storage(config)
        self.network = Network(config)
        self.meter = facts.Meter()
        self.guests = Guests(self.virt, self.storage, self.network)
        self.disks = Disks(self.storage, self.guests)
        self.saving = Saving(self.storage, self.guests)
        self.snapshots = Snapshots(self.guests)
        self.migration = Migration(self.guests, config.address or facts.own_address(config))
        self.scripts = Scripts(config.maintenance_scripts, config.state / "maintenance", self.boot_id)
        self.heartbeats = Heartbeats(config)
        self.heartbeats.follow(list(self.storage.pools.values()))

    def facts(self) -> HostFacts:
        return facts.gather(self.config, self.accelerator, self.virt.node())

    def statistics(self) -> HostStatistics:
        return self.meter.read(self.storage.spaces())

    # --- machines ---------------------------------------------------------------------------------------------------

    def start(self, machine: Machine) -> MachineState:
        running = self.virt.state(machine.name)
        if running.state == "Running" and running.uuid == machine.uuid:
            return running
        with self._described(machine) as xml:
            return self.virt.start(machine.name, machine.uuid, xml)

    def define(self, machine: Machine) -> None:
        with self._described(machine) as xml:
            self.virt.define(machine.name, machine.uuid, xml)

    @contextmanager
    def _described(self, machine: Machine) -> Iterator[str]:
        """What libvirt is told of a machine; its bridges are kept meanwhile."""
        machine = replace(machine, nics=shaping.bounded(machine.nics))
        log_file = self.console_log(machine.name)
        boot = firmware.choose(machine.boot_type, machine.boot_mode)
        disks = tuple(self.storage.source(d) for d in machine.disks)
        iso = self.storage.iso_source(machine.iso, machine.iso_pool) if machine.iso else ""
        backings = self.storage.backings(disks)
        with self.network.bridges(machine.nics) as bridges:
            host = Surroundings(
                *(self.accelerator, accelerator.emulator(), disks, tuple(bridges), log_file, iso, self.listen()),
                backings=backings,
                firmware=boot,
                speed=facts.cpu_speed(),
            )
            yield build_domain(machine, host)

    def console_log(self, name: str) -> str:
        path = self.config.logs / name / "console.log"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        return str(path)

    def listen(self) -> str:
        """Where the screens of machines are shown."""
        return self.config.vnc_listen or self.config.address or facts.own_address(self.config) or "127.0.0.1"

    def receive(self, machine: Machine, moves: tuple[Move, ...]) -> Ready:
        return self.migration.receive(machine, moves, self.console_log(machine.name), self.listen())

    def unreceive(self, machine: Machine, moves: tuple[Move, ...]) -> bool:
        gone = self.migration.unreceive(machine, moves)
        self._tidy()
        return gone

    def migrate(self, machine: Machine, moves: tuple[Move, ...], target: Ready, how: Manner) -> None:
        self.migration.migrate(machine, moves, target, how)
        self._tidy()

    def detach_nic(self, name: str, nic: Nic) -> None:
        self.guests.detach_nic(name, nic)
        self._tidy()

    def revert(self, machine: Machine, point: str) -> MachineState:
        return self.snapshots.revert(machine, point, self.console_log(machine.name), self.listen())

    def add_pool(self, pool: Pool) -> tuple[int, int]:
        space = self.storage.add_pool(pool)
        self.heartbeats.follow(list(self.storage.pools.values()))
        return space

    def remove_pool(self, pool: Pool) -> None:
        self.heartbeats.leave(pool)
        self.storage.remove_pool(pool)

    def stop(self, name: str, forced: bool, grace: float) -> None:
        self.virt.stop(name, forced=forced, grace=grace)
        self._tidy()

    def forget(self, name: str) -> None:
        self.virt.forget(name)
        self._tidy()

    def _tidy(self) -> None:
        try:
            self.network.remove_unused()
        except Failed as error:
            log.warning("bridges that nobody uses stay: %s", error)

    def configure_router(self, document: RouterDocument) -> Applied:
        """Hand the document over as soon as the router's agent answers."""
        end = time.monotonic() + ROUTER_PATIENCE
        while True:
            socket = self.virt.agent_socket(document.name)
            try:
                value = port.ask(socket, "router.configure", {"document": plain(document)}, min(60.0, ROUTER_PATIENCE))
                return build(Applied, value)
            except port.PortRefused as error:
                raise Failed(f"{document.name}: {error}") from None
            except port.PortError as error:
                if time.monotonic() >= end:
                    raise Unavailable(f"{document.name}: {error}") from None
            time.sleep(1)

    # --- the table --------------------------------------------------------------------------------------------------

    def commands(self) -> dict[str, Command]:
        found = self._questions() | self._of_machines() | self._of_running_machines() | self._of_storage()
        return {name: replace(each, run=_telling(each.run)) for name, each in found.items()}

    def _questions(self) -> dict[str, Command]:
        virt = self.virt
        return {
            "facts": Command(lambda body: self.facts()),
            "machines": Command(lambda body: virt.machines()),
            "statistics": Command(lambda body: self.statistics()),
            "machine_statistics": Command(lambda body: virt.statistics(build(list[str], body["names"], "names"))),
            "describe": Command(lambda body: describe(virt, self.storage)),
            "beats": Command(lambda body: self.heartbeats.ages(_pool(body))),
            "files": Command(lambda body: browsing.files(self.storage, _pool(body), build(str, body["folder"]))),
            "look": Command(
                lambda b: browsing.look(
                    self.storage, describe(virt, self.storage), _pool(b), build(list[str], b["names"])
                )
            ),
        }

    def _of_machines(self) -> dict[str, Command]:
        virt, snapshots = self.virt, self.snapshots
        return {
            "start": _machine(lambda b: self.start(_whole(b)), _whole_name),
            "stop": _machine(lambda b: self.stop(_name(b), bool(b.get("forced")), float(b.get("grace", GRACE))), _name),
            "reboot": _machine(lambda body: virt.reboot(_name(body)), _name),
            "forget": _machine(lambda body: self.forget(_name(body)), _name),
            "define": _machine(lambda b: self.define(_whole(b)), _whole_name),
            "receive": _machine(lambda b: self.receive(_whole(b), _moves(b)), _whole_name),
            "unreceive": _machine(lambda b: self.unreceive(_whole(b), _moves(b)), _whole_name),
            "received": _machine(lambda b: self.migration.received(_whole(b)), _whole_name),
            "migrate": _machine(
                lambda b: self.migrate(_whole(b), _moves(b), _ready(b), _manner(b)),
                _whole_name,
            ),
            "snapshot": _machine(lambda b: snapshots.take(_name(b), _point(b), bool(b.get("memory"))), _name),
            "revert": _machine(lambda b: self.revert(_whole(b), _point(b)), _whole_name),
            "delete_snapshot": _machine(lambda b: snapshots.delete(_name(b), _point(b)), _name),
            "maintain": Command(lambda b: self.scripts.run(*_of_stage(b)), lambda b: "maintenance", changes=True),
            "configure_router": _machine(
                lambda b: self.configure_router(build(RouterDocument, b["document"])), lambda b: b["document"]["name"]
            ),
        }

    def _of_running_machines(self) -> dict[str, Command]:
        guests = self.guests
        return {
            "attach_disk": _machine(lambda b: guests.attach_disk(_name(b), _disk(b)), _name),
            "detach_disk": _machine(lambda b: guests.detach_disk(_name(b), _disk(b)), _name),
            "attach_nic": _machine(lambda b: guests.attach_nic(_name(b), build(Nic, b["nic"])), _name),
            "detach_nic": _machine(lambda b: self.detach_nic(_name(b), build(Nic, b["nic"])), _name),
            "change_iso": _machine(
                lambda b: guests.change_iso(
                    _name(b), build(str, b["iso"], "iso"), _pool(b) if b.get("pool") is not None else None
                ),
                _name,
            ),
            "scale": _machine(
                lambda b: guests.scale(_name(b), *(build(int, b[n], n) for n in ("cpus", "speed", "memory"))), _name
            ),
        }

    def _of_storage(self) -> dict[str, Command]:
        storage, disks, saving = self.storage, self.disks, self.saving
        return {
            "add_pool": Command(lambda b: self.add_pool(_pool(b)), _pool_lane, changes=True),
            "remove_pool": Command(lambda b: self.remove_pool(_pool(b)), _pool_lane, changes=True),
            "cache_template": Command(
                lambda b: storage.cache_template(_pool(b), build(Image, b["image"])),
                lambda b: f"template {_pool(b).uuid} {b['image']['uuid']}",
                changes=True,
            ),
            "create_disk": Command(lambda b: storage.create_disk(_disk(b)), _disk_lane, changes=True),
            "delete_disk": Command(lambda b: disks.delete(_disk(b)), _disk_lane, changes=True),
            "resize_disk": Command(
                lambda b: disks.resize(_disk(b), build(int, b["size"], "size"), _user(b)), _disk_lane, changes=True
            ),
            "copy_disk": Command(
                lambda b: disks.copy(_disk(b, "source"), _disk(b, "target")),
                lambda b: _lane(_disk(b, "target")),
                changes=True,
            ),
            "move_disk": Command(
                lambda b: disks.move(_disk(b, "source"), _disk(b, "target"), _user(b)),
                lambda b: f"machine {_user(b)}",
                changes=True,
            ),
            "settle_disk": Command(
                lambda b: disks.settle(_disk(b, "source"), _disk(b, "target"), _user(b)),
                lambda b: f"machine {_user(b)}",
                changes=True,
            ),
            "limit_disk": Command(
                lambda b: self.guests.limit_disk(_disk(b), _user(b)), lambda b: f"machine {_user(b)}", changes=True
            ),
            "save_disk": Command(
                lambda b: saving.save(_disk(b), _user(b), build(File, b["file"]), b.get("since", ""), _point(b)),
                _disk_lane,
                changes=True,
            ),
            "save_point": Command(
                lambda b: saving.save_point(_disk(b), build(File, b["file"]), _point(b)), _disk_lane, changes=True
            ),
            "forget_point": Command(lambda b: saving.forget(_disk(b), _user(b), _point(b)), _disk_lane, changes=True),
            "check_disk": Command(
                lambda b: browsing.check(storage, _disk(b), build(str, b["repair"])), _disk_lane, changes=True
            ),
            "load_disk": Command(
                lambda b: disks.load(_disk(b), build(tuple[Image, ...], b["chain"], "chain")), _disk_lane, changes=True
            ),
        }


def _telling(run_it: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Whatever was under way when libvirt went away: it is away then, and nothing failed for good."""

    def carry_out(body: Any) -> Any:
        with told():
            return run_it(body)

    return carry_out


def _machine(run_it: Callable[[Any], Any], name: Callable[[Any], str]) -> Command:
    return Command(run_it, lambda body: f"machine {name(body)}", changes=True)


def _name(body: Any) -> str:
    return build(str, body["name"], "name")


def _pool(body: Any) -> Pool:
    return build(Pool, body["pool"])


def _pool_lane(body: Any) -> str:
    return f"pool {_pool(body).uuid}"


def _whole(body: Any) -> Machine:
    return build(Machine, body["machine"])


def _whole_name(body: Any) -> str:
    return build(str, body["machine"]["name"], "name")


def _ready(b: Any) -> Ready:
    return build(Ready, b["target"], "target")


def _manner(b: Any) -> Manner:
    return Manner(float(b.get("seconds") or LONGEST), bool(b.get("converge")))


def _moves(body: Any) -> tuple[Move, ...]:
    return build(tuple[Move, ...], body["moves"], "moves")


def _point(body: Any) -> str:
    return build(str, body["point"], "point")


def _user(body: Any) -> str:
    """The machine that runs with a disk."""
    return build(str, body.get("machine", ""), "machine")


def _disk(body: Any, name: str = "disk") -> Disk:
    return build(Disk, body[name], name)


def _of_stage(body: Any) -> tuple[str, str, str, int]:
    run, stage, payload = (build(str, body[n], n) for n in ("run", "stage", "payload"))
    return run, stage, payload, build(int, body["seconds"], "seconds")


def _disk_lane(body: Any) -> str:
    """A disk in use is in its machine's lane."""
    return f"machine {_user(body)}" if _user(body) else _lane(_disk(body))


def _lane(disk: Disk) -> str:
    return f"disk {disk.pool.uuid} {disk.name}"
