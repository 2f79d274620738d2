"""Leases: machines that are stopped or destroyed when their time is over."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from mgmt_server.db import now, reading, write
from mgmt_server.model.event import Event
from mgmt_server.model.vm import Vm
from mgmt_server.resources.vm import timers
from tests.api.test_vm import deploy
from tests.cloud import Refused
from tests.simulated import build

STOP = {"leaseduration": 3, "leaseexpiryaction": "stop"}
DESTROY = {"leaseduration": 3, "leaseexpiryaction": "DESTROY"}


@pytest.fixture
def zone(cloud):
    return build() | {"offering": cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]}


@pytest.fixture
def leases(cloud):
    cloud.ask("updateConfiguration", name="instance.lease.enabled", value="true")


def ends(vm, days):
    """The lease ends so many days from now."""
    moment = now() + timedelta(days=days)
    write(lambda tx: tx.execute(update(Vm).where(Vm.uuid == vm["id"]).values(lease_expires=moment)))


def look(cloud):
    timers.end_leases()
    cloud.work()


def shown(cloud, vm):
    return cloud.ask("listVirtualMachines", id=vm["id"])["virtualmachine"][0]


def events(type):
    with reading() as session:
        return list(session.scalars(select(Event.description).where(Event.type == type).order_by(Event.id)))


def test_a_machine_is_stopped_once_when_its_lease_ends(cloud, zone, leases):
    vm = deploy(cloud, zone, **STOP)
    assert (vm["leaseduration"], vm["leaseexpiryaction"]) == (3, "STOP")
    assert vm["leaseexpirydate"][:10] == (now() + timedelta(days=3)).date().isoformat()
    look(cloud)
    assert shown(cloud, vm)["state"] == "Running"
    ends(vm, -1)
    look(cloud)
    found = shown(cloud, vm)
    assert found["state"] == "Stopped" and "leaseduration" not in found
    assert len(events("VM.LEASE.EXPIRED")) == 1 and any("lease has expired" in e for e in events("VM.STOP"))
    cloud.job("startVirtualMachine", id=vm["id"])
    look(cloud)
    assert shown(cloud, vm)["state"] == "Running"


def test_a_protected_machine_is_not_destroyed_by_its_lease_until_it_may_be(cloud, zone, leases):
    vm = deploy(cloud, zone, **DESTROY)
    cloud.ask("updateVirtualMachine", id=vm["id"], deleteprotection=True)
    ends(vm, -1)
    look(cloud)
    look(cloud)
    assert shown(cloud, vm)["state"] == "Running"
    (told,) = events("VM.LEASE.EXPIRED")
    assert "is protected" in told
    cloud.ask("updateVirtualMachine", id=vm["id"], deleteprotection=False)
    look(cloud)
    assert shown(cloud, vm)["state"] == "Destroyed"


def test_an_offering_gives_its_lease_and_minus_one_wants_none(cloud, zone, leases):
    offering = cloud.ask(
        "createServiceOffering", name="short", displaytext="short", cpunumber=1, cpuspeed=500, memory=512, **DESTROY
    )["serviceoffering"]
    assert (offering["leaseduration"], offering["leaseexpiryaction"]) == (3, "DESTROY")
    of = {"serviceofferingid": offering["id"]}
    assert deploy(cloud, zone, **of)["leaseexpiryaction"] == "DESTROY"
    assert deploy(cloud, zone, **of, **STOP)["leaseexpiryaction"] == "STOP"
    assert "leaseduration" not in deploy(cloud, zone, **of, leaseduration=-1)
    assert cloud.ask("listVirtualMachines", leased=True)["count"] == 2


def test_a_lease_is_told_of_before_it_ends(cloud, zone, leases):
    vm, later = deploy(cloud, zone, name="soon", **STOP), deploy(cloud, zone, name="later", **STOP)
    ends(later, 30)
    timers.tell_of_leases()
    (told,) = events("VM.LEASE.EXPIRING")
    assert "soon" in told and vm["leaseexpirydate"][:10] in told


def test_a_lease_is_made_longer_and_cancelled(cloud, zone, leases):
    vm, other = deploy(cloud, zone, **STOP), deploy(cloud, zone)
    longer = cloud.ask("updateVirtualMachine", id=vm["id"], leaseduration=9, leaseexpiryaction="DESTROY")
    assert longer["virtualmachine"]["leaseduration"] == 9
    cancelled = cloud.ask("updateVirtualMachine", id=vm["id"], leaseduration=-1)["virtualmachine"]
    assert "leaseexpirydate" not in cancelled and len(events("VM.LEASE.CANCELLED")) == 1
    for machine in (vm, other):
        with pytest.raises(Refused, match="has no lease"):
            cloud.ask("updateVirtualMachine", id=machine["id"], **STOP)


def test_without_leases_those_that_there_are_end_and_nothing_happens(cloud, zone, leases):
    vm = deploy(cloud, zone, **DESTROY)
    ends(vm, -1)
    cloud.ask("updateConfiguration", name="instance.lease.enabled", value="false")
    assert "leaseduration" not in shown(cloud, vm) and cloud.ask("listVirtualMachines", leased=True) == {}
    look(cloud)
    assert len(events("VM.LEASE.DISABLED")) == 1
    cloud.ask("updateConfiguration", name="instance.lease.enabled", value="true")
    look(cloud)
    assert shown(cloud, vm)["state"] == "Running"
    cloud.ask("updateConfiguration", name="instance.lease.enabled", value="false")
    with pytest.raises(Refused, match="no leases here"):
        deploy(cloud, zone, **STOP)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"leaseduration": 3}, "send both"),
        ({"leaseexpiryaction": "STOP"}, "send both"),
        ({"leaseduration": 0, "leaseexpiryaction": "STOP"}, "out of range"),
        ({"leaseduration": 36501, "leaseexpiryaction": "STOP"}, "out of range"),
        ({"leaseduration": 3, "leaseexpiryaction": "BURN"}, "none of STOP, DESTROY"),
    ],
)
def test_half_a_lease_or_an_odd_one_is_refused(cloud, zone, leases, sent, told):
    with pytest.raises(Refused, match=told):
        deploy(cloud, zone, **sent)
