"""Rolling maintenance: hosts are emptied, worked on by their own scripts and taken back, one after the other.

Each host has its scripts (agent/maintenance.py) for PreFlight, PreMaintenance, Maintenance and PostMaintenance. Before
anything is touched it is seen whether the machines of every host have room elsewhere, and every PreFlight is run.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import hosts, hypervisors, refusal
from mgmt_server.api.view import date
from mgmt_server.db import now
from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.errors import ApiError
from mgmt_server.jobs import Job
from mgmt_server.jobs.flow import Child
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Setting
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Cluster
from mgmt_server.protocol.machine import StageResult
from mgmt_server.resources.host import maintenance
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.vm import target as targets
from mgmt_server.resources.vm.release import spoken

STAGE = Setting(
    "kvm.rolling.maintenance.stage.timeout",
    "Seconds that a script of a host may take for a stage of its rolling maintenance, where the call does not say",
    least=1,
    most=86400,
)
PATIENCE = Setting(
    "kvm.rolling.maintenance.wait.maintenance.timeout",
    "Seconds that a host has to be emptied in a rolling maintenance",
    least=1,
    most=86400,
)
NOT_NEEDED = 70  # exit status of a script by which a host is left as it is


@dataclass(frozen=True)
class Asked:
    """`kind`: of which the numbers are: Zone, Pod, Cluster or Host."""

    kind: str
    numbers: tuple[int, ...]
    forced: bool
    payload: str
    timeout: int


@dataclass(frozen=True)
class One:
    """A host, and why it is left out."""

    id: int
    ref: HostRef
    reason: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a script did; `error` says what went wrong, with it or on the way to it."""

    stages: tuple[str, ...] = ()
    status: int = 0
    output: str = ""
    error: str = ""


@dataclass(frozen=True)
class Done:
    """What became of a host. `reason`: why it was left out, or `failed`."""

    output: str = ""
    reason: str = ""
    failed: bool = False


def rolling(job: Job, zone_id: int, asked: Asked) -> None:
    """Answers which hosts were worked on and which were not. Without `forced` it ends at the first that fails."""
    found = job.write(chosen, asked)
    skipped = [_skipped(one, one.reason) for one in found if one.reason]
    updated: list[dict[str, str]] = []
    ready, error = _before(job, [one for one in found if not one.reason], asked, skipped)
    for one, stages in ready if not error else []:
        began = job.write(moment)
        done = _work_on(job, one, stages, asked)
        if done.reason:
            skipped.append(_skipped(one, done.reason))
        else:
            dates = {"startdate": date(began), "enddate": date(job.write(moment))}
            updated.append({"hostid": one.ref.uuid, "hostname": one.ref.name, **dates, "output": done.output})
        if done.failed and not asked.forced:
            error = f"{one.ref.name}: {done.reason}"
            break
    job.answer(success=not error, details=error or "OK", hostsupdated=updated, hostsskipped=skipped)


def _skipped(one: One, reason: str) -> dict[str, str]:
    return {"hostid": one.ref.uuid, "hostname": one.ref.name, "reason": reason}


def _before(
    job: Job, found: list[One], asked: Asked, skipped: list[dict[str, str]]
) -> tuple[list[tuple[One, tuple[str, ...]]], str]:
    """Hosts that can be worked on, with the stages for which they have scripts; and what speaks against all of it."""
    ready = []
    for one in found:
        reason = job.write(lacking, one.id)
        outcome = Outcome(error=reason) if reason else _stage(job, one, "PreFlight", asked)
        if outcome.error and not asked.forced:
            return [], f"{one.ref.name}: {outcome.error}. Nothing was begun"
        if outcome.error:
            skipped.append(_skipped(one, outcome.error))
        elif outcome.status == NOT_NEEDED:
            skipped.append(_skipped(one, "its script for PreFlight says that no maintenance is needed"))
        else:
            ready.append((one, outcome.stages))
    return ready, ""


def _work_on(job: Job, one: One, stages: tuple[str, ...], asked: Asked) -> Done:
    """PreMaintenance; then, where there is a script for it, Maintenance while the host is empty; PostMaintenance."""
    said = []
    before = _stage(job, one, "PreMaintenance", asked)
    if before.error:
        return Done(reason=before.error, failed=True)
    if before.status == NOT_NEEDED:
        return Done(reason="its script for PreMaintenance says that no maintenance is needed")
    said.append(before.output)
    if "Maintenance" in stages:
        patience = job.write(seconds)
        told = job.wait_all(
            [Child(maintenance.into_maintenance, (one.id, patience), f"host:{one.id}", ("Host", one.ref.uuid))]
        )
        if told:
            return Done(reason=f"it could not be emptied: {told[0]}", failed=True)
        during = _stage(job, one, "Maintenance", asked)
        if during.error:
            return Done(reason=f"{during.error}. The host stays in maintenance", failed=True)
        said.append(during.output)
        out = Child(maintenance.out_of_maintenance, (one.id,), f"host-open:{one.id}", ("Host", one.ref.uuid))
        told = job.wait_all([out])
        if told:
            return Done(reason=f"it could not be taken out of maintenance: {told[0]}", failed=True)
    after = _stage(job, one, "PostMaintenance", asked)
    if after.error:
        return Done(reason=after.error, failed=True)
    return Done(output="\n".join(text.strip() for text in (*said, after.output) if text.strip()))


def _stage(job: Job, one: One, stage: str, asked: Asked) -> Outcome:
    return job.call(run, one.ref, stage, asked.payload, asked.timeout)


def run(call: UUID, host: HostRef, stage: str, payload: str, timeout: int) -> Outcome:
    """A script that fails, or a host that does not answer, is an answer too: others go on."""
    try:
        found = dispatch.maintain(call, host, stage, payload, timeout)
    except ApiError as error:
        return Outcome(error=f"{stage}: {error}")
    return Outcome(found.stages, found.status, found.output, _wrong(stage, found, timeout))


def _wrong(stage: str, found: StageResult, timeout: int) -> str:
    if found.status == 0 or (found.status == NOT_NEEDED and stage in ("PreFlight", "PreMaintenance")):
        return ""
    if found.status in (124, 137):
        return f"its script for {stage} took longer than {timeout} s and was ended"
    said = found.output.strip()[-500:] or "it said nothing"
    return f"its script for {stage} failed with status {found.status}: {said}"


def chosen(tx: Session, asked: Asked) -> list[One]:
    """The hosts in order, cluster by cluster, those that cannot be worked on with the reason."""
    column = {"Zone": Host.zone_id, "Pod": Host.pod_id, "Cluster": Host.cluster_id, "Host": Host.id}[asked.kind]
    rows = select(Host).where(column.in_(asked.numbers), Host.removed.is_(None), Host.type == "Routing")
    found = []
    for host in tx.scalars(rows.order_by(Host.cluster_id, Host.id)):
        wrong = [s for s, wanted in ((host.state, "Up"), (host.resource_state, "Enabled")) if s != wanted]
        found.append(One(host.id, storage.ref(host), f"it is {wrong[0]}" if wrong else ""))
    return found


def lacking(tx: Session, host_id: int) -> str:
    """Which machine of the host would find no place in its cluster while the host is empty; nothing: all would."""
    host = tx.get_one(Host, host_id)
    cluster = tx.get_one(Cluster, host.cluster_id)
    promised: Counter[tuple[int, str]] = Counter()
    moving = maintenance.machines_of(tx, host_id)
    for vm in sorted(moving, key=lambda vm: -vm.memory):
        other = _room_for(tx, vm, promised)
        if other is None:
            return (
                f"there is no room for {spoken(vm)} elsewhere while the host is empty ({len(moving)} machines are to "
                f"leave it; see explainDeployment with this machine, and hosts of the cluster {cluster.name})"
            )
        for kind, size in (("cpu", vm.cpus * vm.speed), ("memory", vm.memory * 2**20), ("machines", 1)):
            promised[other, kind] += size
    return ""


def _room_for(tx: Session, vm: Vm, promised: Counter[tuple[int, str]]) -> int | None:
    """A host that could take the machine beside those that were promised it before. Nothing is taken."""
    need = targets.nearest_first(tx, vm, targets.need_of(tx, vm, targets.Wish()))[-1]
    fitting = [h.id for h in hosts.candidates(tx, need)]  # the emptiest few
    for numbers in (fitting, None):
        if numbers is None:
            numbers = [v.id for v in refusal.of_hosts(tx, need) if not v.rule]
        for host in (tx.get_one(Host, number) for number in numbers):
            cpu = host.cpu_capacity - host.cpu_used - promised[host.id, "cpu"]
            memory = host.memory_capacity - host.memory_used - promised[host.id, "memory"]
            room = hypervisors.limits_of(host.hypervisor).machines - host.machines - promised[host.id, "machines"]
            if cpu >= need.cpu and memory >= need.memory and room > 0:
                return host.id
    return None


def moment(tx: Session) -> datetime:
    return now()


def seconds(tx: Session) -> int:
    return PATIENCE.number()
