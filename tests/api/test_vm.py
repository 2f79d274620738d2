"""The life of machines on simulated hosts."""

import base64
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from mgmt_server.db import now, reading, write
from mgmt_server.model.account import Account
from mgmt_server.model.host import Host
from mgmt_server.model.network import Nic
from mgmt_server.model.simulator import SimulatedDisk, SimulatedMachine
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Address
from mgmt_server.resources.limit import recount
from mgmt_server.resources.vm import timers
from tests.cloud import Refused
from tests.counts import used
from tests.simulated import build


@pytest.fixture
def zone(cloud):
    found = build()
    found["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    return found


def deploy(cloud, zone, user="admin", **more):
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": zone["offering"], **more}
    return cloud.job("deployVirtualMachine", user=user, **sent)["virtualmachine"]


def held():
    """All that machines hold, as one comparable value; routers and system VMs included."""
    with reading() as session:
        counts = [
            session.scalar(select(func.sum(Host.cpu_used))),
            session.scalar(select(func.sum(Host.memory_used))),
            session.scalar(select(func.sum(Host.machines))),
            session.scalar(select(func.sum(Pool.allocated))),
        ]
        for table, condition in (
            (Nic, Nic.taken.is_not(None)),
            (Address, Address.state != "Free"),
            (Volume, Volume.removed.is_(None)),
            (Vm, Vm.removed.is_(None)),
            (SimulatedDisk, SimulatedDisk.id > 0),
            (SimulatedMachine, SimulatedMachine.id > 0),
        ):
            counts.append(session.scalar(select(func.count()).select_from(table).where(condition)))
        return [int(c or 0) for c in counts]


def test_from_deploy_to_expunge_nothing_is_left(cloud, zone):
    first = deploy(cloud, zone, name="one")  # makes the account's network and its router
    before = held()
    vm = deploy(cloud, zone, name="two", displayname="Two")
    assert vm["state"] == "Running" and vm["hostname"] and vm["nic"][0]["networkid"] == first["nic"][0]["networkid"]
    assert vm["nic"][0]["ipaddress"] != first["nic"][0]["ipaddress"]
    assert cloud.job("stopVirtualMachine", id=vm["id"])["virtualmachine"]["state"] == "Stopped"
    assert cloud.job("startVirtualMachine", id=vm["id"])["virtualmachine"]["state"] == "Running"
    assert cloud.job("rebootVirtualMachine", id=vm["id"])["virtualmachine"]["state"] == "Running"
    assert cloud.job("destroyVirtualMachine", id=vm["id"])["virtualmachine"]["state"] == "Destroyed"
    assert cloud.ask("recoverVirtualMachine", id=vm["id"])["virtualmachine"]["state"] == "Stopped"
    cloud.job("destroyVirtualMachine", id=vm["id"])
    assert cloud.job("expungeVirtualMachine", id=vm["id"]) == {"success": True}
    assert cloud.ask("listVirtualMachines", id=vm["id"]) == {}
    assert held() == before


def test_a_root_disk_goes_and_comes_with_its_machine_where_the_setting_says_so(cloud, zone):
    cloud.account("ann")
    with reading() as session:
        ann = session.scalar(select(Account.id).where(Account.name == "ann"))
    deploy(cloud, zone, user="ann", name="other")
    before, counted = held(), used(ann)
    vm = deploy(cloud, zone, user="ann", name="mine", diskofferingid=offer(cloud))["id"]
    with_both = used(ann)

    def root():
        return cloud.ask("listVolumes", virtualmachineid=vm, type="ROOT", listall=True)["volume"][0]

    cloud.job("destroyVirtualMachine", id=vm)
    assert root()["state"] == "Ready"
    cloud.ask("recoverVirtualMachine", id=vm)
    cloud.ask("updateConfiguration", name="destroy.root.volume.on.vm.destruction", value="true")
    cloud.job("destroyVirtualMachine", id=vm)
    assert root()["state"] == "Destroy"
    (data,) = cloud.ask("listVolumes", virtualmachineid=vm, type="DATADISK", listall=True)["volume"]
    assert data["state"] == "Ready" and used(ann)["volume"] == with_both["volume"] - 1
    assert used(ann)["primary_storage"] == with_both["primary_storage"] - root()["size"]
    with reading() as session:
        assert recount.wrong(session) == ([], [])
    for command in ("recoverVolume", "deleteVolume", "detachVolume"):
        with pytest.raises(Refused):
            cloud.job(command, id=root()["id"])
    with pytest.raises(Refused, match="recover the machine"):
        cloud.ask("recoverVolume", id=root()["id"])
    cloud.ask("recoverVirtualMachine", id=vm)
    assert root()["state"] == "Ready" and used(ann) == with_both
    assert cloud.job("startVirtualMachine", id=vm)["virtualmachine"]["state"] == "Running"
    cloud.job("destroyVirtualMachine", id=vm, volumeids=data["id"])
    cloud.job("expungeVirtualMachine", id=vm)
    cloud.job("destroyVolume", id=data["id"], expunge=True)
    assert held() == before and used(ann) == counted
    vm = deploy(cloud, zone, user="ann", name="again")["id"]
    cloud.job("destroyVirtualMachine", id=vm, expunge=True)
    assert held() == before and used(ann) == counted
    with reading() as session:
        assert recount.wrong(session) == ([], [])


def offer(cloud):
    return cloud.ask("createDiskOffering", name="d", displaytext="d", disksize=1)["diskoffering"]["id"]


def test_destroyed_machines_go_when_their_delay_is_over(cloud, zone):
    before = held()
    long_ago, just_now, back = (deploy(cloud, zone, name=name)["id"] for name in ("long-ago", "just-now", "back"))
    cloud.ask("updateConfiguration", name="expunge.delay", value="3600")
    for each in (long_ago, just_now, back):
        cloud.job("destroyVirtualMachine", id=each)
    passed = update(Vm).where(Vm.uuid.in_([long_ago, back])).values(state_changed=now() - timedelta(seconds=3601))
    write(lambda tx: tx.execute(passed) and None)
    cloud.ask("recoverVirtualMachine", id=back)
    for _ in range(2):
        timers.expunge_destroyed()
        cloud.work()
    left = {m["id"]: m["state"] for m in cloud.ask("listVirtualMachines")["virtualmachine"]}
    assert left == {just_now: "Destroyed", back: "Stopped"}
    cloud.ask("updateConfiguration", name="expunge.delay", value="1")
    write(lambda tx: tx.execute(update(Vm).values(state_changed=now() - timedelta(seconds=2))) and None)
    cloud.job("destroyVirtualMachine", id=back, expunge=True)
    timers.expunge_destroyed()
    cloud.work()
    assert cloud.ask("listVirtualMachines") == {}
    assert held()[-1] == before[-1] + 1, "the router alone is left"


def test_the_first_machine_implements_its_network(cloud, zone):
    vm = deploy(cloud, zone)
    (network,) = cloud.ask("listNetworks")["network"]
    assert (network["state"], network["type"]) == ("Implemented", "Isolated")
    (router,) = cloud.ask("listRouters", listall=True)["router"]
    assert router["state"] == "Running" and router["guestipaddress"] == "10.1.1.1" and router["publicip"]
    assert vm["nic"][0]["broadcasturi"] == network["broadcasturi"]
    (volume,) = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"]
    assert (volume["type"], volume["state"], volume["size"]) == ("ROOT", "Ready", 2 * 2**30)


def test_a_full_cloud_says_why_and_keeps_nothing(cloud, zone):
    from mgmt_server.db import write

    deploy(cloud, zone)
    before = held()
    write(lambda tx: [setattr(h, "memory_capacity", h.memory_used) for h in tx.scalars(select(Host))])
    with pytest.raises(Refused) as no:
        deploy(cloud, zone, name="late")
    assert no.value.status == 533 and "lacks 512 MiB" in no.value.text
    (late,) = cloud.ask("listVirtualMachines", name="late")["virtualmachine"]
    assert late["state"] == "Error"
    cloud.job("destroyVirtualMachine", id=late["id"], expunge=True)
    assert held() == before


def test_user_data_keys_and_bad_ones(cloud, zone):
    cloud.ask("createNetwork", name="n", zoneid=zone["zone"], networkofferingid=isolated(cloud))
    data = base64.b64encode(b"#!/bin/sh\necho hello\n").decode()
    vm = deploy(cloud, zone, userdata=data)
    assert vm["state"] == "Running"
    for wrong, told in (
        ({"userdata": "not base64!"}, "no base64"),
        ({"keypair": "nobody"}, "no SSH key pair"),
        ({"name": "bad name!"}, "letters, digits and hyphens"),
        ({"ipaddress": "10.9.9.9"}, "10.9.9.9"),
        ({"rootdisksize": "1"}, "less than the template"),
        ({"ip6address": "x"}, "does not support the parameter ip6address"),
    ):
        with pytest.raises(Refused) as no:
            deploy(cloud, zone, **wrong)
        assert no.value.status == 431 and told in no.value.text


def isolated(cloud):
    name = "DefaultIsolatedNetworkOfferingWithSourceNatService"
    return cloud.ask("listNetworkOfferings", name=name)["networkoffering"][0]["id"]


def test_several_networks_by_id_the_first_is_the_default(cloud, zone):
    made = [
        cloud.ask(
            "createNetwork",
            name=f"n{n}",
            zoneid=zone["zone"],
            networkofferingid=isolated(cloud),
            gateway=f"10.{n}.0.1",
            netmask="255.255.255.0",
        )["network"]["id"]
        for n in (3, 4)
    ]
    vm = deploy(cloud, zone, networkids=",".join(made))
    assert [n["networkid"] for n in vm["nic"]] == made
    assert [n["isdefault"] for n in vm["nic"]] == [True, False]
    assert vm["ipaddress"].startswith("10.3.0.")
    with pytest.raises(Refused) as no:
        deploy(cloud, zone)
    assert "several default isolated networks" in no.value.text


def test_a_shared_network_gives_addresses_of_its_range_until_it_is_full(cloud, zone):
    offering = cloud.ask("listNetworkOfferings", name="DefaultSharedNetworkOffering")["networkoffering"][0]["id"]
    shared = cloud.ask(
        "createNetwork", name="shared", zoneid=zone["zone"], networkofferingid=offering, gateway="10.5.0.1",
        netmask="255.255.255.0", startip="10.5.0.10", endip="10.5.0.12", vlan="untagged",
    )["network"]  # fmt: skip
    assert shared["state"] == "Setup" and shared["broadcasturi"] == "vlan://untagged"
    given = {deploy(cloud, zone, networkids=shared["id"])["ipaddress"] for _ in range(2)}
    assert len(given) == 2 and given < {"10.5.0.10", "10.5.0.11", "10.5.0.12"}  # the third is the router's
    with pytest.raises(Refused) as no:
        deploy(cloud, zone, networkids=shared["id"])
    assert no.value.status == 533 and "no free address" in no.value.text


def test_tenants_share_nothing(cloud, zone):
    for name in ("ann", "bob"):
        cloud.account(name)
    vm = deploy(cloud, zone, user="ann")
    assert "hostid" not in vm and "instancename" not in vm
    assert cloud.ask("listVirtualMachines", user="bob", listall=True) == {}
    with pytest.raises(Refused) as no:
        cloud.ask("stopVirtualMachine", user="bob", id=vm["id"])
    assert no.value.status == 431
    assert cloud.ask("listVirtualMachines") == {} and cloud.ask("listVirtualMachines", listall=True)["count"] == 1


def test_a_deploy_costs_few_statements(cloud, zone):
    from mgmt_server import db

    deploy(cloud, zone)
    before = db.statements()
    accepted = cloud.ask(
        "deployVirtualMachine", zoneid=zone["zone"], templateid=zone["template"], serviceofferingid=zone["offering"]
    )
    asked = db.statements() - before
    cloud.work()
    total = db.statements() - before - 1  # the look that finds no more jobs
    assert cloud.ask("queryAsyncJobResult", jobid=accepted["jobid"])["jobstatus"] == 1
    print(asked, total)
    assert total <= 60, (asked, total)


def test_a_network_restarted_with_cleanup_has_a_new_router(cloud, zone):
    vm = deploy(cloud, zone)
    (before,) = cloud.ask("listRouters", listall=True)["router"]
    network = vm["nic"][0]["networkid"]
    assert cloud.job("restartNetwork", id=network) == {"success": True}
    assert [r["id"] for r in cloud.ask("listRouters", listall=True)["router"]] == [before["id"]]
    assert cloud.job("restartNetwork", id=network, cleanup=True) == {"success": True}
    (after,) = cloud.ask("listRouters", listall=True)["router"]
    assert after["id"] != before["id"] and after["state"] == "Running" and after["guestipaddress"] == "10.1.1.1"


def test_in_a_zone_with_local_storage_alone_the_router_is_on_it_too(cloud, zone):
    from mgmt_server.db import new_uuid, write
    from mgmt_server.model.zone import Zone

    def local(tx):
        tx.scalar(select(Zone)).local_storage = True
        for pool in tx.scalars(select(Pool)):
            pool.state, pool.removed = "Removed", pool.created
        for host in tx.scalars(select(Host)):
            tx.add(
                Pool(
                    uuid=new_uuid(), name=f"{host.name}-local", zone_id=host.zone_id, pod_id=host.pod_id,
                    cluster_id=host.cluster_id, host_id=host.id, scope="HOST", type="Filesystem",
                    hypervisor="Simulator", path="/local", capacity=2**40, details={},
                )
            )  # fmt: skip

    write(local)
    with pytest.raises(Refused) as no:
        deploy(cloud, zone)
    assert no.value.status == 533 and "is local storage" in no.value.text
    made = cloud.ask(
        "createServiceOffering",
        name="local",
        displaytext="local",
        cpunumber=1,
        cpuspeed=500,
        memory=512,
        storagetype="local",
    )
    vm = deploy(cloud, {**zone, "offering": made["serviceoffering"]["id"]})
    (router,) = cloud.ask("listRouters", listall=True)["router"]
    assert vm["state"] == router["state"] == "Running"
    with reading() as session:
        rows = session.execute(select(Volume.vm_id, Pool.host_id).join(Pool, Pool.id == Volume.pool_id)).all()
        for number, host in rows:
            assert session.get(Vm, number).host_id == host


def test_two_recoveries_at_once_are_one_and_a_clear_refusal(cloud, zone, monkeypatch):
    from mgmt_server.db import Conflict
    from mgmt_server.resources.vm import lifecycle

    vm = deploy(cloud, zone)
    cloud.job("destroyVirtualMachine", id=vm["id"])

    def beaten(*_args, **_values):
        raise Conflict("Vm", 1, "Destroyed")

    monkeypatch.setattr(lifecycle.STATES, "move", beaten)
    with pytest.raises(Refused) as no:
        cloud.ask("recoverVirtualMachine", id=vm["id"])
    assert no.value.status == 530 and no.value.answer["cserrorcode"] == 4300 and "try again" in no.value.text
