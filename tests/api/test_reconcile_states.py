"""Every state between two others is left, and every new one gets a rule."""

# ruff: noqa: F811  the fixtures are imported

import importlib
import pkgutil

import pytest
from sqlalchemy import select

from mgmt_server.allocation import counted
from mgmt_server.db import reading, write
from mgmt_server.model.event import Event
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network
from mgmt_server.model.snapshot import Snapshot, SnapshotOnStore, VmSnapshot
from mgmt_server.model.storage import ImageStore, Pool, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.reconcile import timers
from mgmt_server.resources.reconcile.rules import RESOURCES, RULES
from tests.api.reconciling import change, others, repair, vm, zone  # noqa: F401
from tests.api.test_vm import deploy
from tests.crash.invariants import broken

# states that rows stay in, and those that have a timer of their own which leads out of them
RESTING = {
    "Vm": {"Stopped", "Running", "Destroyed", "Error", "Unknown"},
    "Volume": {
        "Allocated", "Ready", "Uploaded", "UploadAbandoned", "UploadError", "Destroy", "Expunged",
        "NotUploaded",  # until its form is too old
    },
    "Snapshot": {"BackedUp", "Error", "Destroyed"},
    "VmSnapshot": {"Ready", "Error", "Removed"},
    "Network": {"Allocated", "Setup", "Implemented", "Destroy"},
    "Pool": {"Up", "Disabled", "Maintenance", "ErrorInMaintenance", "Removed"},
    "Host.state": {"Up", "Down", "Disconnected", "Alert", "Removed"},
    "Host.resource_state": {"Enabled", "Disabled", "ErrorInMaintenance", "Maintenance", "Degraded"},
    "Project": {"Active", "Suspended", "Disabled"},
    # a job for each host that is not well is queued anew by the timer of resources/ha, from whichever state
    "HostHa": {
        "Disabled", "Available", "Ineligible", "Suspect", "Checking", "Degraded", "Recovering", "Recovered", "Fencing",
        "Fenced",
    },
}  # fmt: skip


def all_states():
    """Every set of states that a model declares, by its name in RESTING."""
    from mgmt_server import model
    from mgmt_server.db import States

    found = {}
    for info in pkgutil.iter_modules(model.__path__):
        for value in vars(importlib.import_module(f"{model.__name__}.{info.name}")).values():
            if isinstance(value, States):
                name = value.table.__name__
                found[f"{name}.{value.column.key}" if name == "Host" else name] = value
    return found


def test_every_state_is_one_to_stay_in_or_has_a_rule():
    """A new state has to be put here, or gets a rule."""
    found = all_states()
    assert found.keys() == RESTING.keys()
    for name, states in found.items():
        rules = [r for r in (*RULES, RESOURCES) if r.table is states.table]
        rules = [r for r in rules if (r is RESOURCES) == (states.column.key == "resource_state")]
        ruled = {s for r in rules for s in r.states}
        known = set(states.moves) | {after for moves in states.moves.values() for after in moves}
        assert known == (RESTING[name] & known) | ruled, (name, known - RESTING[name] - ruled)
        assert not RESTING[name] & ruled, name


EVERY = [(r, s) for r in (*RULES, RESOURCES) for s in r.states]


@pytest.mark.parametrize(("rule", "state"), EVERY, ids=[f"{r.table.__name__}-{s}" for r, s in EVERY])
def test_a_row_in_any_state_between_two_others_leaves_it(cloud, zone, vm, tmp_path, rule, state):
    """Put there without a job; then the reconciler looks, and its jobs run."""
    number = PUT[rule.table](cloud, zone | {"folder": tmp_path}, vm, state)
    for _ in range(3):
        repair(cloud)
        timers.forget()
    column = Host.resource_state if rule is RESOURCES else rule.table.state
    with reading() as session:
        found = session.execute(select(column).where(rule.table.id == number, rule.table.removed.is_(None))).first()
        assert found is None or found[0] not in rule.states, found
        told = session.scalars(select(Event.description).where(Event.description.contains("nobody at it"))).all()
    assert told, "nobody was told"
    whole = [t for t in broken() if "was told to" not in t]
    assert not whole, whole


def put_vm(cloud, zone, vm, state):
    if state == "Expunging":
        cloud.job("destroyVirtualMachine", id=vm.uuid)
    change(Vm, Vm.id == vm.id, state=state)
    return vm.id


def put_volume(cloud, zone, vm, state):
    disk = cloud.ask("listDiskOfferings", name="Small")["diskoffering"][0]["id"]
    uuid = cloud.job("createVolume", name="d", diskofferingid=disk, zoneid=zone["zone"])["volume"]["id"]
    if state not in ("Creating", "Copying", "UploadOp"):
        cloud.job("attachVolume", id=uuid, virtualmachineid=vm.uuid)
        cloud.job("detachVolume", id=uuid)
    if state == "Expunging":
        cloud.job("destroyVolume", id=uuid)
    change(Volume, Volume.uuid == uuid, state=state)
    return number(Volume, uuid)


def put_snapshot(cloud, zone, vm, state):
    root = cloud.ask("listVolumes", virtualmachineid=vm.uuid, type="ROOT")["volume"][0]["id"]
    uuid = cloud.job("createSnapshot", volumeid=root)["snapshot"]["id"]
    change(Snapshot, Snapshot.uuid == uuid, state=state)
    if state == "Destroying":  # what its flow has done by then
        write(lambda tx: counted.snapshot_goes(tx, tx.scalar(select(Snapshot).where(Snapshot.uuid == uuid))))
        change(SnapshotOnStore, SnapshotOnStore.snapshot_id == number(Snapshot, uuid), state="Hidden")
    return number(Snapshot, uuid)


def put_vm_snapshot(cloud, zone, vm, state):
    uuid = cloud.job("createVMSnapshot", virtualmachineid=vm.uuid)["vmsnapshot"]["id"]
    change(VmSnapshot, VmSnapshot.uuid == uuid, state=state)
    return number(VmSnapshot, uuid)


def put_network(cloud, zone, vm, state):
    offering = cloud.ask("listNetworkOfferings", name="DefaultIsolatedNetworkOfferingWithSourceNatService")
    uuid = cloud.ask(
        "createNetwork", name="n", zoneid=zone["zone"], gateway="10.9.0.1", netmask="255.255.255.0",
        networkofferingid=offering["networkoffering"][0]["id"],
    )["network"]["id"]  # fmt: skip
    if state == "Shutdown":
        deploy(cloud, zone, name="second", networkids=uuid)
    change(Network, Network.uuid == uuid, state=state)
    return number(Network, uuid)


def put_host(cloud, zone, vm, state):
    host = others(vm)[0].id
    change(Host, Host.id == host, **{"state" if state == "Connecting" else "resource_state": state})
    return host


def put_pool(cloud, zone, vm, state):
    change(Pool, Pool.uuid == zone["pool"], state=state)
    return number(Pool, zone["pool"])


def put_image(cloud, zone, vm, state):
    cloud.ask("updateConfiguration", name="secstorage.allowed.internal.sites", value="127.0.0.0/8")
    cloud.ask("updateConfiguration", name="template.download.retries", value=0)  # nobody listens there
    change(ImageStore, url=f"file://{zone['folder']}")
    made = cloud.ask(
        "registerTemplate", name="t", url="http://127.0.0.1:9/t.qcow2", format="QCOW2", hypervisor="KVM",
        ostypeid=cloud.ask("listOsTypes")["ostype"][0]["id"], zoneid=zone["zone"],
    )  # fmt: skip
    cloud.work()
    with reading() as session:
        template = session.scalar(select(Template.id).where(Template.uuid == made["template"][0]["id"]))
        found = session.scalar(select(TemplateOnStore.id).where(TemplateOnStore.template_id == template))
    change(TemplateOnStore, TemplateOnStore.id == found, state=state)
    return found


def number(table, uuid):
    with reading() as session:
        return session.scalar(select(table.id).where(table.uuid == uuid))


PUT = {
    Vm: put_vm, Volume: put_volume, Snapshot: put_snapshot, VmSnapshot: put_vm_snapshot, Network: put_network,
    Host: put_host, Pool: put_pool, TemplateOnStore: put_image,
}  # fmt: skip
