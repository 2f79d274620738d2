"""What is written about a guest, and where its disks are: moved with it while it runs, and while it is stopped.

One guest with a data disk, both on its host at first, is carried through all tests in the order in which they stand. At
last it makes room for one that the cloud did not start. Leaves the lab as it was.
"""

from __future__ import annotations

import base64
import hashlib

import pytest

from tests.e2e.conftest import wait
from tests.e2e.machine import STORE, Machine, deployed, hosts, parts, short

pytestmark = [pytest.mark.lab, pytest.mark.guests, pytest.mark.timeout(1800)]

IMAGES = "/var/lib/libvirt/images"
RATE = 4 << 20  # bytes a second
MIB = 8  # that are read


@pytest.fixture(scope="module")
def both(lab, client):
    return hosts(lab, client)


@pytest.fixture(scope="module")
def guest(lab, client, both):
    with deployed(lab, client, "moving", hostid=both[0]["id"], **parts(lab, client, "tiny")) as made:
        made.does("echo kept > /state/mark; sync")
        yield made


@pytest.fixture(scope="module")
def disk(lab, client, guest):
    """A disk beside its guest's, of an offering that limits what is read of it."""
    offering = client.ask(
        "createDiskOffering", name="e2e slow", displaytext="slow", customized="true", storagetype="local",
        bytesreadrate=RATE,
    )["diskoffering"]["id"]  # fmt: skip
    sent = {"name": "moving", "diskofferingid": offering, "size": 1, "zoneid": guest.now["zoneid"]}
    made = client.job("createVolume", **sent)["volume"]["id"]
    client.job("attachVolume", id=made, virtualmachineid=guest.id, seconds=120)
    wait(lambda: guest.disk(made), 60)
    guest.does(f"dd if=/dev/urandom of=/dev/vdb bs=1M count={MIB} 2>/dev/null; sync")
    yield made
    client.job("detachVolume", id=made, seconds=120)
    client.job("destroyVolume", id=made, expunge="true", seconds=120)
    client.ask("deleteDiskOffering", id=offering)


def pool_of(client, host):
    """The host's own."""
    found = client.ask("listStoragePools", scope="HOST")["storagepool"]
    return next(p for p in found if p["name"].startswith(host["name"]))


def volumes(client, guest):
    return client.ask("listVolumes", virtualmachineid=guest.id)["volume"]


def digest(guest, disk):
    device = guest.disk(disk)["name"]
    return guest.does(f"head -c {MIB << 20} /dev/{device} | sha256sum | cut -d' ' -f1")


def rate(guest, device):
    """Bytes a second that the guest gets out of a disk."""
    read = f"dd if=/dev/{device} of=/dev/null bs=256k count={MIB * 4}"
    clock = "cut -d' ' -f1 /proc/uptime"
    told = guest.does(f"echo 3 > /proc/sys/vm/drop_caches; {clock}; {read} 2>/dev/null; {clock}").split()
    return (MIB << 20) / max(0.01, float(told[1]) - float(told[0]))


def test_a_guest_gets_no_more_out_of_a_disk_than_its_offering_gives(client, guest, disk):
    free, limited = rate(guest, "vda"), rate(guest, "vdb")
    print(f"{free / RATE:.1f} times the limit without it, {limited / RATE:.2f} with it")
    assert limited < RATE * 1.5 < free


def test_a_running_guest_moves_with_its_disks_between_hosts_own_pools(lab, client, both, guest, disk):
    away, home = both
    content, boots, target = digest(guest, disk), guest.sees()["boots"], pool_of(client, home)
    before = {v["path"] for v in volumes(client, guest)}
    wanted = {f"migrateto[{n}].{k}": v for n, each in enumerate(volumes(client, guest))
              for k, v in (("volume", each["id"]), ("pool", target["id"]))}  # fmt: skip
    client.job("migrateVirtualMachineWithVolume", virtualmachineid=guest.id, hostid=home["id"], **wanted, seconds=600)
    assert guest.now["hostid"] == home["id"]
    assert {v["storageid"] for v in volumes(client, guest)} == {target["id"]}
    assert digest(guest, disk) == content and guest.does("cat /state/mark") == "kept" and guest.sees()["boots"] == boots
    assert not guest.on(away) and not before & set(lab.on(short(away), f"ls {IMAGES}").split())
    assert rate(guest, "vdb") < RATE * 1.5, "what limits the disk has come along"


def test_a_stopped_guest_gets_another_name_data_hardware_and_pool(lab, client, both, guest, disk):
    """User data that is a MiB on its way among them. Its disks go where both hosts see them; it starts elsewhere."""
    away, home = both
    content, boots = digest(guest, disk), guest.sees()["boots"]
    page = b"#!/bin/sh\necho changed > /www/index.html\nexit\n"
    data = page + b"#" * (768 * 1024 - len(page))
    text = base64.b64encode(data).decode()
    assert len(text) == 1 << 20
    client.job("stopVirtualMachine", id=guest.id, seconds=300)
    old = client.ask("listConfigurations", name="vm.userdata.max.length")["configuration"][0]["value"]
    client.ask("updateConfiguration", name="vm.userdata.max.length", value=1 << 20)
    try:
        client.ask(
            "updateVirtualMachine", id=guest.id, name="moved-on", displayname="Moved on", userdata=text,
            **{"details[0].rootDiskController": "scsi"},
        )  # fmt: skip
    finally:
        client.ask("updateConfiguration", name="vm.userdata.max.length", value=old)
    (shared,) = client.ask("listStoragePools", name="shared")["storagepool"]
    client.job("migrateVirtualMachine", virtualmachineid=guest.id, storageid=shared["id"], seconds=300)
    assert {v["storageid"] for v in volumes(client, guest)} == {shared["id"]}
    client.job("startVirtualMachine", id=guest.id, hostid=away["id"], seconds=300)
    guest.comes(boots + 1)
    assert guest.now["displayname"] == "Moved on" and guest.now["name"] == "moved-on"
    told = guest.does("hostname; cat /state/mark; findfs LABEL=tinystate").split()
    assert told == ["moved-on", "kept", "/dev/sda2"]
    wait(lambda: lab.page(guest.address).strip() == "changed", 60)
    assert guest.sees()["userdata_sha256"] == hashlib.sha256(data).hexdigest()
    assert guest.host == short(away) and digest(guest, disk) == content


def test_a_guest_that_an_operator_moves_by_hand_is_found_where_it_runs(lab, client, both, guest, disk):
    """With virsh, and so unknown to the cloud, which would else count it as dead on the one host and as a stray on the
    other."""
    away, home = both
    boots, name, file = guest.sees()["boots"], guest.now["instancename"], "/run/by-hand.xml"
    address = f"s/{away['ipaddress']}/{home['ipaddress']}/g"
    move = "virsh migrate --live --p2p --tls --persistent --undefinesource --unsafe"
    there = f"qemu+tls://{home['ipaddress']}/system tcp://{home['ipaddress']}"
    lab.on(short(away), f"virsh dumpxml --migratable --security-info {name} | sed '{address}' > {file}")
    lab.on(short(away), f"{move} --xml {file} --persistent-xml {file} {name} {there} && rm {file}", seconds=300)
    wait(lambda: guest.now.get("hostid") == home["id"], 60)
    assert guest.now["state"] == "Running" and guest.sees()["boots"] == boots
    assert any("by nobody here" in told for told in guest.events("VM.MIGRATE"))
    assert not any(f"no longer on {away['name']}" in told for told in guest.events("VM.STOP"))
    assert not guest.on(away)
    client.job("rebootVirtualMachine", id=guest.id, seconds=300)
    guest.comes(boots + 1)


# --- one that the cloud did not start ---------------------------------------------------------------------------------

STRANGER = """<domain type='qemu'><name>stranger</name><memory unit='MiB'>256</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{images}/stranger'/>
<target dev='vda' bus='virtio'/></disk><interface type='bridge'><source bridge='cloudbr1'/>
<mac address='52:54:00:5e:ed:01'/><model type='virtio'/></interface><serial type='pty'/></devices></domain>"""


@pytest.fixture
def stranger(lab, client, both, guest):
    """A machine that somebody started on a host by hand, while the guest is stopped."""
    away, name = both[0], short(both[0])
    boots = guest.sees()["boots"]
    client.job("stopVirtualMachine", id=guest.id, seconds=300)
    xml = base64.b64encode(STRANGER.format(images=IMAGES).encode()).decode()
    lab.on(
        name, f"curl -sf -o {IMAGES}/stranger {STORE}/tiny-guest.qcow2 && echo {xml} | base64 -d > /run/stranger.xml"
    )
    lab.on(name, "virsh define /run/stranger.xml && virsh start stranger")
    yield away
    gone = f"virsh destroy stranger; virsh undefine --nvram stranger; rm -f {IMAGES}/stranger /run/stranger.xml"
    lab.on(name, gone, check=False)
    client.job("startVirtualMachine", id=guest.id, seconds=300)
    guest.comes(boots + 1)


def test_a_stranger_that_runs_is_taken_in_without_a_stop(lab, client, both, guest, stranger):
    name, made = short(stranger), parts(lab, client, "tiny")
    process = lab.on(name, "cat /run/libvirt/qemu/stranger.pid")
    known = {"clusterid": stranger["clusterid"], "name": "stranger"}
    (found,) = client.ask("listUnmanagedInstances", **known)["unmanagedinstance"]
    assert (found["powerstate"], found["hostname"]) == ("PowerOn", stranger["name"])
    mac = found["nic"][0]["id"]
    taken = client.job(
        "importUnmanagedInstance", **known, serviceofferingid=made["serviceofferingid"], hostname="settled",
        templateid=made["templateid"], seconds=120,
        **{"nicnetworklist[0].nic": mac, "nicnetworklist[0].network": made["networkids"]},
    )["virtualmachine"]  # fmt: skip
    settled = Machine(lab, client, taken["id"])
    try:
        assert (taken["state"], settled.host) == ("Running", name)
        assert settled.sees()["boots"] == 1, "it got the address that the cloud gave it"
        assert lab.on(name, "cat /run/libvirt/qemu/stranger.pid") == process
        client.job("stopVirtualMachine", id=settled.id, seconds=300)
        client.job("resetSSHKeyForVirtualMachine", id=settled.id, keypair="lab-guest")
        client.job("startVirtualMachine", id=settled.id, seconds=300)
        settled.comes(2)
        assert settled.does("hostname") == "settled"
    finally:
        client.job("destroyVirtualMachine", id=settled.id, expunge="true", seconds=300)
    assert "stranger" not in lab.on(name, f"virsh -q list --all --name; ls {IMAGES}").split()
