"""A machine's whole life, each step seen from inside its guest. One machine is carried through all, in the order in
which the tests stand; another one is made of its disk. Runs after the others, on their lab.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess

import pytest

from tests.e2e.conftest import wait
from tests.e2e.machine import BOOTABLE, STORE, Machine, coded

pytestmark = [pytest.mark.lab, pytest.mark.guests, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def place(lab, client):
    """Ids of what machines are made of here, with a template that takes passwords and grows. Taken away at the end."""
    zone = lab.guest()["zoneid"]
    made = {"zoneid": zone}
    made["network"] = client.ask("listNetworks", keyword="guests")["network"][0]["id"]
    os_type = client.ask("listOsTypes", keyword="Other Linux (64-bit)")["ostype"][0]["id"]
    made["ostypeid"] = os_type
    template = client.ask(
        "registerTemplate", name="life", displaytext="life", url=f"{STORE}/tiny-guest.qcow2", format="QCOW2",
        hypervisor="KVM", ostypeid=os_type, zoneid=zone, passwordenabled="true", isdynamicallyscalable="true",
        isextractable="true",
    )["template"][0]["id"]  # fmt: skip
    made["template"] = template
    ready = {"templatefilter": "all", "id": template}
    wait(lambda: client.ask("listTemplates", **ready)["template"][0]["isready"], 120)
    offerings = []
    for name, cpus, memory in (("small", 1, 192), ("middle", 1, 224), ("large", 2, 320)):
        each = client.ask(
            "createServiceOffering", name=f"e2e {name}", displaytext=name, cpunumber=cpus, cpuspeed=250, memory=memory,
            storagetype="local",
        )["serviceoffering"]["id"]  # fmt: skip
        offerings.append(each)
        made[name] = each
    client.ask("updateConfiguration", name="enable.dynamic.scale.vm", value="true", zoneid=zone)
    yield made
    client.ask("updateConfiguration", name="enable.dynamic.scale.vm", value="false", zoneid=zone)
    client.job("deleteTemplate", id=template, seconds=120)
    for each in offerings:
        client.ask("deleteServiceOffering", id=each)


@pytest.fixture(scope="module")
def life(lab, client, place):
    accepted = client.ask(
        "deployVirtualMachine", name="life", zoneid=place["zoneid"], serviceofferingid=place["small"],
        templateid=place["template"], networkids=place["network"], keypair="lab-guest", userdata=coded("one"),
    )  # fmt: skip
    machine = Machine(lab, client, accepted["id"])
    try:
        machine.password = client.wait(accepted["jobid"], seconds=300)["virtualmachine"]["password"]
        machine.comes(1)
        yield machine
    finally:
        client.job("destroyVirtualMachine", id=machine.id, expunge="true", seconds=300)


def test_the_password_that_the_answer_told_opens_the_guest(lab, life):
    assert lab.page(life.address).strip() == "one"
    assert lab.login(life.address, "hostname", password=life.password).strip() == "life"
    assert lab.login(life.address, "hostname", password="something else") == ""  # noqa: S106


def test_a_running_guest_gets_more_cpus_and_memory(client, place, life):
    before = life.sees()
    assert before["cpus"] == 1
    client.job("scaleVirtualMachine", id=life.id, serviceofferingid=place["large"])
    wait(lambda: life.sees()["cpus"] == 2, 60)
    wait(lambda: life.sees()["memory_kib"] > before["memory_kib"] + 100_000, 60)
    assert life.does("grep -c ^processor /proc/cpuinfo") == "2" and life.sees()["boots"] == 1


def test_a_root_disk_grows_beneath_a_running_guest(client, life):
    before = int(life.does("cat /sys/block/vda/size"))
    client.job("resizeVolume", id=life.root["id"], size=1)
    wait(lambda: int(life.does("cat /sys/block/vda/size")) > before, 60)
    assert life.does("cat /sys/block/vda/size") == str(2**30 // 512) and life.sees()["boots"] == 1


# --- disks --------------------------------------------------------------------------------------------------------


def disk_offering(client, name, **more):
    made = client.ask("createDiskOffering", name=f"e2e {name}", displaytext=name, customized="true", **more)
    return made["diskoffering"]["id"]


@pytest.fixture(scope="module")
def shared(client, place):
    """A pool on the NFS server, which QEMU reaches by itself."""
    (pod,) = client.ask("listPods")["pod"]
    (cluster,) = client.ask("listClusters")["cluster"]
    made = client.ask(
        "createStoragePool", name="e2e shared", url=f"nfs://{STORE[7:]}/srv/export/primary", zoneid=place["zoneid"],
        podid=pod["id"], clusterid=cluster["id"],
    )["storagepool"]  # fmt: skip
    yield made["id"]
    client.job("enableStorageMaintenance", id=made["id"], seconds=120)
    client.ask("deleteStoragePool", id=made["id"], forced="true")


@pytest.fixture(scope="module")
def disk(client, place, life):
    """A disk on the running guest, with words in it."""
    plain = disk_offering(client, "plain", storagetype="local")
    made = client.job("createVolume", name="words", diskofferingid=plain, size=1, zoneid=place["zoneid"])["volume"][
        "id"
    ]
    client.job("attachVolume", id=made, virtualmachineid=life.id)
    wait(lambda: life.disk(made), 60)
    life.does("printf kept > /dev/vdb; dd if=/dev/urandom of=/dev/vdb bs=1M seek=8 count=4 2>/dev/null; sync")
    yield made
    with contextlib.suppress(RuntimeError):
        client.job("detachVolume", id=made)
    client.job("destroyVolume", id=made, expunge="true")
    client.ask("deleteDiskOffering", id=plain)


CONTENT = "echo 3 > /proc/sys/vm/drop_caches; head -c 12582912 /dev/vdb | sha256sum | cut -d' ' -f1"


def lies_in(client, volume):
    return client.ask("listVolumes", id=volume)["volume"][0].get("storageid")


def test_limits_of_an_offering_hold_in_the_running_guest(lab, client, life, disk):
    limited = disk_offering(client, "limited", storagetype="local", bytesreadrate=4 << 20, iopswriterate=200)
    client.job("changeOfferingForVolume", id=disk, diskofferingid=limited, size=1)
    told = lab.on(life.host, f"virsh blkdeviotune {life.now['instancename']} vdb")
    found = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in told.splitlines())}
    assert (found["read_bytes_sec"], found["write_iops_sec"], found["total_bytes_sec"]) == (str(4 << 20), "200", "0")
    client.ask("deleteDiskOffering", id=limited)


def test_a_disk_moves_to_another_pool_while_its_guest_runs(client, life, disk, shared):
    before, content, home = life.sees()["boots"], life.does(CONTENT), lies_in(client, disk)
    assert home != shared and len(content) == 64
    client.job("migrateVolume", volumeid=disk, storageid=shared, livemigrate="true", seconds=300)
    assert lies_in(client, disk) == shared
    assert life.does(CONTENT) == content and life.sees()["boots"] == before
    life.does("printf more > /dev/vdb; sync")
    assert life.does("head -c 4 /dev/vdb") == "more"


def test_a_disk_moves_on_no_machine(client, life, disk, shared):
    content = life.does(CONTENT)
    client.job("detachVolume", id=disk)
    wait(lambda: not life.disk(disk), 60)
    pools = client.ask("findStoragePoolsForMigration", id=disk)["storagepool"]
    (home,) = [p["id"] for p in pools if p["name"].startswith(life.host)]
    client.job("migrateVolume", volumeid=disk, storageid=home, seconds=300)
    assert lies_in(client, disk) == home != shared
    client.job("attachVolume", id=disk, virtualmachineid=life.id, seconds=300)
    wait(lambda: life.disk(disk), 60)
    assert life.does(CONTENT) == content


def test_a_disk_is_downloaded_and_uploaded_again(lab, client, place, life, disk):
    content = life.does(CONTENT)
    client.job("detachVolume", id=disk)
    told = client.job("extractVolume", id=disk, zoneid=place["zoneid"], mode="HTTP_DOWNLOAD", seconds=300)
    lab.on("store", f"curl -sf -o /srv/cloudwright/words.qcow2 '{told['volume']['url']}'")
    open_ended = disk_offering(client, "uploaded", storagetype="local")
    up = client.job(
        "uploadVolume", name="again", url=f"{STORE}/words.qcow2", format="QCOW2", zoneid=place["zoneid"],
        diskofferingid=open_ended, seconds=300,
    )["volume"]["id"]  # fmt: skip
    wait(lambda: client.ask("listVolumes", id=up)["volume"][0]["state"] == "Uploaded", 120)
    wait(lambda: not life.disk(disk), 60)
    client.job("attachVolume", id=up, virtualmachineid=life.id, seconds=300)
    wait(lambda: life.disk(up), 60)
    assert life.does(CONTENT) == content
    client.job("detachVolume", id=up)
    client.job("destroyVolume", id=up, expunge="true")
    lab.on("store", "rm /srv/cloudwright/words.qcow2")
    client.ask("deleteDiskOffering", id=open_ended)


# --- discs --------------------------------------------------------------------------------------------------------


def disc(lab, client, place, name, make, **more):
    """An ISO that is made on the web server, and registered; it stays on secondary storage alone."""
    lab.on("store", f"cd /srv/cloudwright && {make}")
    sent = {"name": name, "displaytext": name, "url": f"{STORE}/{name}.iso", "zoneid": place["zoneid"]}
    made = client.ask("registerIso", **sent, **more)["iso"][0]["id"]
    wait(lambda: client.ask("listIsos", id=made, isofilter="self")["iso"][0]["isready"], 120)
    lab.on("store", f"cd /srv/cloudwright && rm -r {name}.iso {name}.d")
    return made


def test_a_disc_is_put_in_read_and_taken_out(lab, client, place, life):
    make = "mkdir -p words.d && echo on a disc > words.d/words && genisoimage -quiet -o words.iso words.d"
    iso = disc(lab, client, place, "words", make, bootable="false")
    client.job("attachIso", id=iso, virtualmachineid=life.id)
    wait(lambda: life.does("mkdir -p /cd; mount -t iso9660 -o ro /dev/sr0 /cd && cat /cd/*") == "on a disc", 60, 2)
    life.does("umount /cd")
    client.job("detachIso", virtualmachineid=life.id)
    assert ".iso" not in lab.on(life.host, f"virsh domblklist {life.now['instancename']}")
    client.job("deleteIso", id=iso)


# --- networks -----------------------------------------------------------------------------------------------------


def test_a_secondary_address_answers(lab, client, life):
    nic = life.now["nic"][0]
    made = client.job("addIpToNic", nicid=nic["id"])["nicsecondaryip"]
    life.does(f"ip address add {made['ipaddress']}/24 dev eth0")
    wait(lambda: lab.page(made["ipaddress"]), 30)
    assert lab.page(made["ipaddress"]) == lab.page(life.address) != ""
    client.job("removeIpFromNic", id=made["id"])
    life.does(f"ip address del {made['ipaddress']}/24 dev eth0")


def test_a_nic_comes_gets_its_address_and_goes(lab, client, place, life):
    (offering,) = client.ask("listNetworkOfferings", name="DefaultSharedNetworkOffering")["networkoffering"]
    made = client.ask(
        "createNetwork", name="e2e second", displaytext="second", networkofferingid=offering["id"], vlan="6050",
        zoneid=place["zoneid"], gateway="10.94.0.1", netmask="255.255.255.0", startip="10.94.0.50", endip="10.94.0.60",
    )["network"]["id"]  # fmt: skip
    try:
        client.job("addNicToVirtualMachine", virtualmachineid=life.id, networkid=made, seconds=300)
        (nic,) = [n for n in life.now["nic"] if n["networkid"] == made]
        wait(lambda: nic["macaddress"] in [n["mac"] for n in life.sees()["nics"]], 60)
        wait(lambda: {n["mac"]: n["ipv4"] for n in life.sees()["nics"]}[nic["macaddress"]], 90)
        assert len(life.sees()["nics"]) == 2
        assert life.does("ip -4 address show dev eth1").find(f"{nic['ipaddress']}/24") > 0
        _default_route_follows(lab, client, life, nic)
        client.job("removeNicFromVirtualMachine", virtualmachineid=life.id, nicid=nic["id"], seconds=120)
        assert [n["mac"] for n in life.sees()["nics"]] == [life.now["nic"][0]["macaddress"]]
    finally:
        client.job("deleteNetwork", id=made, forced="true", seconds=300)


def _default_route_follows(lab, client, life, nic):
    """The default NIC is the one whose gateway the guest is told, from its next lease on."""
    first = life.now["nic"][0]
    renewed = "for p in /run/udhcpc.*.pid; do kill -USR1 $(cat $p); done; sleep 2; ip route show default"

    def route():
        return lab.login(first["ipaddress"], renewed, key=life.key)  # a machine's address is that of its default NIC

    wait(lambda: route().startswith(f"default via {first['gateway']} dev eth0"), 60)
    try:
        client.job("updateDefaultNicForVirtualMachine", virtualmachineid=life.id, nicid=nic["id"], seconds=120)
        assert [n["isdefault"] for n in life.now["nic"]] == [False, True]
        wait(lambda: route().startswith("default via 10.94.0.1 dev eth1"), 60)
    finally:
        client.job("updateDefaultNicForVirtualMachine", virtualmachineid=life.id, nicid=first["id"], seconds=120)
    wait(lambda: route().startswith(f"default via {first['gateway']} dev eth0"), 60)


# --- what takes a stop --------------------------------------------------------------------------------------------


@pytest.fixture
def key(client, tmp_path):
    """Another key pair, known to the cloud as e2e."""
    made = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(made)], check=True)
    with contextlib.suppress(RuntimeError):
        client.ask("deleteSSHKeyPair", name="e2e")  # of a run that was cut off
    client.ask("registerSSHKeyPair", name="e2e", publickey=made.with_suffix(".pub").read_text())
    yield made
    client.ask("deleteSSHKeyPair", name="e2e")


def test_what_is_changed_while_it_is_stopped_is_there_when_it_starts(lab, client, place, life, key):
    """A password, keys, user data and a size: one stop and one start for all."""
    old, boots, memory = life.password, life.sees()["boots"], life.sees()["memory_kib"]
    life.does("echo kept > /state/mark; sync")
    client.job("stopVirtualMachine", id=life.id, seconds=300)
    client.job("resetSSHKeyForVirtualMachine", id=life.id, keypair="e2e")
    life.password = client.job("resetPasswordForVirtualMachine", id=life.id)["virtualmachine"]["password"]
    client.ask("resetUserDataForVirtualMachine", id=life.id, userdata=coded("two"))
    client.job("scaleVirtualMachine", id=life.id, serviceofferingid=place["middle"])
    client.job("startVirtualMachine", id=life.id, seconds=300)
    before, life.key = life.key, str(shutil.copy(key, lab.folder / "other_key"))
    life.comes(boots + 1)
    assert lab.page(life.address).strip() == "two"
    assert lab.login(life.address, "hostname", key=before) == ""
    assert life.does("cat /state/mark") == "kept"
    assert lab.login(life.address, "hostname", password=life.password).strip() == "life"
    assert lab.login(life.address, "hostname", password=old) == "" and old != life.password
    assert life.sees()["cpus"] == 1 and life.sees()["memory_kib"] != memory
    assert 192 << 10 > life.sees()["memory_kib"] > 160 << 10


def test_a_machine_is_made_of_a_disk_let_go_and_taken_in_again(lab, client, place, life):
    """While the first is stopped: no more than two guests run at once."""
    boots = life.sees()["boots"]
    life.does("echo kept > /state/mark; sync")
    client.job("stopVirtualMachine", id=life.id, seconds=300)
    template = client.job(
        "createTemplate", name="of life", displaytext="of life", ostypeid=place["ostypeid"], volumeid=life.root["id"],
        seconds=300,
    )["template"]["id"]  # fmt: skip
    made = client.job(
        "deployVirtualMachine", name="twin", zoneid=place["zoneid"], serviceofferingid=place["small"],
        templateid=template, networkids=place["network"], keypair="lab-guest", seconds=300,
    )["virtualmachine"]  # fmt: skip
    twin = Machine(lab, client, made["id"])
    try:
        twin.comes(boots + 1)  # what its disk counted before, and this one
        assert twin.does("cat /state/mark; hostname").split() == ["kept", "twin"]
        _let_go_and_taken_in(lab, client, place, twin)
    finally:
        client.job("destroyVirtualMachine", id=twin.id, expunge="true", seconds=300)
        client.job("deleteTemplate", id=template, seconds=120)
    client.job("startVirtualMachine", id=life.id, seconds=300)
    life.comes(boots + 1)


def _let_go_and_taken_in(lab, client, place, twin):
    (cluster,) = client.ask("listClusters")["cluster"]
    before, address, boots = twin.now, twin.address, twin.sees()["boots"]
    twin.does("echo own > /state/own; sync")
    client.job("unmanageVirtualMachine", id=twin.id)
    assert "virtualmachine" not in client.ask("listVirtualMachines", id=twin.id)
    assert f'"boots":{boots},' in lab.page(address, "/cgi-bin/status"), "it runs on"
    known = {"clusterid": cluster["id"], "name": before["instancename"]}

    def stopped():
        (found,) = client.ask("listUnmanagedInstances", **known)["unmanagedinstance"]
        return found["powerstate"] == "PowerOff" and found

    lab.login(address, "poweroff")
    mac = wait(stopped, 90)["nic"][0]["id"]
    taken = client.job(
        "importUnmanagedInstance", **known, serviceofferingid=place["small"], hostname="twin", seconds=120,
        **{"nicnetworklist[0].nic": mac, "nicnetworklist[0].network": place["network"]},
        **{"nicipaddresslist[0].nic": mac, "nicipaddresslist[0].ip4Address": address},
    )["virtualmachine"]  # fmt: skip
    twin.id = taken["id"]
    assert taken["nic"][0]["macaddress"] == before["nic"][0]["macaddress"] and twin.address == address
    client.job("startVirtualMachine", id=twin.id, seconds=300)
    twin.comes(boots + 1)
    assert twin.does("cat /state/own") == "own"


def test_a_reinstalled_machine_has_its_template_again(lab, client, life):
    before, page = life.address, lab.page(life.address)
    life.does("echo kept > /state/mark; sync")
    client.job("restoreVirtualMachine", virtualmachineid=life.id, expunge="true", seconds=300)
    life.comes(1)
    assert "No such file" in life.does("cat /state/mark 2>&1") and life.address == before
    assert lab.page(life.address) == page != "", "its user data stays"


@pytest.mark.long
def test_a_machine_starts_from_a_disc(lab, client, place, life):
    client.job("stopVirtualMachine", id=life.id, seconds=300)
    iso = disc(lab, client, place, "boot", BOOTABLE, bootable="true", ostypeid=place["ostypeid"])
    plain = disk_offering(client, "blank", storagetype="local")
    made = client.job(
        "deployVirtualMachine", name="fromdisc", zoneid=place["zoneid"], serviceofferingid=place["small"],
        templateid=iso, diskofferingid=plain, size=1, hypervisor="KVM", networkids=place["network"],
        keypair="lab-guest", seconds=300,
    )["virtualmachine"]  # fmt: skip
    guest = Machine(lab, client, made["id"])
    try:
        guest.comes(1)
        sizes = {d["name"]: d["bytes"] for d in guest.sees()["disks"]}
        assert sizes["vda"] == 2**30 and sizes["sr0"] > 40 << 20
        assert guest.does("findfs LABEL=tinystate || echo none") == "none", "nothing is on its disk"
    finally:
        client.job("destroyVirtualMachine", id=guest.id, expunge="true", seconds=300)
        client.job("deleteIso", id=iso, seconds=120)
        client.ask("deleteDiskOffering", id=plain)


@pytest.mark.long
def test_a_machine_with_secure_boot_runs_its_own_firmware(lab, client, place, life):
    client.job("stopVirtualMachine", id=life.id, seconds=300)  # or is so already
    made = client.job(
        "deployVirtualMachine", name="signed", zoneid=place["zoneid"], serviceofferingid=place["small"],
        templateid=place["template"], networkids=place["network"], boottype="UEFI", bootmode="SECURE", seconds=300,
    )["virtualmachine"]  # fmt: skip
    guest = Machine(lab, client, made["id"])
    host, name = guest.host, made["instancename"]
    nvram = f"ls /var/lib/libvirt/qemu/nvram | grep -c {name} || true"
    try:
        assert "secure='yes'" in lab.on(host, f"virsh dumpxml {name}")
        # its disk holds nothing signed: the firmware says that it refuses what it finds, and looks further
        wait(lambda: "BdsDxe" in lab.on(host, f"cat /var/log/cloudwright/{name}/console.log"), 120)
        assert lab.on(host, nvram).strip() == "1"
    finally:
        client.job("destroyVirtualMachine", id=guest.id, expunge="true", seconds=300)
    assert lab.on(host, nvram).strip() == "0"
