"""Secondary storage VMs and console proxies by hand."""

from uuid import uuid4

import pytest
from sqlalchemy import select, update

from mgmt_server.db import reading, write
from mgmt_server.model.event import Event
from mgmt_server.model.host import Host
from mgmt_server.model.vm import Vm
from mgmt_server.protocol.router import SOFTWARE, Applied
from mgmt_server.resources.router import document
from mgmt_server.resources.router.timers import have_system_vms
from tests.api.test_migrate import second_pool
from tests.api.test_vm import deploy, held
from tests.cloud import Refused
from tests.crash.invariants import broken
from tests.simulated import build


@pytest.fixture
def zone(cloud):
    found = build(hosts=3)
    found["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    have_system_vms()
    cloud.work()
    return found


def system_vms(cloud, **more):
    return {v["systemvmtype"]: v for v in cloud.ask("listSystemVms", **more)["systemvm"]}


def events():
    with reading() as session:
        return set(session.scalars(select(Event.type).where(Event.state == "Completed")))


@pytest.mark.parametrize(("kind", "word"), [("consoleproxy", "PROXY"), ("secondarystoragevm", "SSVM")])
def test_a_system_vm_is_stopped_started_rebooted_and_replaced(cloud, zone, kind, word):
    vm, before = system_vms(cloud)[kind], held()
    stopped = cloud.job("stopSystemVm", id=vm["id"])["systemvm"]
    assert (stopped["state"], stopped["agentstate"]) == ("Stopped", "Disconnected") and broken() == []
    with pytest.raises(Refused, match="only a running"):
        cloud.ask("rebootSystemVm", id=vm["id"])
    started = cloud.job("startSystemVm", id=vm["id"])["systemvm"]
    assert (started["state"], started["agentstate"]) == ("Running", "Up") and held() == before
    for forced in (False, True):
        assert cloud.job("rebootSystemVm", id=vm["id"], forced=forced)["systemvm"]["state"] == "Running"
    with pytest.raises(Refused, match="only a stopped"):
        cloud.ask("startSystemVm", id=vm["id"])
    cloud.job("destroySystemVm", id=vm["id"])
    assert kind not in system_vms(cloud)
    have_system_vms()
    cloud.work()
    assert system_vms(cloud)[kind]["id"] != vm["id"] and held() == before and broken() == []
    assert {f"{word}.{w}" for w in ("START", "STOP", "REBOOT", "DESTROY")} <= events()


def test_system_vms_and_routers_move(cloud, zone):
    deploy(cloud, zone)
    before = held()
    for vm in (*system_vms(cloud).values(), cloud.ask("listRouters", listall=True)["router"][0]):
        moved = cloud.job("migrateSystemVm", virtualmachineid=vm["id"], autoselect=True)["systemvm"]
        assert moved["state"] == "Running" and moved["hostid"] != vm["hostid"]
    assert held() == before and broken() == [] and "VM.MIGRATE" in events()


def test_a_router_tells_its_version_and_whether_it_is_to_be_made_anew(cloud, zone, monkeypatch):
    deploy(cloud, zone)
    (made,) = cloud.ask("listRouters", listall=True, version=SOFTWARE)["router"]
    assert (made["version"], made["softwareversion"], made["requiresupgrade"]) == (SOFTWARE, SOFTWARE, False)
    write(lambda tx: tx.execute(update(Host).values(hypervisor="KVM")) and None)
    with reading() as session:
        number = session.scalar(select(Vm.id).where(Vm.uuid == made["id"]))
    for said, told in (("0", ("0", True)), ("", ("0", True)), (SOFTWARE, (SOFTWARE, False))):
        answer = lambda call, host, d, said=said: Applied(d.version, software=said)  # noqa: E731
        monkeypatch.setattr(document.dispatch, "configure_router", answer)
        document.tell_router(uuid4(), number)
        (seen,) = cloud.ask("listRouters", listall=True)["router"]
        assert (seen["version"], seen["requiresupgrade"]) == told


def test_the_disk_of_a_stopped_one_moves(cloud, zone):
    vm = system_vms(cloud)["consoleproxy"]
    pool = second_pool(zone)
    with pytest.raises(Refused, match="while it is stopped"):
        cloud.job("migrateSystemVm", virtualmachineid=vm["id"], storageid=pool)
    cloud.job("stopSystemVm", id=vm["id"])
    cloud.job("migrateSystemVm", virtualmachineid=vm["id"], storageid=pool)
    assert system_vms(cloud, storageid=pool)["consoleproxy"]["id"] == vm["id"]
    cloud.job("startSystemVm", id=vm["id"])
    assert broken() == []


def test_they_are_no_users_machines(cloud, zone):
    mine = deploy(cloud, zone)
    proxy = system_vms(cloud)["consoleproxy"]["id"]
    with pytest.raises(Refused, match="is a user's machine"):
        cloud.ask("stopSystemVm", id=mine["id"])
    with pytest.raises(Refused, match="migrateVirtualMachine"):
        cloud.ask("migrateSystemVm", virtualmachineid=mine["id"], autoselect=True)
    with pytest.raises(Refused, match="is a system VM"):
        cloud.ask("migrateVirtualMachine", virtualmachineid=proxy, autoselect=True)
