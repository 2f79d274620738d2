"""What the tests of the reconciler share: a zone of three hosts with a guest, and ways to put things out of order."""

import pytest
from sqlalchemy import select, update

from mgmt_server.db import reading, write
from mgmt_server.drivers.hypervisor import faults
from mgmt_server.model.event import Event
from mgmt_server.model.host import Host
from mgmt_server.model.vm import Vm
from mgmt_server.resources.reconcile import timers
from tests.api.test_vm import deploy
from tests.simulated import build


@pytest.fixture
def zone(cloud):
    found = build(hosts=3)
    found["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    yield found
    faults.forget()


@pytest.fixture
def vm(cloud, zone):
    return row(deploy(cloud, zone, name="guest")["id"])


def row(uuid):
    with reading() as session:
        return session.scalar(select(Vm).where(Vm.uuid == uuid))


def change(table, *conditions, **values):
    write(lambda tx: tx.execute(update(table).where(*conditions).values(**values)) and None)


def add(thing):
    write(lambda tx: tx.add(thing))


def told(text):
    with reading() as session:
        return session.scalar(select(Event.description).where(Event.description.contains(text)))


def repair(cloud):
    timers.look(patience=0)
    cloud.work()


def others(vm):
    with reading() as session:
        return list(session.scalars(select(Host).where(Host.id != vm.host_id).order_by(Host.id)))
