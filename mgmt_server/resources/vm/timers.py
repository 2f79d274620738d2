"""What has to be done with machines again and again."""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.db import now, reading, write
from mgmt_server.drivers import waits
from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.errors import ApiError
from mgmt_server.jobs import Asker, enqueue
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.jobs.worker import every
from mgmt_server.model.account import SYSTEM_USER
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Setting
from mgmt_server.model.vm import Vm, instance_name
from mgmt_server.resources.vm import flows, leases, power  # noqa: F401  power listens to what hosts tell
from mgmt_server.resources.vm.views import COUNTED, RECENT

log = logging.getLogger("cloudwright.vm")
EXPUNGE_DELAY = Setting("expunge.delay", "Seconds after which a destroyed machine is removed for good", least=1)
EXPUNGE_INTERVAL = Setting(
    "expunge.interval", "Seconds between two looks for machines to remove for good", default="60", least=1
)
STATISTICS = Setting(
    "vm.stats.interval", "Milliseconds between two readings of machines' statistics; 0 for none", least=0
)
USERS_ONLY = Setting("vm.stats.user.vm.only", "Whether statistics are read of users' machines alone, not of system VMs")
AT_ONCE = 20  # machines that one round expunges


LEASES = Setting("instance.lease.scheduler.interval", "Seconds between two looks for leases that are over", least=1)
LEASE_WARNINGS = Setting(
    "instance.lease.eventscheduler.interval", "Seconds between two events about leases that end soon", least=1
)


@every(LEASES.number, "leases of machines")
def end_leases() -> None:
    if not leases.ENABLED.flag():
        write(leases.disable)
        return
    write(leases.protected)
    with reading() as session:
        found = leases.expired(session)
    for vm in found:
        write(leases.expire, vm)


@every(LEASE_WARNINGS.number, "leases that end soon")
def tell_of_leases() -> None:
    if leases.ENABLED.flag():
        write(leases.warn)


@every(EXPUNGE_INTERVAL.number, "expunge destroyed machines")
def expunge_destroyed() -> None:
    write(_queue_expunging)


def _queue_expunging(tx: Session) -> None:
    before = now() - timedelta(seconds=EXPUNGE_DELAY.number())
    busy = select(JobRow.instance_uuid).where(JobRow.instance_type == "VirtualMachine", JobRow.state.in_(OPEN))
    rows = select(Vm).where(Vm.state == "Destroyed", Vm.removed.is_(None), Vm.state_changed < before)
    for vm in tx.scalars(rows.where(Vm.uuid.not_in(busy)).limit(AT_ONCE)):
        asker = Asker(account_id=vm.account_id, domain_id=vm.domain_id, user_id=SYSTEM_USER)
        enqueue(tx, flows.expunge, (vm.id,), lock=f"vm:{vm.id}", instance=("VirtualMachine", vm.uuid), asker=asker)


@every(lambda: STATISTICS.number() / 1000, "statistics of machines")
def read_statistics() -> None:
    """Ask each host how its machines are doing. One that does not answer is left out until the next round."""
    with reading() as session:
        # columns, not objects: simulated hosts have machines by the ten thousand
        place = (Host.uuid, Host.name, Host.hypervisor, Host.agent, Host.cluster_id)
        rows = select(*place, Vm.id, Vm.kind, Vm.account_id, Vm.called)
        rows = rows.join(Vm, Vm.host_id == Host.id).where(Host.state == "Up")
        if USERS_ONLY.flag():
            rows = rows.where(Vm.kind == "User")
        found: dict[HostRef, dict[str, int]] = {}
        patience: dict[HostRef, float] = {}
        running = rows.where(Vm.state == "Running", Vm.removed.is_(None))
        for uuid, name, hypervisor, agent, cluster, number, kind, account, called in session.execute(running):
            reference = HostRef(uuid, name, hypervisor, agent or "")
            if reference not in found:
                found[reference], patience[reference] = {}, waits.telling(cluster)
            found[reference][called or instance_name(kind, account, number)] = number
    for reference, names in found.items():
        try:
            told = dispatch.machine_statistics(reference, list(names), patience[reference])
        except ApiError as error:
            log.info("no statistics from %s: %s", reference.name, error, extra={"host": reference.name})
            continue
        write(_keep, {names[s.name]: asdict(s) for s in told if s.name in names})


def _keep(tx: Session, statistics: dict[int, dict[str, Any]]) -> None:
    rows = tx.execute(select(Vm.id, Vm.statistics).where(Vm.id.in_(statistics))).all()
    before = {number: found for number, found in rows}  # noqa: C416  rows are no pairs to dict
    changes = []
    for number, values in statistics.items():
        last = before.get(number) or {}
        told = {**values, RECENT: {name: _since(name, values, last) for name in COUNTED}}
        if number in before and told != last:
            changes.append({"id": number, "statistics": told})
    if changes:
        tx.execute(update(Vm), changes)  # all at once: a simulated host has many machines


def _since(name: str, values: dict[str, Any], before: dict[str, Any]) -> int:
    """What came since the last reading. A machine that was started anew counts from nothing again."""
    last = before.get(name, 0)
    return int(values[name] - last if values[name] >= last else values[name])
