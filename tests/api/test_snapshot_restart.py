"""A server that dies at any step of a snapshot's life goes on with it when it runs again."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from mgmt_server.db import reading
from mgmt_server.jobs import flow
from mgmt_server.jobs.queue import join_cluster, recover
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.model.simulator import SimulatedMachine
from tests.api.test_snapshot import (
    another_zone,
    content,
    counts_are_right,
    deploy,
    files,
    incremental,
    on_stores,
    touch,
    zone,
)

__all__ = ["zone"]
MOST = 60  # moments that no job has


class Killed(BaseException):
    """As by kill -9: nothing is tidied up."""


def dying(monkeypatch, moment):
    """Die at this moment of whatever runs."""
    left = [moment]

    def reached(_):
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    monkeypatch.setattr(flow, "reached", reached)
    return left


def through_death(cloud, monkeypatch, moment, command, **sent):
    """Whether it died on the way. The job ends well in any case."""
    asked = cloud.ask(command, **sent)
    with monkeypatch.context() as patched:
        dying(patched, moment)
        try:
            cloud.work()
            died = False
        except Killed:
            died = True
    cloud.node = join_cluster("test")
    recover()
    cloud.work()
    done = cloud.ask("queryAsyncJobResult", jobid=asked["jobid"])
    assert done["jobstatus"] == 1, (command, moment, done)
    with reading() as session:
        assert session.scalar(select(JobRow.id).where(JobRow.state.in_(OPEN))) is None
    return died


@pytest.mark.parametrize("kind", ["snapshot", "machine"])
def test_every_step_is_gone_on_from(cloud, zone, monkeypatch, kind):
    if kind == "snapshot":
        disks(cloud, zone, monkeypatch)
    else:
        machines(cloud, zone, monkeypatch)


def disks(cloud, zone, monkeypatch):
    incremental(cloud)
    west = another_zone(cloud)["zone"]
    vm, volume = deploy(cloud, zone)
    cloud.job("createSnapshot", volumeid=volume)
    cloud.job("stopVirtualMachine", id=vm)
    died = {"createSnapshot": True, "revertSnapshot": True, "deleteSnapshot": True}
    for moment in range(1, MOST):
        if not any(died.values()):
            break
        touch(volume)
        kept = content(volume)
        sent = {"volumeid": volume, "zoneids": west, "name": f"at {moment}"}
        died["createSnapshot"] = through_death(cloud, monkeypatch, moment, "createSnapshot", **sent)
        found = cloud.ask("listSnapshots", name=f"at {moment}")["snapshot"]
        assert [s["state"] for s in found] == ["BackedUp"] * 2
        touch(volume)
        died["revertSnapshot"] = through_death(cloud, monkeypatch, moment, "revertSnapshot", id=found[0]["id"])
        assert content(volume) == kept
        counts_are_right()
        died["deleteSnapshot"] = through_death(cloud, monkeypatch, moment, "deleteSnapshot", id=found[0]["id"])
        assert cloud.ask("listSnapshots")["count"] == 1 == on_stores() == len(files())
        assert cloud.ask("listVolumes", id=volume)["volume"][0]["state"] == "Ready"
        counts_are_right()
    assert moment > 8, "there are more steps than that"


def machines(cloud, zone, monkeypatch):
    vm, volume = deploy(cloud, zone)
    died = {"createVMSnapshot": True, "revertToVMSnapshot": True, "deleteVMSnapshot": True}
    for moment in range(1, MOST):
        if not any(died.values()):
            break
        kept = content(volume)
        sent = {"virtualmachineid": vm, "name": f"at {moment}", "snapshotmemory": True}
        died["createVMSnapshot"] = through_death(cloud, monkeypatch, moment, "createVMSnapshot", **sent)
        (found,) = cloud.ask("listVMSnapshot")["vmSnapshot"]
        assert (found["state"], found["current"]) == ("Ready", True)
        touch(volume)
        if moment % 2:
            cloud.job("stopVirtualMachine", id=vm)
        back = {"vmsnapshotid": found["id"]}
        died["revertToVMSnapshot"] = through_death(cloud, monkeypatch, moment, "revertToVMSnapshot", **back)
        assert content(volume) == kept
        assert cloud.ask("listVirtualMachines", id=vm)["virtualmachine"][0]["state"] == "Running"
        died["deleteVMSnapshot"] = through_death(cloud, monkeypatch, moment, "deleteVMSnapshot", **back)
        assert cloud.ask("listVMSnapshot") == {}
        with reading() as session:
            row = session.scalar(select(SimulatedMachine).where(SimulatedMachine.name == f"i-2-{number(vm)}-VM"))
        assert (row.state, row.points) == ("Running", {})
    assert moment > 6, "there are more steps than that"


def number(vm):
    from mgmt_server.model.vm import Vm

    with reading() as session:
        return session.scalar(select(Vm.id).where(Vm.uuid == vm))
