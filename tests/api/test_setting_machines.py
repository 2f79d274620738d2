"""Settings of machines, their networks and routers take effect: each is turned, and what it is for is looked at."""

import pytest
from sqlalchemy import select, update

from mgmt_server.allocation.addresses import guest_mac, take_pod_address
from mgmt_server.db import reading, write
from mgmt_server.errors import NoAddress, Unavailable
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.offering import ServiceOffering
from mgmt_server.model.simulator import SimulatedMachine
from mgmt_server.model.template import OsType
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import PodAddress, PodRange, Zone
from mgmt_server.protocol.machine import MachineState
from mgmt_server.resources.ha import guests
from mgmt_server.resources.host import link
from mgmt_server.resources.router import document
from mgmt_server.resources.vm import timers
from mgmt_server.resources.vm.power import reported
from tests.api import test_volume
from tests.api.test_nic import network
from tests.api.test_setting_effects import turn
from tests.api.test_volume import deploy
from tests.cloud import Refused

GIB = 2**30
zone = test_volume.zone


def router_of(network_id=None):
    with reading() as session:
        rows = select(Vm).where(Vm.kind == "DomainRouter", Vm.removed.is_(None)).order_by(Vm.id.desc())
        return session.scalar(rows)


def handed_out():
    with reading() as session:
        router = router_of()
        return document.compute(session, router, session.get(Network, router.network_id))


# --- where machines start, and whether they start again ---------------------------------------------------------------


def test_a_machine_starts_elsewhere_than_on_the_host_that_was_named_where_that_is_let(cloud, zone):
    full, other = zone["hosts"].split(",")
    write(lambda tx: tx.execute(update(Host).where(Host.uuid == full).values(memory_capacity=0)))
    with pytest.raises(Refused, match="lacks 512 MiB"):
        deploy(cloud, zone, hostid=full)
    turn(cloud, "allow.deploy.vm.if.deploy.on.given.host.fails", "true")
    assert deploy(cloud, zone, hostid=full)["hostid"] == other
    write(lambda tx: tx.execute(update(Host).values(memory_capacity=0)))
    with pytest.raises(Refused, match="lacks 512 MiB"):
        deploy(cloud, zone, hostid=full)


@pytest.mark.parametrize("count", [1, guests.FEW])
@pytest.mark.parametrize("again", [True, False])
def test_what_stopped_by_itself_on_a_living_host_starts_again_or_not(cloud, zone, count, again):
    sent = {"name": "ha", "displaytext": "ha", "cpunumber": 1, "cpuspeed": 100, "memory": 128, "offerha": True}
    offering = cloud.ask("createServiceOffering", **sent)["serviceoffering"]["id"]
    host = zone["hosts"].split(",")[0]
    made = [deploy(cloud, {**zone, "offering": offering}, hostid=host) for _ in range(count)]
    turn(cloud, "ha.vm.restart.hostup", str(again).lower())
    with reading() as session:
        number = session.scalar(select(Host.id).where(Host.uuid == host))
    off = update(SimulatedMachine).where(SimulatedMachine.machine.in_([vm["id"] for vm in made]))
    write(lambda tx: tx.execute(off.values(state="Stopped")) and None)
    reported(number, [MachineState("any", vm["id"], "Stopped") for vm in made])
    cloud.work()
    states = {cloud.ask("listVirtualMachines", id=vm["id"])["virtualmachine"][0]["state"] for vm in made}
    assert states == {"Running" if again else "Stopped"}


def test_a_dead_hosts_machines_start_again_whatever_is_said_of_living_ones(cloud, zone):
    vm = deploy(cloud, zone)
    turn(cloud, "ha.vm.restart.hostup", "false")

    def die(tx):
        row = tx.scalar(select(Vm).where(Vm.uuid == vm["id"]))
        row.ha_enabled = True
        return guests.lay_down(tx, row, tx.get_one(Host, row.host_id), "died")

    assert write(die) is True


def test_snapshots_without_memory_are_for_stopped_machines_where_the_setting_says_so(cloud, zone):
    vm = deploy(cloud, zone)
    write(lambda tx: tx.execute(update(Vm).where(Vm.uuid == vm["id"]).values(hypervisor="KVM")))
    turn(cloud, "kvm.vmstoragesnapshot.enabled", "false")
    with pytest.raises(Refused, match="snapshotmemory=true, or stop it first"):
        cloud.ask("createVMSnapshot", virtualmachineid=vm["id"])
    assert "jobid" in cloud.ask("createVMSnapshot", virtualmachineid=vm["id"], snapshotmemory=True)


def test_statistics_are_read_of_users_machines_alone_where_that_is_said(cloud, zone, monkeypatch):
    deploy(cloud, zone)
    write(lambda tx: tx.execute(update(Host).values(hypervisor="KVM")))
    asked = []
    monkeypatch.setattr(timers.dispatch, "machine_statistics", lambda host, names, *more: asked.extend(names) or [])
    timers.read_statistics()
    assert {name[0] for name in asked} == {"i", "r"}
    del asked[:]
    turn(cloud, "vm.stats.user.vm.only", "true")
    timers.read_statistics()
    assert {name[0] for name in asked} == {"i"}


@pytest.mark.parametrize("cluster", [False, True])
def test_statistics_are_waited_for_as_long_as_the_cluster_says(cloud, zone, monkeypatch, cluster):
    deploy(cloud, zone)
    write(lambda tx: tx.execute(update(Host).values(hypervisor="KVM", agent="a1")))
    seen = set()

    def note(host, *more):
        seen.add(more[-1])
        raise Unavailable("it does not tell")

    monkeypatch.setattr(timers.dispatch, "machine_statistics", note)
    monkeypatch.setattr(timers.dispatch, "statistics", note)
    turn(cloud, "stats.timeout", 7000, **({"clusterid": zone["cluster"]} if cluster else {}))
    timers.read_statistics()
    with pytest.raises(Unavailable):
        link.measure("a1")
    assert seen == {7.0}


def test_hosts_call_new_machines_as_the_setting_says(cloud, zone):
    def names():
        with reading() as session:
            return {v.instance for v in session.scalars(select(Vm))}

    deploy(cloud, zone)
    before = names()
    assert {n.rpartition("-")[2] for n in before} == {"VM"}
    turn(cloud, "instance.name", "QA1")
    vm = deploy(cloud, zone, networkids=network(cloud, zone))
    assert before < names() and {n.rpartition("-")[2] for n in names() - before} == {"QA1"}
    assert {n[:2] for n in names() - before} == {"i-", "r-"} and router_of().name == router_of().instance
    assert vm["instancename"] in names() - before
    turn(cloud, "instance.name", "VM")
    cloud.job("stopVirtualMachine", id=vm["id"])
    assert cloud.job("startVirtualMachine", id=vm["id"])["virtualmachine"]["instancename"] == vm["instancename"]
    for wrong in ("Q-A", "", "a b"):
        with pytest.raises(Refused, match="1 to 20 letters and digits|must be given"):
            turn(cloud, "instance.name", wrong)


# --- addresses --------------------------------------------------------------------------------------------------------


def test_macs_begin_as_the_zone_says(cloud, zone):
    def second():
        with reading() as session:
            return guest_mac(session.scalar(select(Zone)), 7, "10.1.1.9").split(":")[1]

    with reading() as session:
        number = session.scalar(select(Zone.id))
    assert second() == f"{number & 0xFF:02x}"
    turn(cloud, "mac.identifier", 171, zoneid=zone["zone"])
    assert second() == "ab"
    made = deploy(cloud, zone)
    assert made["nic"][0]["macaddress"].startswith("02:ab:")
    with pytest.raises(Refused, match="0 to 255"):
        turn(cloud, "mac.identifier", 256)


def test_system_vms_take_management_addresses_that_are_kept_for_them_first_or_only(cloud, zone):
    def take(tx):
        pod = tx.scalar(select(PodRange.pod_id))
        vm = tx.scalar(select(Vm.id))
        return take_pod_address(tx, pod, vm).range_id

    deploy(cloud, zone)

    def keep(tx):
        usual = tx.scalar(select(PodRange))
        kept = PodRange(pod_id=usual.pod_id, start_ip="172.16.0.60", end_ip="172.16.0.60", for_system_vms=True)
        tx.add(kept)
        tx.flush()
        tx.add(PodAddress(pod_id=usual.pod_id, range_id=kept.id, address="172.16.0.60"))
        return usual.id, kept.id

    usual, kept = write(keep)
    assert (write(take), write(take)) == (kept, usual)
    turn(cloud, "system.vm.management.ip.reservation.mode.strictness", "true")
    with pytest.raises(NoAddress):
        write(take)


# --- routers ----------------------------------------------------------------------------------------------------------


def test_guests_ask_their_router_for_names_or_the_zones_servers(cloud, zone):
    deploy(cloud, zone)
    assert handed_out().dns_service is True
    turn(cloud, "use.external.dns", "true", zoneid=zone["zone"])
    told = handed_out()
    assert told.dns_service is False and told.dns == ("192.0.2.53",)


def test_guests_read_the_clouds_name_in_their_metadata(cloud, zone):
    deploy(cloud, zone)
    assert "cloud-name" not in handed_out().guests[0].metadata
    turn(cloud, "metadata.custom.cloud.name", "Example cloud", zoneid=zone["zone"])
    assert handed_out().guests[0].metadata["cloud-name"] == "Example cloud"


def test_further_nics_of_some_guests_are_told_their_gateway(cloud, zone):
    vm = deploy(cloud, zone)
    cloud.job("addNicToVirtualMachine", virtualmachineid=vm["id"], networkid=network(cloud, zone))

    def of(name):
        def put(tx):
            os = tx.scalar(select(OsType.id).where(OsType.name.startswith(name)).limit(1))
            tx.execute(update(Vm).where(Vm.uuid == vm["id"]).values(os_type_id=os))
            tx.execute(update(Nic).where(Nic.traffic == "Guest").values(is_default=False))

        write(put)
        return {lease.default for lease in handed_out().leases}

    assert (of("Windows"), of("Ubuntu")) == ({True}, {False})
    turn(cloud, "network.dhcp.nondefaultnetwork.setgateway.guestos", "CentOS, Ubuntu")
    assert (of("Windows"), of("Ubuntu")) == ({False}, {True})


def test_routers_have_the_offering_of_their_account_and_the_disk_of_the_setting(cloud, zone):
    sent = {"name": "big", "displaytext": "b", "cpunumber": 2, "cpuspeed": 700, "memory": 512, "issystem": True}
    big = cloud.ask("createServiceOffering", **sent, systemvmtype="domainrouter")["serviceoffering"]["id"]
    wrong = cloud.ask("createServiceOffering", **sent, systemvmtype="consoleproxy")["serviceoffering"]["id"]
    deploy(cloud, zone)
    usual = router_of()
    (admin,) = cloud.ask("listAccounts", name="admin")["account"]
    turn(cloud, "router.service.offering", big, accountid=admin["id"])
    turn(cloud, "systemvm.root.disk.size", 9)
    deploy(cloud, zone, networkids=network(cloud, zone))
    with reading() as session:
        assert router_of().id != usual.id and (router_of().cpus, router_of().memory) == (2, 512)
        sizes = dict(session.execute(select(Volume.vm_id, Volume.size).where(Volume.kind == "ROOT")).all())
    assert sizes[router_of().id] == 9 * GIB > sizes[usual.id]
    turn(cloud, "router.service.offering", wrong, accountid=admin["id"])
    deploy(cloud, zone, networkids=network(cloud, zone, number=4))
    assert router_of().service_offering_id == usual.service_offering_id, "an offering of others is left out"


def test_system_vms_are_on_local_storage_where_the_zone_says_so(cloud, zone):
    deploy(cloud, zone)

    def storage():
        with reading() as session:
            return session.scalar(
                select(document.ServiceOffering.name).where(ServiceOffering.id == router_of().service_offering_id)
            )

    shared = storage()
    turn(cloud, "system.vm.use.local.storage", "true", zoneid=zone["zone"])
    with pytest.raises(Refused, match=r"(?i)storage"):  # the hosts have none
        deploy(cloud, zone, networkids=network(cloud, zone))
    assert storage() != shared


def test_machines_of_simulated_hosts_have_statistics_too(cloud, zone):
    vm = deploy(cloud, zone)
    timers.read_statistics()
    (found,) = cloud.ask("listVirtualMachines", id=vm["id"], accumulate=True)["virtualmachine"]
    assert found["cpuused"] == "10%" and found["memorykbs"] == found["memory"] * 1024
    assert (found["networkkbsread"], found["networkkbswrite"]) == (32768, 16384)
    timers.read_statistics()
    (found,) = cloud.ask("listVirtualMachines", id=vm["id"])["virtualmachine"]
    assert found["networkkbsread"] == 0, "it read nothing since the last reading"
    cloud.job("stopVirtualMachine", id=vm["id"])
    (found,) = cloud.ask("listVirtualMachinesMetrics", id=vm["id"])["virtualmachine"]
    gone = {"cpuused", "memorykbs", "networkkbsread", "networkread", "diskiopstotal"}
    assert not gone & found.keys(), "it is stopped"
