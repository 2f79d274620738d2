"""Images that hosts fetch from their URLs themselves: a guest whose template and disc are on no secondary storage.

The host store serves them, and its web server tells which host asked for what. Leaves nothing behind.
"""

from __future__ import annotations

import pytest

from tests.e2e.conftest import wait
from tests.e2e.machine import BOOTABLE, STORE, Machine

pytestmark = [pytest.mark.lab, pytest.mark.guests, pytest.mark.timeout(1800)]

WEB = "/srv/cloudwright"
DISC = (
    f"cd {WEB} && mkdir -p direct.d && echo from its host > direct.d/words && genisoimage -quiet -o direct.iso direct.d"
)
READ = "mkdir -p /cd; mount -t iso9660 -o ro /dev/sr0 /cd && cat /cd/*"


@pytest.fixture(scope="module")
def place(lab, client):
    """Ids of what machines are made of here. Taken away at the end."""
    made = {"zoneid": lab.guest()["zoneid"]}
    made["networkids"] = client.ask("listNetworks", keyword="guests")["network"][0]["id"]
    made["ostypeid"] = client.ask("listOsTypes", keyword="Other Linux (64-bit)")["ostype"][0]["id"]
    offering = client.ask(
        "createServiceOffering", name="e2e direct", displaytext="direct", cpunumber=1, cpuspeed=250, memory=192,
        storagetype="local",
    )["serviceoffering"]  # fmt: skip
    made["serviceofferingid"] = offering["id"]
    yield made
    client.ask("deleteServiceOffering", id=offering["id"])


@pytest.fixture(scope="module")
def template(lab, client, place):
    """Of direct download, under an address of its own, with the right checksum."""
    lab.on("store", f"cd {WEB} && ln -f tiny-guest.qcow2 direct.qcow2")
    digest = lab.on("store", f"sha256sum {WEB}/tiny-guest.qcow2").split()[0]
    made = client.ask(
        "registerTemplate", name="direct", displaytext="direct", url=f"{STORE}/direct.qcow2", format="QCOW2",
        hypervisor="KVM", ostypeid=place["ostypeid"], zoneid=place["zoneid"], checksum=f"{{SHA-256}}{digest}",
        directdownload="true",
    )["template"][0]["id"]  # fmt: skip
    wait(lambda: client.ask("listTemplates", templatefilter="self", id=made)["template"][0]["isready"], 60)
    yield made
    client.job("deleteTemplate", id=made, seconds=120)
    lab.on("store", f"rm {WEB}/direct.qcow2")


@pytest.fixture(scope="module")
def guest(lab, client, place, template):
    wanted = {k: v for k, v in place.items() if k != "ostypeid"}
    accepted = client.ask("deployVirtualMachine", name="direct", templateid=template, keypair="lab-guest", **wanted)
    machine = Machine(lab, client, accepted["id"])
    try:
        client.wait(accepted["jobid"], seconds=300)
        machine.comes(1)
        yield machine
    finally:
        client.job("destroyVirtualMachine", id=machine.id, expunge="true", seconds=300)


def iso_of(lab, client, place, name, make, **more):
    lab.on("store", make)
    made = client.ask(
        "registerIso", name=name, displaytext=name, url=f"{STORE}/{name}.iso", zoneid=place["zoneid"],
        directdownload="true", **more,
    )["iso"][0]["id"]  # fmt: skip
    wait(lambda: client.ask("listIsos", id=made, isofilter="self")["iso"][0]["isready"], 60)
    return made


@pytest.fixture(scope="module")
def iso(lab, client, place):
    made = iso_of(lab, client, place, "direct", DISC, bootable="false")
    yield made
    if client.ask("listIsos", id=made, isofilter="self"):
        client.job("deleteIso", id=made)
    lab.on("store", f"cd {WEB} && rm -rf direct.iso direct.d")


def fetched(lab, file):
    """The hosts that fetched a file whole, in order. The server's look asks for a part."""
    told = lab.on("store", f"grep 'GET /{file} [^ ]* 200 ' /var/log/nginx/access.log | cut -d' ' -f1 || true")
    return [{"10.91.0.11": "kvm1", "10.91.0.12": "kvm2"}.get(address, address) for address in told.split()]


def kept(lab, client, machine, id):
    """The file of a template or ISO in the pool of a machine's root disk, as its host has it."""
    pool = client.ask("listStoragePools", id=machine.root["storageid"])["storagepool"][0]
    return lab.on(machine.host, f"find {pool['path']} -name 'template-{id}.*'").strip()


def test_a_guest_of_a_template_that_its_host_fetched_answers(lab, client, guest, template):
    assert guest.does("hostname") == "direct" and guest.sees()["boots"] == 1
    assert fetched(lab, "direct.qcow2") == [guest.host]
    assert kept(lab, client, guest, template).endswith(".qcow2")
    assert lab.on("store", f"find /srv/export -name '*{template}*'") == ""
    (seen,) = client.ask("listTemplates", templatefilter="self", id=template)["template"]
    assert seen["directdownload"] is True and "physicalsize" not in seen


def test_a_disc_that_its_host_fetched_is_read_inside(lab, client, guest, iso):
    assert fetched(lab, "direct.iso") == [], "nobody has it before it is needed"
    client.job("attachIso", id=iso, virtualmachineid=guest.id, seconds=120)
    wait(lambda: guest.does(READ) == "from its host", 60, 2)
    assert fetched(lab, "direct.iso") == [guest.host]
    file = kept(lab, client, guest, iso)
    assert file.endswith(".iso") and file in lab.on(guest.host, f"virsh domblklist {guest.now['instancename']}")
    assert lab.on("store", f"find /srv/export -name '*{iso}*'") == ""


def test_the_other_host_fetches_it_when_the_guest_moves_with_its_disk(lab, client, guest, iso):
    source, boot = guest.host, guest.does("cat /proc/sys/kernel/random/boot_id")
    (there,) = client.ask("findHostsForMigration", virtualmachineid=guest.id)["host"]
    client.job("migrateVirtualMachine", virtualmachineid=guest.id, hostid=there["id"], seconds=900)
    assert guest.host == there["name"].split(".")[0] != source
    assert fetched(lab, "direct.iso") == [source, guest.host]
    assert kept(lab, client, guest, iso) in lab.on(guest.host, f"virsh domblklist {guest.now['instancename']}")
    guest.does("umount /cd; echo 3 > /proc/sys/vm/drop_caches")
    wait(lambda: guest.does(READ) == "from its host", 60, 2)
    assert guest.does("cat /proc/sys/kernel/random/boot_id") == boot != ""


def test_a_disc_in_the_pool_needs_its_web_server_no_more(lab, client, guest, iso):
    before = fetched(lab, "direct.iso")
    guest.does("umount /cd")
    client.job("detachIso", virtualmachineid=guest.id)
    assert ".iso" not in lab.on(guest.host, f"virsh domblklist {guest.now['instancename']}")
    lab.on("store", f"rm {WEB}/direct.iso")
    client.job("attachIso", id=iso, virtualmachineid=guest.id)
    wait(lambda: guest.does(READ) == "from its host", 60, 2)
    assert fetched(lab, "direct.iso") == before
    guest.does("umount /cd")
    client.job("detachIso", virtualmachineid=guest.id)


def test_a_disc_with_another_checksum_stays_out_of_the_drive(lab, client, place, guest):
    wrong = iso_of(lab, client, place, "direct", DISC, bootable="false", checksum="{SHA-256}" + "ab" * 32)
    with pytest.raises(RuntimeError, match="checksum is wrong"):
        client.job("attachIso", id=wrong, virtualmachineid=guest.id)
    assert kept(lab, client, guest, wrong) == "" and "isoid" not in guest.now
    assert ".iso" not in lab.on(guest.host, f"virsh domblklist {guest.now['instancename']}")
    client.job("deleteIso", id=wrong)


@pytest.mark.long
def test_a_deleted_disc_leaves_the_pools(lab, client, guest, iso):
    assert kept(lab, client, guest, iso)
    client.job("deleteIso", id=iso)
    wait(lambda: kept(lab, client, guest, iso) == "", 330, 5)  # looked at every five minutes


@pytest.mark.long
def test_a_machine_starts_from_a_disc_that_its_host_fetched(lab, client, place, guest):
    client.job("stopVirtualMachine", id=guest.id, seconds=300)  # two guests at once are what the lab holds
    make = f"cd {WEB} && {BOOTABLE.replace('boot.', 'straight.')}"
    iso = iso_of(lab, client, place, "straight", make, bootable="true", ostypeid=place["ostypeid"])
    plain = client.ask(
        "createDiskOffering", name="e2e none", displaytext="none", customized="true", storagetype="local"
    )
    wanted = {k: v for k, v in place.items() if k != "ostypeid"} | {"diskofferingid": plain["diskoffering"]["id"]}
    made = client.job(
        "deployVirtualMachine", name="straight", templateid=iso, size=1, hypervisor="KVM", keypair="lab-guest",
        seconds=300, **wanted,
    )["virtualmachine"]  # fmt: skip
    machine = Machine(lab, client, made["id"])
    try:
        machine.comes(1)
        sizes = {d["name"]: d["bytes"] for d in machine.sees()["disks"]}
        assert sizes["vda"] == 2**30 and sizes["sr0"] > 40 << 20
        assert fetched(lab, "straight.iso") == [machine.host] and kept(lab, client, machine, iso)
    finally:
        client.job("destroyVirtualMachine", id=machine.id, expunge="true", seconds=300)
        client.job("deleteIso", id=iso, seconds=120)
        client.ask("deleteDiskOffering", id=plain["diskoffering"]["id"])
        lab.on("store", f"cd {WEB} && rm -rf straight.iso straight.d")
