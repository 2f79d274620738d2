"""What hosts say unasked: a guest that shut itself down, a machine that somebody started by hand."""

from __future__ import annotations

import logging
import re
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.db import Conflict, write
from mgmt_server.jobs import enqueue
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.model.host import Host
from mgmt_server.model.vm import Vm
from mgmt_server.protocol.machine import MachineState
from mgmt_server.resources.alert.telling import STRAY, Condition, lasts, over, tell
from mgmt_server.resources.host.link import on_machines
from mgmt_server.resources.vm import elsewhere, seeking
from mgmt_server.resources.vm.telling import note

log = logging.getLogger("cloudwright.power")
UNMANAGED = "unmanaged"  # in the host's details: names of machines that are not ours


@on_machines
def reported(host_id: int, states: list[MachineState], asked: datetime | None = None) -> None:
    """Bring machines in line with what their host says. A machine that a job works on is left to its job.

    `asked`: these are all that the host had at that moment: what is missing, it has no more.
    """
    try:
        write(_apply, host_id, states, asked)
    except Conflict as conflict:
        log.info("a report of host %s came too late: %s", host_id, conflict)


def _apply(tx: Session, host_id: int, states: list[MachineState], asked: datetime | None) -> None:
    host = tx.scalar(select(Host).where(Host.id == host_id, Host.removed.is_(None)))
    if host is None or (not states and asked is None):
        return
    uuids = [s.uuid for s in states if s.uuid]
    names = [s.name for s in states if not s.uuid]  # of one that is gone its name alone is left
    numbers = [n for n in map(_number, names) if n]
    called = Vm.called.in_(names) & (Vm.host_id == host_id)
    rows = tx.scalars(select(Vm).where(Vm.uuid.in_(uuids) | Vm.id.in_(numbers) | called).order_by(Vm.removed.is_(None)))
    known = {key: v for v in rows for key in (v.uuid, v.instance)}
    missing = _missing(tx, host, set(known), asked) if asked is not None else []
    locks = sorted({f"vm:{v.id}" for v in (*known.values(), *missing)})
    busy = set(tx.scalars(select(JobRow.lock).where(JobRow.lock.in_(locks), JobRow.state.in_(OPEN))))
    free = [v for v in missing if f"vm:{v.id}" not in busy]
    seeking.lay_down(tx, free, host, f"is no longer on {host.name}")
    strangers, dead = [], []
    for state in states:
        vm = known.get(state.uuid or state.name)
        if vm is None or vm.removed is not None:
            if state.state != "Stopped":
                strangers.append(state.name)
            elif vm is not None and asked is not None and vm.uuid == state.uuid and f"vm:{vm.id}" not in busy:
                elsewhere.take_away(tx, vm, host, state.name)
        elif f"vm:{vm.id}" not in busy and (asked is None or vm.state_changed is None or vm.state_changed < asked):
            former = state.name != vm.instance and _number(state.name) == vm.id
            if state.state == "Stopped" and vm.state == "Running" and vm.host_id == host.id and not former:
                dead.append(vm)
            elif state.state == "Stopped" and asked is not None and vm.uuid == state.uuid:
                elsewhere.take_away(tx, vm, host, state.name)
            else:
                _align(tx, host, vm, state.state)
    seeking.lay_down(tx, dead, host, f"stopped by itself on {host.name}")
    if strangers:
        before = set(host.details.get(UNMANAGED, "").split(",")) - {""}
        if set(strangers) - before:
            host.details = {**host.details, UNMANAGED: ",".join(sorted(before | set(strangers)))}
            _alert(tx, host, f"{host.name} runs machines that this cloud did not start: {', '.join(sorted(strangers))}")


def _missing(tx: Session, host: Host, found: set[str], asked: datetime) -> list[Vm]:
    """Machines that should run there and are not among those that the host has."""
    rows = select(Vm).where(Vm.host_id == host.id, Vm.state == "Running", Vm.removed.is_(None))
    rows = rows.where(Vm.state_changed.is_(None) | (Vm.state_changed < asked))
    return [v for v in tx.scalars(rows) if v.uuid not in found]


def _number(name: str) -> int:
    """The machine's number in an instance name; 0 for a name that is not ours."""
    match = re.fullmatch(r"[irvs](?:-\d+)?-(\d+)-VM", name)
    return int(match[1]) if match else 0


def _align(tx: Session, host: Host, vm: Vm, state: str) -> None:
    where: tuple[int, int | None, int | None] = (host.zone_id, host.pod_id, host.cluster_id)
    name = vm.display_name or vm.name
    if vm.state == "Running" and vm.host_id == host.id:
        if state == "Paused":
            text = f"{name} is paused on {host.name}: nobody here did that"
            if lasts(
                tx, f"paused:{vm.id}", Condition("ALERT.USERVM", text, "Its storage may be full or away.", *where)
            ):
                note(tx, vm, "VM.STOP", text)
        else:
            over(tx, f"paused:{vm.id}")
    elif vm.state == "Stopped" and state == "Running":
        text = f"{name} runs on {host.name} though it should be stopped"
        if lasts(tx, f"{STRAY}:{vm.id}", Condition("ALERT.USERVM", text, "Stop it, or destroy it.", *where)):
            vm.last_host_id = host.id  # where whoever stops it finds it
            note(tx, vm, "VM.START", text)
    elif vm.state == "Running" and state == "Running" and vm.host_id is not None:
        instance = ("VirtualMachine", vm.uuid)
        enqueue(tx, elsewhere.look, (vm.id, host.id), lock=f"vm:{vm.id}", instance=instance)


def _alert(tx: Session, host: Host, text: str) -> None:
    tell(tx, "ALERT.USERVM", text, zone_id=host.zone_id, pod_id=host.pod_id, cluster_id=host.cluster_id)
