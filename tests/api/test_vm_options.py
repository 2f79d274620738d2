"""What a machine's host is told beyond its size: queues, threads, additional configuration."""

from itertools import product
from urllib.parse import quote

import pytest
from sqlalchemy import select, update

from mgmt_server.db import reading, write
from mgmt_server.drivers.hypervisor import simulator
from mgmt_server.model.account import Account
from mgmt_server.model.host import Host
from mgmt_server.model.offering import NetworkOffering
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm
from mgmt_server.resources.networkoffering.rates import Rate, of_nic
from mgmt_server.resources.vm import timers
from mgmt_server.resources.vm.views import COUNTED
from tests.api.test_nic import network
from tests.api.test_vm import deploy
from tests.cloud import Refused
from tests.crash.invariants import broken
from tests.simulated import build

PIECE = "memory:\n<memoryBacking><hugepages/></memoryBacking>"
RATES = ("network.throttling.rate", "vm.network.throttling.rate")
LIST = "allow.additional.vm.configuration.list.kvm"


@pytest.fixture
def zone(cloud):
    return build() | {"offering": cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]}


@pytest.fixture
def told(monkeypatch):
    """What hosts were told of users' machines, disks and NICs, the last one last."""
    found = []

    def spy(name, at):
        real = getattr(simulator.Simulator, name)

        def method(self, call, host, *arguments):
            if getattr(arguments[at], "kind", "User") == "User":
                found.append(arguments[at])
            return real(self, call, host, *arguments)

        monkeypatch.setattr(simulator.Simulator, name, method)

    for name, at in (("start", 0), ("attach_disk", 1), ("attach_nic", 1)):
        spy(name, at)
    return found


def allow(cloud, names, account=None):
    whose = {"accountid": account} if account else {}
    cloud.ask("updateConfiguration", name="enable.additional.vm.configuration", value="true", **whose)
    cloud.ask("updateConfiguration", name=LIST, value=names, **whose)


def test_queues_threads_and_policy_reach_the_host_and_what_is_plugged_in_later(cloud, zone, told):
    vm = deploy(
        cloud, zone, nicmultiqueuenumber=-1, nicpackedvirtqueuesenabled=True, iothreadsenabled=True,
        iodriverpolicy="IO_URING",
    )  # fmt: skip
    assert vm["details"] == {
        "nic.multiqueue.number": "-1",
        "nic.packed.virtqueues.enabled": "true",
        "iothreads": "true",
        "io.policy": "io_uring",
    }
    (nic,), (disk,) = told[-1].nics, told[-1].disks
    assert (nic.queues, nic.packed) == (told[-1].cpus, True) and (disk.io, disk.threaded) == ("io_uring", True)
    offering = cloud.ask("createDiskOffering", name="d", displaytext="d", disksize=1)["diskoffering"]["id"]
    made = cloud.job("createVolume", name="more", zoneid=zone["zone"], diskofferingid=offering)["volume"]
    cloud.job("attachVolume", id=made["id"], virtualmachineid=vm["id"])
    assert (told[-1].io, told[-1].threaded) == ("io_uring", True)
    cloud.job("addNicToVirtualMachine", virtualmachineid=vm["id"], networkid=network(cloud, zone))
    assert told[-1].packed is True


def test_limits_of_cpus_and_nics_reach_the_host(cloud, zone, told):
    size = {"cpunumber": 2, "cpuspeed": 700, "memory": 128}
    capped = cloud.ask("createServiceOffering", name="capped", **size, limitcpuuse=True, networkrate=30)
    for setting in RATES:
        cloud.ask("updateConfiguration", name=setting, value="0")
    deploy(cloud, zone, serviceofferingid=zone["offering"])
    assert (told[-1].speed_limit, [n.rate for n in told[-1].nics]) == (0, [0])
    write(lambda tx: tx.execute(update(NetworkOffering).values(network_rate=70)) and None)
    vm = deploy(cloud, zone, serviceofferingid=capped["serviceoffering"]["id"])
    assert (told[-1].speed_limit, [n.rate for n in told[-1].nics]) == (700, [30])
    cloud.job("addNicToVirtualMachine", virtualmachineid=vm["id"], networkid=network(cloud, zone))
    assert told[-1].rate == 70
    cloud.job("stopVirtualMachine", id=vm["id"])
    cloud.job("scaleVirtualMachine", id=vm["id"], serviceofferingid=zone["offering"])
    cloud.job("startVirtualMachine", id=vm["id"])
    assert (told[-1].speed_limit, [n.rate for n in told[-1].nics]) == (0, [0, 70])


def test_where_offerings_name_no_rate_settings_do(cloud, zone, told):
    vm = deploy(cloud, zone, serviceofferingid=zone["offering"])
    assert [n.rate for n in told[-1].nics] == [200]
    cloud.ask("updateConfiguration", name=RATES[0], value="500", zoneid=zone["zone"])
    cloud.job("addNicToVirtualMachine", virtualmachineid=vm["id"], networkid=network(cloud, zone))
    assert told[-1].rate == 500
    cloud.ask("updateConfiguration", name=RATES[1], value="-1")
    cloud.job("rebootVirtualMachine", id=vm["id"])
    cloud.job("stopVirtualMachine", id=vm["id"])
    cloud.job("startVirtualMachine", id=vm["id"])
    assert [n.rate for n in told[-1].nics] == [0, 500]


def test_a_router_is_as_fast_as_networks_and_what_carries_the_cloud_is_not_limited(cloud, zone, monkeypatch):
    started = []
    real = simulator.Simulator.start
    monkeypatch.setattr(
        simulator.Simulator, "start", lambda self, call, host, m: started.append(m) or real(self, call, host, m)
    )
    deploy(cloud, zone, networkids=network(cloud, zone))
    (router,) = (m for m in started if m.kind == "DomainRouter")
    assert {n.traffic: n.rate for n in router.nics} == {"Guest": 200, "Public": 200, "Control": 0}
    assert all(n.rate_by_default for n in router.nics if n.rate)
    assert of_nic("DomainRouter", "Public", 1, 50, 70, default=True) == Rate(50)
    assert of_nic("ConsoleProxy", "Public", 1, 50, 70, default=True) == Rate(70)
    assert of_nic("ConsoleProxy", "Public", 1, 50, None, default=True) == Rate(200, by_default=True)
    assert of_nic("ConsoleProxy", "Management", 1, 50, 70, default=True) == Rate(0)
    assert of_nic("User", "Guest", 1, 0, 70, default=True) == Rate(0)


def test_how_an_offering_has_its_disks_kept_reaches_the_host(cloud, zone, told):
    rates = {f"{what}{way}rate{more}": n for n, (what, way, more) in enumerate(product(
        ("bytes", "iops"), ("read", "write"), ("", "max", "maxlength")), 1)}  # fmt: skip
    sent = {"cachemode": "writeback", "provisioningtype": "sparse", "disksizestrictness": True, **rates}
    strict = cloud.ask("createDiskOffering", name="s", displaytext="s", disksize=1, **sent)["diskoffering"]
    assert (strict["cacheMode"], strict["provisioningtype"], strict["disksizestrictness"]) == (
        "writeback", "sparse", True)  # fmt: skip
    size = {"cpunumber": 1, "cpuspeed": 100, "memory": 128, "provisioningtype": "fat", "cachemode": "writethrough"}
    own = cloud.ask("createServiceOffering", name="own", **size, diskofferingstrictness=True)["serviceoffering"]["id"]
    vm = deploy(cloud, zone, serviceofferingid=own, diskofferingid=strict["id"])
    root, disk = told[-1].disks
    assert (root.cache, root.provisioning, root.limits) == ("writethrough", "fat", {})
    assert (disk.cache, disk.provisioning) == ("writeback", "sparse")
    assert disk.limits == {
        name.replace("bytes", "bytes_").replace("iops", "iops_").replace("ratemax", "_max").replace("rate", "")
        .replace("maxlength", "max_length"): n for name, n in rates.items()
    }  # fmt: skip
    (data,) = cloud.ask("listVolumes", virtualmachineid=vm["id"], type="DATADISK")["volume"]
    with pytest.raises(Refused, match="does not let it change its size"):
        cloud.job("resizeVolume", id=data["id"], diskofferingid=offering(cloud, disksize=2))
    with pytest.raises(Refused, match="has a disk offering of its own"):
        deploy(cloud, zone, serviceofferingid=own, overridediskofferingid=strict["id"])


def offering(cloud, **sent):
    return cloud.ask("createDiskOffering", name="d", displaytext="d", **sent)["diskoffering"]["id"]


def test_a_template_says_how_its_machines_are_served_unless_they_say_so_themselves(cloud, zone, told):
    def tell(tx):
        row = tx.scalar(select(Template).where(Template.uuid == zone["template"]))
        row.details = {"io.policy": "threads", "rootDiskController": "scsi", "note": "not one for machines"}

    write(tell)
    vm = deploy(cloud, zone)
    assert vm["details"] == {"io.policy": "threads", "rootDiskController": "scsi"}
    assert told[-1].disks[0].io == "threads"
    deploy(cloud, zone, iodriverpolicy="storage_specific")
    assert told[-1].disks[0].io == "" and told[-1].details["rootDiskController"] == "scsi"


@pytest.mark.parametrize(
    "sent",
    [
        {"iodriverpolicy": "fast"},
        {"nicmultiqueuenumber": 0},
        {"nicmultiqueuenumber": 257},
        {"details[0].iothreads": "perhaps"},
        {"details[0].nicAdapter": "banana"},
        {"details[0].video.ram": "much"},
        {"keyboard": "zz"},
        {"details[0].extraconfig-1": "<a/>"},
    ],
)
def test_options_that_no_host_could_follow_are_refused(cloud, zone, sent):
    with pytest.raises(Refused) as no:
        deploy(cloud, zone, **sent)
    assert no.value.status == 431


@pytest.mark.parametrize("command", ["startVirtualMachine", "rebootVirtualMachine"])
def test_no_machine_starts_into_the_set_up_of_its_firmware(cloud, zone, command):
    vm = deploy(cloud, zone)
    if command == "startVirtualMachine":
        cloud.job("stopVirtualMachine", id=vm["id"])
    with pytest.raises(Refused, match="bootintosetup=true: hypervisors here do not stop in the firmware"):
        cloud.ask(command, id=vm["id"], bootintosetup=True)
    assert cloud.job(command, id=vm["id"], bootintosetup=False)["virtualmachine"]["state"] == "Running"


def test_additional_configuration_is_checked_kept_and_told(cloud, zone, told):
    with pytest.raises(Refused, match="no additional configuration"):
        deploy(cloud, zone, extraconfig=quote(PIECE))
    allow(cloud, "memoryBacking, hugepages,watchdog")
    vm = deploy(cloud, zone, extraconfig=quote(PIECE + "\n\n<watchdog/>"))
    assert vm["details"] == {"extraconfig-memory": PIECE.partition("\n")[2], "extraconfig-2": "<watchdog/>"}
    assert told[-1].extra == ("<watchdog/>", PIECE.partition("\n")[2]) and told[-1].details == {}
    with pytest.raises(Refused, match="stop it"):
        cloud.ask("updateVirtualMachine", id=vm["id"], extraconfig=quote("<watchdog/>"))
    cloud.job("stopVirtualMachine", id=vm["id"])
    changed = {"details[0].note": "x", "extraconfig": quote('<watchdog model="i6300esb"/>')}
    found = cloud.ask("updateVirtualMachine", id=vm["id"], **changed)["virtualmachine"]["details"]
    assert found == {"note": "x", "extraconfig-1": '<watchdog model="i6300esb"/>'}
    kept = cloud.ask("updateVirtualMachine", id=vm["id"], **{"details[0].note": "y"})["virtualmachine"]["details"]
    assert kept == found | {"note": "y"}
    gone = cloud.ask("updateVirtualMachine", id=vm["id"], cleanupdetails=True)["virtualmachine"]
    assert gone.get("details", {}) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<memoryBacking><source type='file'/></memoryBacking>", "source is not in the list"),
        ("<devices><disk/></devices>", "devices, disk is not in the list"),
        ("<!DOCTYPE a><memoryBacking/>", "cannot be taken"),
        ("<memoryBacking>", "cannot be taken"),
        ("a:\n<memoryBacking/>\n\na:\n<memoryBacking/>", "two pieces called a"),
    ],
)
def test_configuration_beyond_what_operators_allow_is_refused(cloud, zone, text, said):
    allow(cloud, "memoryBacking,hugepages")
    with pytest.raises(Refused, match=said):
        deploy(cloud, zone, extraconfig=quote(text))


def test_additional_configuration_is_one_accounts_where_it_is_switched_on_for_it(cloud, zone):
    cloud.account("ann")
    cloud.account("bob")
    with reading() as session:
        ann = session.scalar(select(Account.uuid).where(Account.name == "ann"))
    allow(cloud, "memoryBacking,hugepages", account=ann)
    assert "extraconfig-memory" in deploy(cloud, zone, user="ann", extraconfig=quote(PIECE))["details"]
    with pytest.raises(Refused, match="no additional configuration"):
        deploy(cloud, zone, user="bob", extraconfig=quote(PIECE))


def test_a_volatile_machine_comes_back_from_a_reboot_with_a_new_root_disk(cloud, zone):
    sizes = {"cpunumber": 1, "cpuspeed": 500, "memory": 512}
    offering = cloud.ask("createServiceOffering", name="v", displaytext="v", isvolatile=True, **sizes)
    vm = deploy(cloud, zone, serviceofferingid=offering["serviceoffering"]["id"])
    (before,) = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"]
    again = cloud.job("rebootVirtualMachine", id=vm["id"])["virtualmachine"]
    (after,) = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"]
    assert again["state"] == "Running" and again["nic"][0]["ipaddress"] == vm["nic"][0]["ipaddress"]
    assert after["id"] != before["id"] and (after["state"], after["size"]) == ("Ready", before["size"])
    assert cloud.ask("listVolumes", id=before["id"]) == {} and broken() == []
    cloud.job("createVMSnapshot", virtualmachineid=vm["id"])
    with pytest.raises(Refused, match="volatile"):
        cloud.job("rebootVirtualMachine", id=vm["id"])


def test_statistics_are_of_the_last_interval_or_of_all(cloud, zone):
    vm = deploy(cloud, zone)

    def read(total):
        names = dict.fromkeys(COUNTED, total) | {"cpu_used": 1.0, "memory": 1, "memory_free": 0, "name": "x"}
        with reading() as session:
            number = session.scalar(select(Vm.id).where(Vm.uuid == vm["id"]))
        write(timers._keep, {number: names})

    def told(**sent):
        return cloud.ask("listVirtualMachines", id=vm["id"], **sent)["virtualmachine"][0]["networkkbsread"]

    read(100)
    read(130)
    assert (told(), told(accumulate=False), told(accumulate=True)) == (30, 30, 130)
    read(5)  # it was started anew
    assert (told(), told(accumulate=True)) == (5, 5)
    cloud.ask("updateConfiguration", name="vm.stats.increment.metrics", value="true")
    read(9)
    assert (told(), told(accumulate=False)) == (9, 4)


def test_hosts_that_could_have_a_machine_are_listed(cloud, zone):
    first, second = (h["name"] for h in cloud.ask("listHosts", type="Routing")["host"])
    vm = deploy(cloud, zone)

    def names():
        return [h["name"] for h in cloud.ask("listHosts", virtualmachineid=vm["id"]).get("host", [])]

    other = {first: second, second: first}[vm["hostname"]]
    assert names() == [other]
    cloud.job("stopVirtualMachine", id=vm["id"])
    assert sorted(names()) == sorted([first, second])
    write(lambda tx: [setattr(h, "memory_capacity", h.memory_used) for h in tx.scalars(select(Host))])
    assert names() == []


def test_guests_read_in_their_machine_who_made_it(cloud, zone, told):
    deploy(cloud, zone)
    assert told[-1].product == "CloudStack Simulator Hypervisor"
    assert told[-1].manufacturer == "Apache Software Foundation"
    cloud.ask("updateConfiguration", name="vm.metadata.manufacturer", value="Example", zoneid=zone["zone"])
    cloud.ask("updateConfiguration", name="vm.metadata.product", value="Example machine", zoneid=zone["zone"])
    deploy(cloud, zone)
    assert (told[-1].manufacturer, told[-1].product) == ("Example", "Example machine")
