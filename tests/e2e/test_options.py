"""Options of a deployment, each seen from inside the guest; templates of other formats than QCOW2; a template of a
snapshot; a guest that somebody starts behind the server's back. Leaves the lab as it was.
"""

from __future__ import annotations

import base64
import subprocess
from uuid import uuid4

import pytest

from tests.e2e.conftest import wait
from tests.e2e.machine import STORE, Machine, coded

pytestmark = [pytest.mark.lab, pytest.mark.guests, pytest.mark.timeout(1800)]

WEB = "/srv/cloudwright"
ADDRESS = "10.92.0.77"
GIB = 1 << 30


@pytest.fixture(scope="module")
def place(lab, client):
    """Ids of what the guests are made of. Taken away at the end."""
    zone = lab.guest()["zoneid"]
    common = {"zoneid": zone, "networkids": client.ask("listNetworks", keyword="guests")["network"][0]["id"]}
    group = client.job("createAffinityGroup", name="e2e apart", type="host anti-affinity")
    own = client.ask(
        "createServiceOffering", name="e2e chosen", displaytext="chosen", customized="true", cpuspeed=250,
        mincpunumber=1, maxcpunumber=2, minmemory=160, maxmemory=320, storagetype="local",
    )["serviceoffering"]["id"]  # fmt: skip
    disks = client.ask(
        "createDiskOffering", name="e2e chosen", displaytext="chosen", customized="true", storagetype="local"
    )["diskoffering"]["id"]
    data = client.ask("registerUserData", name="e2e", userdata=coded("registered"))["userdata"]["id"]
    keys = client.ask("createSSHKeyPair", name="e2e options")["keypair"]["privatekey"]
    yield common | {
        "serviceofferingid": own, "affinitygroupids": group["affinitygroup"]["id"], "keypairs": "lab-guest,e2e options",
        "details[0].cpuNumber": 2, "details[0].memory": 192, "disks": disks, "data": data, "private": keys,
    }  # fmt: skip
    client.ask("deleteSSHKeyPair", name="e2e options")
    client.ask("deleteUserData", id=data)
    client.job("deleteAffinityGroup", id=group["affinitygroup"]["id"])
    client.ask("deleteServiceOffering", id=own)
    client.ask("deleteDiskOffering", id=disks)


def deployed(place, **more):
    return {k: v for k, v in place.items() if k not in ("disks", "data", "private")} | more


@pytest.fixture(scope="module")
def raw(lab, client, place):
    """The tiny guest as a compressed raw image, whose checksum is told beforehand."""
    make = f"cd {WEB} && qemu-img convert -O raw tiny-guest.qcow2 e2e.raw && gzip -1f e2e.raw && sha256sum e2e.raw.gz"
    made = template(lab, client, place, make, "raw.gz", "RAW", passwordenabled="true")
    yield made
    client.job("deleteTemplate", id=made, seconds=120)


def template(lab, client, place, make, ending, format, **more):
    digest = lab.on("store", make, seconds=300).split()[-2]
    os_type = client.ask("listOsTypes", keyword="Other Linux (64-bit)")["ostype"][0]["id"]
    made = client.ask(
        "registerTemplate", name=f"e2e {format}", displaytext=format, url=f"{STORE}/e2e.{ending}", format=format,
        hypervisor="KVM", ostypeid=os_type, zoneid=place["zoneid"], checksum="{SHA-256}" + digest, **more,
    )["template"][0]["id"]  # fmt: skip
    wait(lambda: client.ask("listTemplates", templatefilter="self", id=made)["template"][0]["isready"], 300)
    lab.on("store", f"rm {WEB}/e2e.{ending}")
    return made


@pytest.fixture(scope="module")
def guest(lab, client, place, raw):
    chosen, (host, *_) = str(uuid4()), client.ask("listHosts", type="Routing", name="kvm2.lab.internal")["host"]
    accepted = client.ask(
        "deployVirtualMachine", **deployed(place), name="chosen", displayname="as chosen", customid=chosen,
        templateid=raw, startvm="false", rootdisksize=1, diskofferingid=place["disks"], size=1, ipaddress=ADDRESS,
        userdataid=place["data"], hostid=host["id"],
    )  # fmt: skip
    found = Machine(lab, client, accepted["id"])
    try:
        made = client.wait(accepted["jobid"], seconds=300)["virtualmachine"]
        assert (made["id"], made["state"], made["displayname"]) == (chosen, "Stopped", "as chosen")
        for each in ("kvm1", "kvm2"):
            assert made["instancename"] not in lab.on(each, "virsh list --all --name"), "it was not to start"
        client.job("startVirtualMachine", id=found.id, hostid=host["id"], seconds=300)
        found.comes(1)
        yield found
    finally:
        client.job("destroyVirtualMachine", id=found.id, expunge="true", seconds=300)


def test_what_was_chosen_is_what_the_guest_has(lab, client, place, guest):
    seen = guest.sees()
    assert guest.host == "kvm2" and guest.address == ADDRESS
    assert lab.page(ADDRESS).strip() == "registered"
    assert seen["cpus"] == 2 and 192 << 10 > seen["memory_kib"] > 140 << 10
    assert guest.does("cat /sys/block/vda/size") == str(GIB // 512)
    (data,) = client.ask("listVolumes", virtualmachineid=guest.id, type="DATADISK")["volume"]
    assert guest.disk(data["id"])["bytes"] == GIB == data["size"]


def test_the_password_is_told_to_who_has_the_key(lab, client, place, guest, tmp_path):
    key, hidden = tmp_path / "key", tmp_path / "hidden"
    key.touch(0o600)
    key.write_text(place["private"])
    told = client.ask("getVMPassword", id=guest.id)["password"]["encryptedpassword"]
    hidden.write_bytes(base64.b64decode(told))
    words = ["openssl", "pkeyutl", "-decrypt", "-inkey", str(key), "-in", str(hidden)]
    password = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert lab.login(guest.address, "hostname", password=password).strip() == "chosen"


def test_what_it_uses_is_told(client, guest):
    """What it read and wrote since the last reading, and its CPU from the second one on."""
    seen = set()

    def used():
        (now,) = client.ask("listVirtualMachines", id=guest.id, details="stats")["virtualmachine"]
        seen.update(name for name in ("networkkbsread", "diskioread") if now.get(name, 0) > 0)
        seen.update(["cpuused"] if float(now.get("cpuused", "0%").rstrip("%")) > 0 else [])
        return len(seen) == 3 and now

    assert 0 < wait(used, 180)["memoryintfreekbs"] < 192 << 10


def test_a_guest_of_a_snapshots_template_runs_apart_from_the_first(lab, client, place, guest):
    guest.does("echo kept > /state/mark; sync")
    taken = client.job("createSnapshot", volumeid=guest.root["id"], seconds=300)["snapshot"]["id"]
    guest.does("echo later > /state/mark; sync")
    os_type = client.ask("listOsTypes", keyword="Other Linux (64-bit)")["ostype"][0]["id"]
    made = client.job(
        "createTemplate", name="of a moment", displaytext="of a moment", ostypeid=os_type, snapshotid=taken, seconds=300
    )["template"]["id"]
    client.job("deleteSnapshot", id=taken, seconds=120)
    first, second = lab.guest(), None
    client.job("stopVirtualMachine", id=first["id"], seconds=300)  # no more than two guests run at once
    try:
        sent = deployed(place, name="apart", templateid=made)
        second = Machine(lab, client, client.job("deployVirtualMachine", **sent, seconds=300)["virtualmachine"]["id"])
        second.comes(2)
        assert second.does("cat /state/mark; hostname").split() == ["kept", "apart"]
        assert second.host != guest.host, "their group keeps them apart"
    finally:
        if second:
            client.job("destroyVirtualMachine", id=second.id, expunge="true", seconds=300)
        client.job("deleteTemplate", id=made, seconds=120)
        client.job("startVirtualMachine", id=first["id"], seconds=300)
        wait(lambda: lab.page(first["ipaddress"]).strip(), 240)


def test_a_guest_that_somebody_starts_is_told_and_can_be_stopped(lab, client, guest):
    name, host, boots = guest.now["instancename"], guest.host, guest.sees()["boots"]
    lab.on(host, f"virsh dumpxml --security-info {name} > /root/{name}.xml")
    client.job("stopVirtualMachine", id=guest.id, seconds=300)
    lab.on(host, f"virsh create /root/{name}.xml && rm /root/{name}.xml")

    def told():
        events = client.ask("listEvents", resourceid=guest.id, type="VM.START", listall="true")["event"]
        return any("though it should be stopped" in e["description"] for e in events)

    wait(told, 120)
    client.job("stopVirtualMachine", id=guest.id, seconds=300)
    assert name not in lab.on(host, "virsh list --name")
    client.job("startVirtualMachine", id=guest.id, seconds=300)
    guest.comes(boots + 2)  # what somebody started has booted too


@pytest.mark.parametrize("format", ["VHD"])
def test_a_guest_of_another_format_runs(lab, client, place, guest, format):
    make = f"cd {WEB} && qemu-img convert -O vpc tiny-guest.qcow2 e2e.vhd && sha256sum e2e.vhd"
    made = template(lab, client, place, make, "vhd", format)
    client.job("stopVirtualMachine", id=guest.id, seconds=300)
    sent = deployed(place, name="converted", templateid=made)
    other = Machine(lab, client, client.job("deployVirtualMachine", **sent, seconds=300)["virtualmachine"]["id"])
    try:
        other.comes(1)
        assert other.does("hostname") == "converted"
    finally:
        client.job("destroyVirtualMachine", id=other.id, expunge="true", seconds=300)
        client.job("deleteTemplate", id=made, seconds=120)
