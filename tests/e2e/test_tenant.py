"""What an ordinary user does with images and disks of its own, seen from inside its guest: a template and a disk that a
browser's form sends; that disk fetched by a link, larger, smaller, destroyed and taken back; one that somebody gives.

Runs on the lab of the others. All that the account has goes with it.
"""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.e2e.conftest import wait
from tests.e2e.images import content, digest, fetched, name_of, send
from tests.e2e.machine import STORE, Machine
from tests.server import Client

pytestmark = [pytest.mark.lab, pytest.mark.guests, pytest.mark.timeout(900)]

GIB = 1 << 30
LENGTH = 12 << 20


@pytest.fixture(scope="module")
def account(client):
    made = client.ask(
        "createAccount", username="tenant", password="Tenant-of-1-guest", email="t@example.org", firstname="t",
        lastname="t", accounttype="0",
    )["account"]  # fmt: skip
    yield made
    client.job("deleteAccount", id=made["id"], seconds=300)


@pytest.fixture(scope="module")
def user(client, account):
    """That account's own calls."""
    keys = client.ask("registerUserKeys", id=account["user"][0]["id"])["userkeys"]
    return Client(client.url, keys["apikey"], keys["secretkey"])


@pytest.fixture(scope="module")
def place(lab, client):
    """What disks are made of. Taken away at the end."""
    found = {"zoneid": lab.guest()["zoneid"]}
    for name, more in (("open", {"customized": "true"}), ("double", {"disksize": 2})):
        sent = {"name": f"e2e {name}", "displaytext": name, "storagetype": "local"}
        found[name] = client.ask("createDiskOffering", **sent, **more)["diskoffering"]["id"]
    yield found
    for name in ("open", "double"):
        client.ask("deleteDiskOffering", id=found[name])


@pytest.fixture(scope="module")
def guest(lab, user, place, tmp_path_factory):
    """A guest of the account, of a template that its user has sent by a form."""
    image = fetched(lab, f"{STORE}/tiny-guest.qcow2", tmp_path_factory.mktemp("image") / "image.qcow2")
    form = user.ask(
        "getUploadParamsForTemplate", name="own", displaytext="own", format="QCOW2", hypervisor="KVM",
        zoneid=place["zoneid"], checksum="{SHA-256}" + digest(image),
        ostypeid=user.ask("listOsTypes", keyword="Other Linux (64-bit)")["ostype"][0]["id"],
    )["getuploadparams"]  # fmt: skip
    assert send(lab, form, image) == {"success": True}
    assert user.ask("listTemplates", templatefilter="self", id=form["id"])["template"][0]["isready"]
    public = subprocess.run(["ssh-keygen", "-y", "-f", str(lab.folder / "guest_key")], capture_output=True, check=True)
    user.ask("registerSSHKeyPair", name="own", publickey=public.stdout.decode())
    made = user.job(
        "deployVirtualMachine", name="own", zoneid=place["zoneid"], templateid=form["id"], keypair="own", seconds=300,
        serviceofferingid=user.ask("listServiceOfferings", name="tiny")["serviceoffering"][0]["id"],
        networkids=user.ask("listNetworks", keyword="guests")["network"][0]["id"],
    )["virtualmachine"]  # fmt: skip
    found = Machine(lab, user, made["id"])
    found.comes(1)
    return found


@pytest.fixture(scope="module")
def sent(lab, user, place, tmp_path_factory):
    """A disk that a form has sent, and what is in it."""
    image = tmp_path_factory.mktemp("disk") / "disk.qcow2"
    plain = image.with_suffix(".raw")
    with plain.open("wb") as file:
        file.write(b"sent" + os.urandom(4 << 20))
        file.truncate(GIB)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(plain), str(image)], check=True)
    plain.unlink()
    form = user.ask(
        "getUploadParamsForVolume", name="sent", format="QCOW2", zoneid=place["zoneid"], diskofferingid=place["open"],
        checksum="{SHA-256}" + digest(image),
    )["getuploadparams"]  # fmt: skip
    assert user.ask("listVolumes", id=form["id"])["volume"][0]["state"] == "NotUploaded"
    assert send(lab, form, image) == {"success": True}
    again = send(lab, form, image)
    assert "success" not in again and "errortext" in again, "the form is good once"
    return {"id": form["id"], "content": digest(image, length=LENGTH)}


@pytest.fixture(scope="module")
def disk(user, guest, sent):
    """The same, on the running guest."""
    assert user.ask("listVolumes", id=sent["id"])["volume"][0]["state"] == "Uploaded"
    user.job("attachVolume", id=sent["id"], virtualmachineid=guest.id, seconds=300)
    return sent["id"]


def test_a_guest_of_a_template_that_a_form_has_sent_answers(lab, guest):
    assert lab.page(guest.address).strip() == "own" and guest.does("hostname") == "own"


def test_a_disk_that_a_form_has_sent_is_read_inside(guest, sent, disk):
    name = name_of(guest, disk)
    assert guest.disk(disk)["bytes"] == GIB and guest.does(f"head -c 4 /dev/{name}") == "sent"
    assert content(guest, name, LENGTH) == sent["content"]


def test_what_a_link_leads_to_is_what_the_guest_has(lab, user, place, guest, disk, tmp_path):
    name = name_of(guest, disk)
    guest.does(f"printf used > /dev/{name}; sync")
    told = user.job("extractVolume", id=disk, zoneid=place["zoneid"], mode="HTTP_DOWNLOAD", seconds=300)["volume"]
    there = digest(fetched(lab, told["url"], tmp_path / "disk.qcow2"), length=LENGTH)
    assert there == content(guest, name, LENGTH)


def test_another_offering_makes_it_larger_and_it_shrinks_again(user, place, guest, disk):
    boots, before = guest.sees()["boots"], content(guest, name_of(guest, disk), LENGTH)
    user.job("changeOfferingForVolume", id=disk, diskofferingid=place["double"])
    wait(lambda: guest.disk(disk)["bytes"] == 2 * GIB, 60)
    smaller = {"id": disk, "diskofferingid": place["open"], "size": 1}
    with pytest.raises(RuntimeError, match="shrinkok=true"):
        user.job("resizeVolume", **smaller)
    with pytest.raises(RuntimeError, match="only while no machine runs with it"):
        user.job("resizeVolume", **smaller, shrinkok="true")
    user.job("detachVolume", id=disk)
    user.job("resizeVolume", **smaller, shrinkok="true")
    user.job("attachVolume", id=disk, virtualmachineid=guest.id)
    name = name_of(guest, disk)
    assert guest.disk(disk)["bytes"] == GIB and guest.does(f"cat /sys/block/{name}/size") == str(GIB // 512)
    assert content(guest, name, LENGTH) == before and guest.sees()["boots"] == boots


def test_a_destroyed_disk_is_taken_back_with_what_it_holds(user, guest, disk):
    before = content(guest, name_of(guest, disk), LENGTH)
    user.job("detachVolume", id=disk)
    user.job("destroyVolume", id=disk)
    assert user.ask("listVolumes", id=disk)["volume"][0]["state"] == "Destroy"
    with pytest.raises(RuntimeError, match="Destroy"):
        user.job("attachVolume", id=disk, virtualmachineid=guest.id)
    assert user.ask("recoverVolume", id=disk)["volume"]["state"] == "Ready"
    user.job("attachVolume", id=disk, virtualmachineid=guest.id)
    assert content(guest, name_of(guest, disk), LENGTH) == before


@pytest.fixture
def given(lab, client, place):
    """A disk of another account, on no machine, with a word in it."""
    giver = Machine(lab, client, lab.guest()["id"])
    made = client.job("createVolume", name="given", diskofferingid=place["open"], size=1, zoneid=place["zoneid"])
    id = made["volume"]["id"]
    client.job("attachVolume", id=id, virtualmachineid=giver.id)
    giver.does(f"printf given > /dev/{name_of(giver, id)}; sync")
    client.job("detachVolume", id=id)
    yield id
    if client.ask("listVolumes", id=id)["volume"][0]["account"] != "tenant":  # whose disks go with it
        client.job("destroyVolume", id=id, expunge="true")


def test_a_disk_that_is_given_is_read_in_the_other_accounts_guest(client, user, account, guest, given):
    with pytest.raises(RuntimeError, match="entity does not exist"):
        user.job("attachVolume", id=given, virtualmachineid=guest.id)
    client.ask("assignVolume", volumeid=given, accountid=account["id"])
    assert user.ask("listVolumes", id=given)["volume"][0]["account"] == "tenant"
    user.job("attachVolume", id=given, virtualmachineid=guest.id, seconds=300)
    assert guest.does(f"head -c 5 /dev/{name_of(guest, given)}") == "given"
