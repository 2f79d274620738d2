"""On which host a guest runs, and what becomes of it when operators work on its host.

One guest, whose disk both hosts see, beside the lab's first one. It begins on the host where the first one is not, here
called `away`; the other is `home`. Each test leaves it running. Leaves the lab as it was.
"""

from __future__ import annotations

import contextlib

import pytest

from tests.e2e.conftest import wait
from tests.e2e.machine import deployed, hosts, parts, short

pytestmark = [pytest.mark.lab, pytest.mark.guests, pytest.mark.timeout(1800)]

BRIDGE = "cloudbr1"  # of the guests' network
SCRIPTS = "/etc/cloudwright/maintenance"


@pytest.fixture(scope="module")
def both(lab, client):
    """The host where the first guest is not, without the guests' router; and the one where it is."""
    away, home = hosts(lab, client)
    for router in client.ask("listRouters", listall="true")["router"]:
        if router.get("hostid") == away["id"]:
            client.job("migrateSystemVm", virtualmachineid=router["id"], hostid=home["id"], seconds=400)
    return away, home


@pytest.fixture(scope="module")
def guest(lab, client, both):
    with deployed(lab, client, "placed", hostid=both[0]["id"], **parts(lab, client, "tiny-ha")) as made:
        made.does("echo kept > /state/mark; sync")
        yield made


@pytest.fixture
def there(client, guest, both):
    """The guest runs on `away` when a test begins: how often it has booted. It starts there anew where it does not."""
    away, _ = both
    if guest.now["state"] == "Running" and guest.now["hostid"] == away["id"]:
        return guest.sees()["boots"]
    return starts(client, guest, away)


def starts(client, guest, host):
    """Start it on that host, stopped before where it is not: how often it has booted then."""
    if guest.now["state"] != "Stopped":
        client.job("stopVirtualMachine", id=guest.id, seconds=300)
    client.job("startVirtualMachine", id=guest.id, hostid=host["id"], seconds=300)
    boots = guest.sees(240)["boots"]
    runs_on(guest, host, boots)
    return boots


def runs_on(guest, host, boots):
    """It has come up there so many times in all, with what it had."""
    wait(lambda: guest.now["state"] == "Running" and guest.now["hostid"] == host["id"], 180)
    guest.comes(boots)
    assert guest.does("cat /state/mark") == "kept"


def refused(client, guest, host):
    """What the cloud says to starting it on that host."""
    with pytest.raises(RuntimeError) as no:
        client.job("startVirtualMachine", id=guest.id, hostid=host["id"], seconds=120)
    return str(no.value)


def test_a_host_is_emptied_worked_on_and_taken_back(lab, client, both, guest, there):
    away, home = both
    name, instance = short(away), guest.now["instancename"]
    script = f"#!/bin/sh\\necho $0 $1: $(virsh -q list --name | grep -c {instance}) guests\\n"
    stages = [f"{SCRIPTS}/{stage}.sh" for stage in ("PreFlight", "Maintenance", "PostMaintenance")]
    lab.on(name, f"mkdir -p {SCRIPTS}; printf '{script}' | tee {' '.join(stages)} >/dev/null; chmod 755 {SCRIPTS}/*")
    try:
        told = client.job("startRollingMaintenance", hostids=away["id"], payload="kernel", seconds=600)
    finally:
        lab.on(name, f"rm -r {SCRIPTS}")
    told = told["rollingmaintenance"]
    assert told["success"] and not told["hostsskipped"], told
    (done,) = told["hostsupdated"]
    assert "Maintenance.sh kernel: 0 guests" in done["output"].splitlines()[0], done
    assert guest.now["hostid"] == home["id"] and guest.sees()["boots"] == there, "it moved while it ran"
    seen = client.ask("listHosts", id=away["id"])["host"][0]
    assert (seen["resourcestate"], seen["state"]) == ("Enabled", "Up")


# --- who may run where ----------------------------------------------------------------------------------------------


@pytest.fixture
def foreigner(client):
    made = client.ask(
        "createAccount", username="tenant", password="Tenant-of-1-host", email="tenant@example.org", firstname="t",
        lastname="t", accounttype="0",
    )["account"]  # fmt: skip
    yield made
    client.job("deleteAccount", id=made["id"], seconds=120)


def test_a_dedicated_host_is_its_owners_alone(lab, client, both, guest, there, foreigner):
    away, home = both
    root = client.ask("listAccounts", name="admin")["account"][0]
    network = parts(lab, client, "tiny-ha")["networkids"]
    owned = {"virtualmachineid": guest.id, "networkids": network}
    client.job("stopVirtualMachine", id=guest.id, seconds=300)
    client.job("dedicateHost", hostid=away["id"], domainid=foreigner["domainid"], account="tenant")
    try:
        (dedicated,) = client.ask("listDedicatedHosts", hostid=away["id"])["dedicatedhost"]
        assert "dedicated" in refused(client, guest, away)
        client.job("startVirtualMachine", id=guest.id, seconds=300)
        runs_on(guest, home, there + 1)  # though it ran last on the other
        client.job("stopVirtualMachine", id=guest.id, seconds=300)
        client.ask("assignVirtualMachine", account="tenant", domainid=foreigner["domainid"], **owned)
        client.job("updateVMAffinityGroup", id=guest.id, affinitygroupids=dedicated["affinitygroupid"])
        client.job("startVirtualMachine", id=guest.id, seconds=300)
        runs_on(guest, away, there + 2)  # though it ran last on the other
        client.job("stopVirtualMachine", id=guest.id, seconds=300)
    finally:
        with contextlib.suppress(RuntimeError):
            client.job("stopVirtualMachine", id=guest.id, forced="true", seconds=300)
        client.job("updateVMAffinityGroup", id=guest.id, affinitygroupids="")
        client.ask("assignVirtualMachine", account=root["name"], domainid=root["domainid"], **owned)
        client.job("releaseDedicatedHost", hostid=away["id"])
    assert starts(client, guest, away) == there + 3


def test_a_host_that_is_kept_for_failures_takes_what_failed_alone(lab, client, both, guest, there):
    """A start passes it by; a guest whose process died comes up there."""
    away, home = both
    client.job("stopVirtualMachine", id=guest.id, seconds=300)
    client.ask("updateConfiguration", name="ha.tag", value="spare")
    client.ask("updateHost", id=away["id"], hosttags="spare")
    try:
        assert "kept for machines whose host has failed" in refused(client, guest, away)
        client.job("startVirtualMachine", id=guest.id, seconds=300)
        runs_on(guest, home, there + 1)
        process = lab.on(short(home), f"cat /run/libvirt/qemu/{guest.now['instancename']}.pid").strip()
        lab.on(short(home), f"kill -9 {process}")
        runs_on(guest, away, there + 2)
    finally:
        client.ask("updateHost", id=away["id"], hosttags="")
        client.ask("updateConfiguration", name="ha.tag", value="")


def test_a_start_that_one_host_fails_is_tried_on_the_other(lab, client, both, guest, there):
    """The bridge of the guests' network is gone from the host on which it ran last."""
    away, home = both
    client.job("stopVirtualMachine", id=guest.id, seconds=300)
    lab.on(short(away), f"ip link set {BRIDGE} down && ip link set {BRIDGE} name lost1")
    try:
        client.job("startVirtualMachine", id=guest.id, seconds=300)
        runs_on(guest, home, there + 1)
        assert not guest.on(away)
        found = client.ask("listAlerts", keyword="placed").get("alert", [])
        assert any(BRIDGE in a["description"] and away["name"] in a["description"] for a in found), found
    finally:
        lab.on(short(away), f"ip link set lost1 name {BRIDGE} && ip link set {BRIDGE} up")


# --- work on hosts ----------------------------------------------------------------------------------------------------


def test_a_reconnected_host_tells_what_it_lacks_and_its_guest_runs_on(lab, client, both, guest, there):
    name, away = short(both[0]), both[0]
    (pool,) = client.ask("listStoragePools", name="shared")["storagepool"]
    hidden = "/mnt/hidden"
    lab.on(name, f"mkdir {hidden} && mount --bind {pool['path']} {hidden} && umount -l {pool['path']}")
    try:
        with pytest.raises(RuntimeError, match=pool["path"]):
            client.job("reconnectHost", id=away["id"], seconds=120)
        assert client.ask("listHosts", id=away["id"])["host"][0]["state"] == "Alert"
    finally:
        lab.on(name, f"mount --bind {hidden} {pool['path']} && umount {hidden} && rmdir {hidden}")
    assert client.job("reconnectHost", id=away["id"], seconds=120)["host"]["state"] == "Up"
    assert guest.now["state"] == "Running" and guest.sees()["boots"] == there


def test_the_word_of_an_operator_starts_a_lost_hosts_guests_elsewhere(lab, client, both, guest, there):
    away, home = both
    with pytest.raises(RuntimeError, match="machines run on it"):
        client.job("declareHostAsDegraded", id=away["id"])
    emulator = f"/run/libvirt/qemu/{guest.now['instancename']}.pid"
    lab.on(short(away), f"systemctl stop cloudwright-agent; kill -9 $(cat {emulator})")
    try:
        wait(lambda: client.ask("listHosts", id=away["id"])["host"][0]["state"] != "Up", 60)
        assert guest.now["state"] == "Running", "nobody knows better"
        lost = client.job("declareHostAsDegraded", id=away["id"])["host"]
        assert lost["resourcestate"] == "Degraded"
    finally:
        lab.on(short(away), "systemctl start cloudwright-agent")
    runs_on(guest, home, there + 1)
    client.job("cancelHostAsDegraded", id=away["id"], seconds=120)

    def back():
        found = client.ask("listHosts", id=away["id"])["host"][0]
        return (found["state"], found["resourcestate"]) == ("Up", "Enabled")

    wait(back, 90)
    wait(lambda: not guest.on(away), 90)


def test_a_host_is_taken_out_by_force_and_added_again(lab, client, both, guest, there):
    """Its guest starts on the other one, and nothing of it stays behind. Last of all: the host gets another id."""
    away, home = both
    (pool,) = client.ask("listStoragePools", hostid=away["id"], scope="HOST").get("storagepool", [None])
    with pytest.raises(RuntimeError, match="not in maintenance"):
        client.ask("deleteHost", id=away["id"])
    client.ask("deleteHost", id=away["id"], forced="true", forcedestroylocalstorage="true")
    try:
        runs_on(guest, home, there + 1)
        assert not guest.on(away)
        assert "host" not in client.ask("listHosts", id=away["id"])
        assert "storagepool" not in client.ask("listStoragePools", id=pool["id"])
    finally:
        client.ask(
            "addHost", zoneid=away["zoneid"], podid=away["podid"], clusterid=away["clusterid"], hypervisor="KVM",
            url=f"http://{away['name']}",
        )  # fmt: skip

    def again():
        found = client.ask("listHosts", name=away["name"], type="Routing").get("host", [{}])[0]
        return found.get("state") == "Up" and found

    added = wait(again, 120)
    told = lab.play("lab_power.yml")
    assert told.returncode == 0, told.stdout[-3000:]
    assert starts(client, guest, added) == there + 2
