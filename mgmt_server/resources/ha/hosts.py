"""A host that is lost: is it dead, and is that proven? Only then do its machines start elsewhere.

Two things prove it: its management controller says that the power is off, or its sign of life in storage that others
see too is old. A host with high availability is switched off first, so that there is a proof. A host whose sign of life
is fresh lives, whoever cannot reach it. When more than half of a zone is lost at once, it is rather this server that
has lost its network: nothing is fenced, and an alert says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid5

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from mgmt_server.db import now
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import ApiError
from mgmt_server.jobs import Job, enqueue
from mgmt_server.jobs.queue import LEASE
from mgmt_server.jobs.rows import Node
from mgmt_server.model.ha import HostHa
from mgmt_server.model.host import STATES, Host
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.storage import Pool, PoolHost
from mgmt_server.model.vm import Vm
from mgmt_server.protocol import machine
from mgmt_server.resources.alert.telling import Condition, lasts, over
from mgmt_server.resources.ha import guests, rows
from mgmt_server.resources.outofband import rows as controllers
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.vm.elsewhere import instance_of

SUSPECT = Setting(
    "kvm.ha.health.check.timeout", "Seconds without a sign of life after which a host is suspected", least=1
)
FENCE = Setting("kvm.ha.fence.timeout", "Seconds that switching a host off may take", least=1)
BEATS = Setting(
    "ha.heartbeat.timeout",
    "Age in seconds from which a host's sign of life in shared storage proves that it is dead",
    type="Integer", default="60", scopes=("Cluster",), least=20,
)  # fmt: skip
PROOF = Setting(
    "ha.proof",
    "What proves that a host is dead: power (its controller says off), heartbeat (its sign of life is old)",
    type="String", default="either", scopes=("Cluster",), options=("either", "power", "heartbeat", "both"),
)  # fmt: skip
COMING = timedelta(seconds=75)  # until all agents have found a server that has just started: they try once a minute
GONE = ("Down", "Disconnected", "Alert")


@dataclass(frozen=True)
class Witness:
    """A host that is up, and a pool that it shares with the lost one."""

    host: HostRef
    pool: machine.Pool


@dataclass(frozen=True)
class Case:
    """All that is asked of the outside world about a lost host."""

    uuid: str
    witnesses: tuple[Witness, ...]
    old: int  # seconds from which a sign of life is old


@dataclass(frozen=True)
class Signs:
    power: str  # On, Off, Unknown; empty: there is no controller
    youngest: float | None  # age of its youngest sign of life in seconds; None: nobody tells
    told: tuple[str, ...] = ()  # what went wrong while asking


def lost() -> ColumnElement[bool]:
    """Hosts that do not answer. One that is in Alert because a pool of its fails is there."""
    found: ColumnElement[bool] = (
        Host.removed.is_(None) & (Host.type == "Routing") & Host.state.in_(GONE) & Host.disconnected.is_not(None)
    )
    return found


def investigate(job: Job, host_id: int) -> None:
    """One look at a lost host, and what follows from it."""
    case = job.write(suspect, host_id)
    if case is None:
        return
    signs = job.call(look, host_id, case)
    verdict = job.write(judged, host_id, case, signs)
    if verdict == "fence":
        signs = job.call(fence, host_id, case, signs)
        verdict = job.write(fenced, host_id, case, signs)
    if verdict == "dead":
        job.write(released, host_id, proof_of(case, signs, ""))


def _is_lost(host: Host) -> bool:
    return host.removed is None and host.state in GONE and host.disconnected is not None


def suspect(tx: Session, host_id: int) -> Case | None:
    """What to look at; None for a host that is back, or in a zone where too much is lost."""
    host = tx.get_one(Host, host_id, populate_existing=True)
    since = host.disconnected
    if not _is_lost(host) or since is None:
        return None
    cluster = Scope("Cluster", host.cluster_id)
    if since > now() - timedelta(seconds=SUSPECT.number(cluster)):
        return None
    if host.hypervisor == "KVM" and _just_started(tx):
        return None
    row = rows.kept(tx, host_id)
    rows.lost(row, since.isoformat(timespec="milliseconds"))
    rows.note(row, "suspected")
    rows.move(tx, host, row, "Suspect", f"no sign of it since {since:%H:%M:%S} UTC")
    told = too_many(tx, host.zone_id)
    if told:
        rows.note(row, "held back", why=told)
        where = {"zone_id": host.zone_id}
        lasts(tx, f"ha:zone:{host.zone_id}", Condition("ALERT.HA.ACTION", told, "", **where))
        return None
    over(tx, f"ha:zone:{host.zone_id}")
    return Case(host.uuid, tuple(_witnesses(tx, host)), BEATS.number(cluster))


def _just_started(tx: Session) -> bool:
    """Whether no server has been there for long: hosts that live may not have found one yet."""
    since = tx.scalar(select(func.min(Node.started)).where(Node.heartbeat > now() - LEASE))
    return since is None or since > now() - COMING


def too_many(tx: Session, zone_id: int) -> str:
    """Why nothing is fenced in a zone now, or nothing. Hosts that are fenced already do not count."""
    here = (
        select(Host.state, Host.disconnected, HostHa.state)
        .outerjoin(HostHa, HostHa.host_id == Host.id)
        .where(Host.zone_id == zone_id, Host.removed.is_(None), Host.type == "Routing")
        .where(Host.resource_state.in_(("Enabled", "Disabled", "PrepareForMaintenance", "ErrorInMaintenance")))
    )
    found = [(s, gone) for s, gone, ha in tx.execute(here) if ha != "Fenced"]
    away = sum(1 for s, gone in found if s in GONE and gone is not None)
    if away * 2 <= len(found):
        return ""
    return (
        f"{away} of {len(found)} hosts of the zone are lost at once: more likely this server has lost its network. "
        "Nothing is fenced and nothing starts elsewhere until half of them are back"
    )


def _witnesses(tx: Session, host: Host) -> list[Witness]:
    """For each shared pool of the lost host, one other host that is up and reaches it."""
    mine = select(PoolHost.pool_id).where(PoolHost.host_id == host.id)
    others = (
        select(Pool, Host)
        .join(PoolHost, PoolHost.pool_id == Pool.id)
        .join(Host, Host.id == PoolHost.host_id)
        .where(Pool.id.in_(mine), Pool.scope != "HOST", Pool.removed.is_(None))
        .where(Host.state == "Up", Host.removed.is_(None), Host.id != host.id)
        .order_by(Pool.id, Host.id)
    )
    found: dict[int, Witness] = {}
    for pool, other in tx.execute(others):
        found.setdefault(pool.id, Witness(storage.ref(other), storage.as_seen(pool)))
    return list(found.values())


def look(call: UUID, host_id: int, case: Case) -> Signs:
    """Ask the controller and the witnesses. Who does not answer proves nothing."""
    ages, told = [], []
    for witness in case.witnesses:
        try:
            age = disks.beats(witness.host, witness.pool).get(case.uuid)
        except ApiError as error:
            told.append(f"{witness.host.name} cannot tell: {error}")
            continue
        if age is not None:
            ages.append(age)
    power = controllers.status(uuid5(call, "power"), host_id)
    return Signs(power, min(ages) if ages else None, tuple(told))


def proof_of(case: Case, signs: Signs, policy: str) -> str:
    """What proves that the host is dead, in words; empty when nothing does. No policy: all that speaks for it."""
    off = "its power is off" if signs.power == "Off" else ""
    silent = signs.youngest is not None and signs.youngest >= case.old
    old = f"its last sign of life in shared storage is {signs.youngest:.0f} s old" if silent else ""
    if policy == "power":
        return off
    if policy == "heartbeat":
        return old
    if policy == "both" and not (off and old):
        return ""
    return " and ".join(p for p in (off, old) if p)


def could_prove(policy: str, power: bool, life: bool) -> bool:
    """Whether a policy can ever be met, where a controller tells of the power, and shared storage of signs of life."""
    enough = {"power": power, "heartbeat": life, "both": power and life}
    return enough.get(policy, power or life)


def judged(tx: Session, host_id: int, case: Case, signs: Signs) -> str:
    """dead, fence or wait."""
    host = tx.get_one(Host, host_id, populate_existing=True)
    if not _is_lost(host):
        return "wait"
    row = rows.kept(tx, host_id)
    policy = policy_of(host)
    fresh = signs.youngest is not None and signs.youngest < case.old / 2
    # without a sign of life that can grow old, `both` is never met: its machines would be off for nothing
    useful = policy != "heartbeat" and (policy != "both" or signs.youngest is not None)
    if signs.power not in ("", "Off") and rows.is_on(tx, host) and useful and not fresh:
        rows.note(row, "fencing")
        rows.move(tx, host, row, "Fencing", "it is switched off")
        return "fence"
    if proof_of(case, signs, policy):
        return "dead"
    if signs.youngest is not None and signs.youngest < case.old and signs.power != "Off":
        age = f"{signs.youngest:.0f} s"
        rows.note(row, "alive")
        rows.move(tx, host, row, "Degraded", f"it wrote to shared storage {age} ago")
        if fresh and _gone_for(host) > case.old:
            text = f"Host {host.name} cannot be reached, and lives: it wrote to shared storage {age} ago"
            _tell(tx, host, text, "Its machines run on there. Look at its network and its agent.")
        return "wait"
    return _unproven(tx, host, row, case, signs)


def _gone_for(host: Host) -> float:
    return (now() - host.disconnected).total_seconds() if host.disconnected else 0.0


def policy_of(host: Host) -> str:
    return PROOF.text(Scope("Cluster", host.cluster_id))


def _unproven(tx: Session, host: Host, row: HostHa, case: Case, signs: Signs) -> str:
    lacks = []
    if not signs.power:
        lacks.append("it has no management controller that may be used")
    elif signs.power != "Off":
        lacks.append(f"its controller says that the power is {signs.power}")
    if not case.witnesses:
        lacks.append("no other host that is up shares storage with it")
    elif signs.youngest is None:
        lacks.append("nobody has seen a sign of life of it in shared storage")
    elif signs.youngest < case.old:
        lacks.append(f"it wrote to shared storage less than {case.old} s ago")
    lacks += signs.told
    rows.note(row, "unproven", why="; ".join(lacks)[:500])
    text = f"Host {host.name} is lost, and nothing proves that it is dead: its machines are not started elsewhere"
    help_ = "If you know that it is off, call declareHostAsDegraded; then they start."
    _tell(tx, host, text, f"{'; '.join(lacks)}. {help_}")
    return "wait"


def _tell(tx: Session, host: Host, subject: str, content: str) -> None:
    where = {"zone_id": host.zone_id, "pod_id": host.pod_id, "cluster_id": host.cluster_id}
    lasts(tx, f"ha:host:{host.id}", Condition("ALERT.HA.ACTION", subject, content, **where))


def fence(call: UUID, host_id: int, case: Case, signs: Signs) -> Signs:
    """Switch the host off, and hear that it is."""
    try:
        power = controllers.act(call, host_id, "OFF", FENCE.number())
    except ApiError as error:
        return Signs("Unknown", signs.youngest, (*signs.told, str(error)))
    return Signs(power, signs.youngest, signs.told)


def fenced(tx: Session, host_id: int, case: Case, signs: Signs) -> str:
    host = tx.get_one(Host, host_id, populate_existing=True)
    row = rows.kept(tx, host_id)
    if proof_of(case, signs, policy_of(host)) and _is_lost(host):
        return "dead"
    off = signs.power == "Off"
    why = "it is off, and nothing else proves that it is dead" if off else "it could not be switched off"
    rows.move(tx, host, row, "Suspect", why)
    return _unproven(tx, host, row, case, signs)


def released(tx: Session, host_id: int, proof: str) -> None:
    """The host is dead: each of its machines is laid down by a job of its own, and starts elsewhere if it should."""
    host = tx.get_one(Host, host_id, populate_existing=True)
    if not _is_lost(host):
        return
    row = rows.kept(tx, host_id)
    rows.note(row, "fenced", proof=proof)
    rows.move(tx, host, row, "Fenced", proof)
    if host.state != "Down":
        STATES.move(tx, host_id, host.state, "Down")
    over(tx, f"ha:host:{host_id}")
    rows.note(row, "released", guests=let_go(tx, host, f"died with its host {host.name} ({proof})"))


def let_go(tx: Session, host: Host, why: str) -> int:
    """Queue the laying down of every machine of a host: how many. System VMs first, because others need them."""
    there = select(Vm).where(Vm.host_id == host.id, Vm.removed.is_(None), Vm.state.in_(guests.LIVELY))
    found = list(tx.scalars(there.order_by(Vm.kind == "User", Vm.id)))
    for vm in found:
        enqueue(tx, guests.bury, (vm.id, host.id, why), lock=f"vm:{vm.id}", instance=instance_of(vm))
    return len(found)
