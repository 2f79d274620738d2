"""A random walk of all operations by many clients over many hosts, with faults on; then everything is recounted.

Clients do whatever their machines and disks allow; an operator takes hosts into maintenance and back; hosts are slow,
fail now and then, and get lost. What is refused is refused in words, what is accepted ends once, and when the faults
are off and all has ended, nothing is left over, promised twice or stuck (tests/crash/invariants.py).
"""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest
from sqlalchemy import delete, select, update

from mgmt_server.db import reading, write
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.model.simulator import SimulatedDisk, SimulatedMachine
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.volume import leftovers
from tests.crash.scene import second_pool
from tests.sim import operator as operators
from tests.sim.operator import Operator
from tests.sim.tenant import OPERATIONS, Tenant
from tests.simulated import simulated_zone

CLIENTS = 6
KINDS = ("done", "failed", "refused")
EVERYTHING = {*OPERATIONS, *operators.OPERATIONS}
QUICK = {  # so that the guests of a host without power start elsewhere while the walk goes on, or soon after it
    "kvm.ha.health.check.timeout": 1, "kvm.ha.activity.check.interval": 1, "restart.retry.interval": 2,
}  # fmt: skip

# what stands in doubt is asked about again after 100 seconds, where a lost host could not tell, and its files go later
AT_REST = 150


def prepare(cloud, client):
    """Accounts, another zone, and what is used of by operations besides machines and disks."""
    cloud.os_type = client.ask("listOsTypes", description="Other Linux (64-bit)")["ostype"][0]["id"]
    cloud.domain = client.ask("listDomains", name="ROOT")["domain"][0]["id"]
    person = {"firstname": "a", "lastname": "b", "email": "a@example.org", "password": "Wq7-long-enough"}
    client.ask("createAccount", username="walker", accounttype=0, **person)
    cloud.accounts = {a["name"]: a["id"] for a in client.ask("listAccounts", listall=True)["account"]}
    for account in ("admin", "walker"):
        client.ask("createSSHKeyPair", name="walk", account=account, domainid=cloud.domain)
    for name, value in QUICK.items():
        client.ask("updateConfiguration", name=name, value=value)
    offering = client.ask(
        "createServiceOffering", name="ha", displaytext="ha", cpunumber=1, cpuspeed=500, memory=256, offerha=True
    )
    cloud.offerings.append(offering["serviceoffering"]["id"])
    cloud.groups = [
        client.job("createAffinityGroup", name=kind, type=f"non-strict host {kind}")["affinitygroup"]["id"]
        for kind in ("affinity", "anti-affinity")
    ]
    cloud.disc = client.ask(
        "registerIso", name="disc", displaytext="disc", zoneid=cloud.zone["zone"], ostypeid=cloud.os_type,
        url="http://images.example.org/disc.iso",
    )["iso"][0]["id"]  # fmt: skip
    client.ask("updateTemplate", id=cloud.zone["template"], passwordenabled=True)
    cloud.other_zone = write(other_zone)
    cloud.path_of, cloud.clear_away = path_of, clear_away


def other_zone(tx):
    made = simulated_zone(tx, name="west")
    mine = update(ImageStore).where(ImageStore.uuid == made["store"])
    tx.execute(mine.values(url="nfs://192.0.2.9/west").execution_options(synchronize_session=False))
    return made["zone"]


def path_of(volume):
    with reading() as session:
        return session.scalar(select(Volume.path).where(Volume.uuid == volume))


def clear_away(number):
    """What a machine or a disk that was let go left on hosts and in pools, as its owner would delete it."""
    mine = select(Volume.path).outerjoin(Vm, Vm.id == Volume.vm_id).where((Vm.uuid == number) | (Volume.uuid == number))

    def gone(tx):
        files = list(tx.scalars(mine))
        tx.execute(delete(SimulatedDisk).where(SimulatedDisk.name.in_(files)))
        tx.execute(delete(SimulatedMachine).where(SimulatedMachine.machine == number))

    write(gone)


def swept():
    """Wait until no file is to be removed later: simulated hosts know disks by their names alone, in whatever pool, and
    would tell one of which a copy is left somewhere as two."""
    later = select(JobRow.id).where(JobRow.state.in_(OPEN), JobRow.flow.startswith(leftovers.__name__)).limit(1)
    end = time.monotonic() + AT_REST
    while True:
        with reading() as session:
            if session.scalar(later) is None:
                return
        assert time.monotonic() < end, "a file that is to be removed later stays"
        time.sleep(0.2)


def walk(cloud, seconds, seed, tell=print):
    client = cloud.client()
    networks = [cloud.network() for _ in range(2)]
    for number, network in enumerate(networks):  # implemented before the faults begin
        assert cloud.settled(cloud.deploy(network, f"first{number}"))["jobstatus"] == 1
    cloud.offerings = [o["id"] for o in client.ask("listServiceOfferings")["serviceoffering"]]
    disks = client.ask("listDiskOfferings")["diskoffering"]
    cloud.disks = [d["id"] for d in disks if not d["iscustomized"]]
    cloud.disk_offering = cloud.disks[0]
    cloud.pools = [cloud.zone["pool"], second_pool(cloud)]
    prepare(cloud, client)
    tenants = [Tenant(cloud, n, networks, seed) for n in range(CLIENTS)]
    operator = Operator(cloud, seed)
    for thread in (*tenants, operator):
        thread.start()
    time.sleep(seconds)  # how long the walk is; nothing is waited for
    for thread in (*tenants, operator):
        thread.stopping.set()
    for thread in (*tenants, operator):
        thread.join(120)
    assert not [t for t in (*tenants, operator) if t.is_alive()], "a client's job did not end"
    operator.tidy()
    swept()
    for tenant in tenants:
        tenant.take_all_back()
    cloud.at_rest(AT_REST)
    lost = [told for t in tenants for told in t.lost()]
    assert not lost, lost
    for job, known in {job: known for t in tenants for job, known in t.jobs.items()}.items():
        assert client.ask("queryAsyncJobResult", jobid=job) == known, "an ended job answers the same for good"
    wrong = [w for t in (*tenants, operator) for w in t.wrong]
    assert not wrong, "\n".join([*wrong[:20], *sorted(errors_of(cloud))[:5]])
    walkers = (*tenants, operator)
    done, failed, refused = (sum((getattr(w, kind, Counter()) for w in walkers), Counter()) for kind in KINDS)
    for kind in sorted(done | refused):
        tell(f"{kind:28}{done[kind]:6} done {refused[kind]:6} refused")
    tell(f"seed {seed}: {sum(done.values())} done, {sum(failed.values())} jobs failed, {sum(refused.values())} refused")
    return done, failed


def errors_of(cloud):
    """The ends of the traces in the server's log."""
    lines = (cloud.server.data / "cloudwright.log").read_text().splitlines()
    traces = [json.loads(line)["trace"] for line in lines if '"trace"' in line]
    return {trace[-600:] for trace in traces if "mgmt_server.errors." not in trace[-400:]}


def test_a_random_walk_with_faults_leaves_a_sound_cloud(cloud):
    done, failed = walk(cloud, 25, 1)
    assert sum(done.values()) > 100 and sum(failed.values()) > 0, "the walk proved little"


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [2, 3])
def test_a_long_random_walk(cloud, seed, tell):
    done, _ = walk(cloud, 300, seed, tell)
    assert set(done) == EVERYTHING, f"never done: {EVERYTHING - set(done)}"
