"""What hosts tell of machines that no job works on."""

import pytest
from sqlalchemy import select

from mgmt_server.db import reading
from mgmt_server.model.event import Alert, Event
from mgmt_server.model.host import Host
from mgmt_server.model.vm import Vm, instance_name
from mgmt_server.protocol.machine import MachineState
from mgmt_server.resources.vm.power import reported
from tests.api.test_vm import deploy
from tests.simulated import build


@pytest.fixture
def running(cloud):
    zone = build()
    zone["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    answer = deploy(cloud, zone)
    with reading() as session:
        return session.scalar(select(Vm).where(Vm.uuid == answer["id"]))


def test_a_guest_that_shut_itself_down_is_stopped_and_holds_no_host(cloud, running):
    reported(running.host_id, [MachineState("any", running.uuid, "Stopped")])
    with reading() as session:
        vm, host = session.get(Vm, running.id), session.get(Host, running.host_id)
        assert (vm.state, vm.host_id, vm.last_host_id, vm.reserved) == ("Stopped", None, running.host_id, False)
        router = session.scalar(select(Vm).where(Vm.kind == "DomainRouter"))
        assert host.machines == (1 if router.host_id == host.id else 0)
        assert "stopped by itself" in session.scalar(select(Event.description).where(Event.type == "VM.STOP"))


def test_one_that_is_gone_has_only_its_name(cloud, running):
    name = instance_name(running.kind, running.account_id, running.id)
    reported(running.host_id, [MachineState(name, "", "Stopped")])
    with reading() as session:
        assert session.get(Vm, running.id).state == "Stopped"


def test_strangers_are_told_once(cloud, running):
    stranger = MachineState("by-hand", "0f0f0f0f-0000-4000-8000-000000000001", "Running")
    for _ in range(2):
        reported(running.host_id, [stranger])
    with reading() as session:
        assert session.get(Host, running.host_id).details["unmanaged"] == "by-hand"
        assert len(list(session.scalars(select(Alert)))) == 1


def test_another_host_cannot_stop_it(cloud, running):
    with reading() as session:
        other = session.scalar(select(Host.id).where(Host.id != running.host_id))
    reported(other, [MachineState("any", running.uuid, "Stopped")])
    with reading() as session:
        assert session.get(Vm, running.id).state == "Running"
