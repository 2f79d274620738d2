"""A host that hangs: suspected, switched off by its management controller over IPMI, and its guest runs elsewhere.

Nobody asks for anything meanwhile. Then the host gets its power back, and joins without the guest. The second time its
silence in shared storage is all that proves it dead.
"""

from __future__ import annotations

import base64
import json

import pytest

from tests.e2e.conftest import wait
from tests.e2e.test_cloud import boots

pytestmark = [pytest.mark.lab, pytest.mark.guests, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def undying(lab, client):
    """A guest with high availability, on the host where the first one is not. As it was before its host died."""
    first = lab.guest()
    elsewhere = next(h for h in hosts(client) if h["id"] != first["hostid"])
    page = base64.b64encode(b"#!/bin/sh\necho undying > /www/index.html\n").decode()
    made = client.job(
        "deployVirtualMachine", name="undying", zoneid=first["zoneid"], hostid=elsewhere["id"], userdata=page,
        serviceofferingid=client.ask("listServiceOfferings", name="tiny-ha")["serviceoffering"][0]["id"],
        templateid=client.ask("listTemplates", templatefilter="all", name="tiny")["template"][0]["id"],
        networkids=client.ask("listNetworks", keyword="guests")["network"][0]["id"], seconds=400,
    )["virtualmachine"]  # fmt: skip
    try:
        address = made["nic"][0]["ipaddress"]
        wait(lambda: lab.page(address).strip() == "undying", 240)
        found = lab.guest("undying")
        yield found | {"boots": boots(lab, address), "host": found["hostname"].split(".")[0]}
    finally:
        client.job("destroyVirtualMachine", id=made["id"], expunge="true", seconds=300)


def hosts(client):
    return client.ask("listHosts", type="Routing")["host"]


def host(client, ident):
    return next(h for h in hosts(client) if h["id"] == ident)


def ipmi(lab, name, *words):
    """What a host's controller says, asked as an operator would."""
    facts = json.loads((lab.folder / "facts.json").read_text())
    users = json.loads((lab.folder / "controllers" / f"{name}.json").read_text())
    ((user, password),) = users.items()
    command = ["ipmitool", "-I", "lanplus", "-H", facts["controllers"][name], "-U", user, "-E", *words]
    return lab.inside("env", f"IPMI_PASSWORD={password}", *command).strip()


def told(client, kind, since):
    """Texts of events after the one that was the last before."""
    found = client.ask("listEvents", type=kind, listall="true", page=1, pagesize=100).get("event", [])
    return [e["description"] for e in reversed(found) if e["created"] >= since]


def machines(lab, name):
    return lab.on(name, "virsh -q list --all --name").split()


def _is_back(lab, client, undying):
    """Wait until the host is back without the guest, which runs on: what the cloud says of it."""

    def back():
        found = host(client, undying["hostid"])
        return (found["state"], found["hostha"]["hastate"]) == ("Up", "Available")

    wait(back, 180)
    found = lab.guest("undying")
    wait(lambda: undying["instancename"] not in machines(lab, undying["host"]), 90)
    assert undying["instancename"] in machines(lab, found["hostname"].split(".")[0])
    return found


def test_both_hosts_leave_a_sign_of_life_where_both_see_it(lab, client, undying):
    found = lab.on("kvm1", "ls /mnt/shared").split()
    assert len([f for f in found if f.startswith("heartbeat-")]) == 2, found
    (disk,) = client.ask("listVolumes", virtualmachineid=undying["id"])["volume"]
    assert disk["storage"] == "shared" and ipmi(lab, undying["host"], "power", "status") == "Chassis Power is on"


def test_a_host_that_hangs_is_switched_off_and_its_guest_answers_from_the_other(lab, client, undying):
    since = undying["created"]
    lab.tool("power", undying["host"], "hang")
    assert ipmi(lab, undying["host"], "power", "status") == "Chassis Power is on"

    def again():
        found = lab.guest("undying")
        there = found["state"] == "Running" and found.get("hostid", undying["hostid"]) != undying["hostid"]
        return there and lab.page(found["ipaddress"]).strip() == "undying" and found

    found = wait(again, 400)
    assert found["ipaddress"] == undying["ipaddress"]
    assert boots(lab, found["ipaddress"]) == undying["boots"] + 1  # it counts them on its disk
    assert ipmi(lab, undying["host"], "power", "status") == "Chassis Power is off"
    lost = host(client, undying["hostid"])
    assert (lost["state"], lost["hostha"]["hastate"]) == ("Down", "Fenced")
    story = [t for t in told(client, "HA.STATE.TRANSITION", since) if undying["hostname"] in t]
    assert [t.split(" to ")[1].split(":")[0] for t in story[-3:]] == ["Suspect", "Fencing", "Fenced"], story
    assert "its power is off" in story[-1]
    power = told(client, "HOST.OOBM.POWERSTATE.TRANSITION", since)
    assert power[-1].endswith("from On to Off"), power


def test_a_host_that_is_back_joins_without_the_guest(lab, client, undying):
    client.job("issueOutOfBandManagementPowerAction", hostid=undying["hostid"], action="ON")
    assert ipmi(lab, undying["host"], "power", "status") == "Chassis Power is on"
    found = _is_back(lab, client, undying)
    assert boots(lab, found["ipaddress"]) == undying["boots"] + 1
    said = lab.on("mgmt", "/opt/cloudwright/bin/cloudwright doctor", check=False)
    assert " 0 fail" in said, said


@pytest.mark.long
def test_an_old_sign_of_life_alone_is_proof_where_that_was_chosen(lab, client, undying):
    """Nobody is asked whether the host has power, or to switch it off. Its guest starts on one that is kept for that.

    It loses its power: hung, it would hold the locks of its disks, as both hosts share a kernel.
    """
    cluster = client.ask("listClusters")["cluster"][0]["id"]
    chosen = {"ha.proof": ("heartbeat", "either"), "ha.heartbeat.timeout": ("20", "60")}
    spare = lab.guest()["hostid"]
    if lab.guest("undying")["hostid"] == spare:
        client.job("migrateVirtualMachine", virtualmachineid=undying["id"], hostid=undying["hostid"], seconds=400)
    booted = boots(lab, undying["ipaddress"])
    before = client.ask("listEvents", listall="true", page=1, pagesize=1)["event"][0]["created"]
    for name, (value, _) in chosen.items():
        client.ask("updateConfiguration", name=name, value=value, clusterid=cluster)
    client.ask("updateConfiguration", name="ha.tag", value="spare")
    client.ask("updateHost", id=spare, hosttags="spare")
    client.job("disableOutOfBandManagementForHost", hostid=undying["hostid"])
    try:
        lab.tool("power", undying["host"], "off")

        def again():
            found = lab.guest("undying")
            there = (found["state"], found.get("hostid")) == ("Running", spare)
            return there and boots(lab, found["ipaddress"]) == booted + 1

        wait(again, 400)
        story = [t for t in told(client, "HA.STATE.TRANSITION", before) if undying["hostname"] in t]
        assert [t.split(" to ")[1].split(":")[0] for t in story[-2:]] == ["Suspect", "Fenced"], story
        assert "its last sign of life in shared storage is" in story[-1] and "power" not in story[-1]
    finally:
        for name, (_, value) in chosen.items():
            client.ask("updateConfiguration", name=name, value=value, clusterid=cluster)
        client.ask("updateHost", id=spare, hosttags="")
        client.ask("updateConfiguration", name="ha.tag", value="")
        client.job("enableOutOfBandManagementForHost", hostid=undying["hostid"])
        lab.tool("power", undying["host"], "on")
    _is_back(lab, client, undying)
