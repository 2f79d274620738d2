"""What operators do to a running guest's host, pool and owner, seen from inside the guest.

A guest with a disk on the pool that both hosts see. Runs after test_machine, on the same lab, and leaves it as it was.
"""

from __future__ import annotations

import pytest

from tests.e2e.conftest import wait
from tests.e2e.machine import Machine

pytestmark = [pytest.mark.lab, pytest.mark.guests, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def place(lab, client):
    """Ids of what the guest is made of."""
    found = {"zoneid": lab.guest()["zoneid"]}
    found["networkids"] = client.ask("listNetworks", keyword="guests")["network"][0]["id"]
    found["templateid"] = client.ask("listTemplates", templatefilter="all", name="tiny")["template"][0]["id"]
    found["serviceofferingid"] = client.ask("listServiceOfferings", name="tiny-ha")["serviceoffering"][0]["id"]
    return found


@pytest.fixture(scope="module")
def guest(lab, client, place):
    made = client.job("deployVirtualMachine", name="moved", keypair="lab-guest", **place, seconds=400)
    found = Machine(lab, client, made["virtualmachine"]["id"])
    try:
        found.comes(1)
        yield found
    finally:
        client.job("destroyVirtualMachine", id=found.id, expunge="true", seconds=300)


@pytest.fixture(scope="module")
def disk(client, place, guest):
    """A disk on the pool that both hosts see, with a word in it."""
    pool = guest.root["storageid"]
    tags = {"name": "e2e moved", "displaytext": "moved", "disksize": 1, "storagetype": "shared"}
    offering = client.ask("createDiskOffering", **tags)["diskoffering"]["id"]
    made = client.job("createVolume", name="moved", diskofferingid=offering, zoneid=place["zoneid"])["volume"]["id"]
    client.job("attachVolume", id=made, virtualmachineid=guest.id, seconds=120)
    assert client.ask("listVolumes", id=made)["volume"][0]["storageid"] == pool, "the lab has one such pool"
    wait(lambda: guest.disk(made), 60)
    guest.does("printf first > /dev/vdb; sync")
    yield made
    client.job("detachVolume", id=made, seconds=120)
    client.job("destroyVolume", id=made, expunge="true", seconds=120)
    client.ask("deleteDiskOffering", id=offering)


def host_of(client, guest):
    return next(h for h in client.ask("listHosts", type="Routing")["host"] if h["id"] == guest.now["hostid"])


def test_a_host_goes_into_maintenance_and_its_guests_leave_running(client, guest, disk):
    """Also those whose disks lie on the host, where the setting says so."""
    local = "host.maintenance.local.storage.strategy"
    before, boots = host_of(client, guest), guest.sees()["boots"]
    client.ask("updateConfiguration", name=local, value="Migration")
    try:
        client.job("prepareHostForMaintenance", id=before["id"], seconds=900)
        assert host_of(client, guest)["id"] != before["id"]
        there = client.ask("listVirtualMachines", hostid=before["id"], listall="true")
        assert not there.get("virtualmachine"), there
        assert guest.sees()["boots"] == boots and guest.does("head -c 5 /dev/vdb") == "first"
        seen = client.ask("listHosts", id=before["id"])["host"][0]
        assert (seen["resourcestate"], seen["state"]) == ("Maintenance", "Up")
    finally:
        client.job("cancelHostMaintenance", id=before["id"], seconds=300)
        client.ask("updateConfiguration", name=local, value="Error")
    wait(lambda: client.ask("listHosts", id=before["id"])["host"][0]["resourcestate"] == "Enabled", 60)


def test_a_pool_goes_into_maintenance_and_its_guests_come_back_with_it(client, guest, disk):
    pool, boots = guest.root["storageid"], guest.sees()["boots"]
    client.job("enableStorageMaintenance", id=pool, seconds=300)
    try:
        assert guest.now["state"] == "Stopped"
        assert client.ask("listStoragePools", id=pool)["storagepool"][0]["state"] == "Maintenance"
        with pytest.raises(RuntimeError, match=r"(?i)pool|storage"):
            client.job("startVirtualMachine", id=guest.id, seconds=120)
    finally:
        client.job("cancelStorageMaintenance", id=pool, seconds=400)
    wait(lambda: guest.now["state"] == "Running", 120)
    guest.comes(boots + 1)
    assert guest.does("head -c 5 /dev/vdb") == "first"


def test_a_disk_goes_back_to_its_snapshot(client, guest, disk):
    taken = client.job("createSnapshot", volumeid=disk, seconds=300)["snapshot"]["id"]
    guest.does("printf other > /dev/vdb; sync")
    assert guest.does("head -c 5 /dev/vdb") == "other"
    client.job("stopVirtualMachine", id=guest.id, seconds=300)
    client.job("revertSnapshot", id=taken, seconds=300)
    client.job("startVirtualMachine", id=guest.id, seconds=300)
    wait(lambda: guest.does("head -c 5 /dev/vdb") == "first", 240)
    client.job("deleteSnapshot", id=taken, seconds=120)


def test_a_destroyed_guest_comes_back_with_what_it_had(client, guest, disk):
    guest.does("echo kept > /state/mark; sync")
    boots = guest.sees()["boots"]
    client.job("destroyVirtualMachine", id=guest.id, seconds=300)
    assert guest.now["state"] == "Destroyed"
    client.ask("recoverVirtualMachine", id=guest.id)
    client.job("startVirtualMachine", id=guest.id, seconds=300)
    guest.comes(boots + 1)
    assert guest.does("cat /state/mark") == "kept"
    wait(lambda: guest.disk(disk), 60)


def test_a_guest_is_given_to_another_account_with_its_disks(lab, client, place, guest, disk):
    made = client.ask(
        "createAccount", username="heir", password="Heir-of-1-guest", email="heir@example.org", firstname="h",
        lastname="h", accounttype="0",
    )["account"]  # fmt: skip
    root = client.ask("listAccounts", name="admin")["account"][0]
    sent = {"virtualmachineid": guest.id, "networkids": place["networkids"]}
    try:
        client.job("stopVirtualMachine", id=guest.id, seconds=300)
        client.ask("assignVirtualMachine", account="heir", domainid=made["domainid"], **sent)
        assert guest.now["account"] == "heir"
        volumes = client.ask("listVolumes", virtualmachineid=guest.id, listall="true")["volume"]
        assert {v["account"] for v in volumes} == {"heir"} and len(volumes) == 2
        client.job("startVirtualMachine", id=guest.id, seconds=300)
        wait(lambda: guest.does("cat /state/mark") == "kept", 240)
        client.job("stopVirtualMachine", id=guest.id, seconds=300)
    finally:
        client.ask("assignVirtualMachine", account=root["name"], domainid=root["domainid"], **sent)
        client.job("deleteAccount", id=made["id"], seconds=120)
