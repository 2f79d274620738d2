"""A chain of snapshots that hold changes alone, of a disk in use: one by its policy's clock, one deleted amid the
chain, the last gone back to, and copied to another zone and back. Runs on the lab of the others.
"""

from __future__ import annotations

import contextlib
import time

import pytest

from tests.e2e.conftest import wait
from tests.e2e.images import content, digest, fetched, name_of
from tests.e2e.machine import Machine

pytestmark = [pytest.mark.lab, pytest.mark.guests, pytest.mark.timeout(900)]

MIB = 1 << 20
LENGTH = 12 * MIB
SETTINGS = {"kvm.incremental.snapshot": "true", "snapshot.poll.interval": "1", "extract.url.cleanup.interval": "1"}
STORES = "/srv/export/secondary"
WORDS = (("zero", 0), ("one", 4), ("two", 5))  # each at its MiB, between two snapshots


@pytest.fixture(scope="module")
def settings(client):
    before = {name: client.ask("listConfigurations", name=name)["configuration"][0]["value"] for name in SETTINGS}
    for name, value in SETTINGS.items():
        client.ask("updateConfiguration", name=name, value=value)
    yield
    for name, value in before.items():
        client.ask("updateConfiguration", name=name, value=value)


@pytest.fixture(scope="module")
def guest(lab, client):
    return Machine(lab, client, lab.guest()["id"])


@pytest.fixture(scope="module")
def disk(client, guest):
    """A disk on the running guest, with 4 MiB in it that do not shrink."""
    offering = client.ask(
        "createDiskOffering", name="e2e chain", displaytext="chain", disksize=1, storagetype="local"
    )["diskoffering"]["id"]  # fmt: skip
    made = client.job("createVolume", name="chain", diskofferingid=offering, zoneid=guest.now["zoneid"])["volume"]["id"]
    client.job("attachVolume", id=made, virtualmachineid=guest.id)
    guest.does(f"dd if=/dev/urandom of=/dev/{name_of(guest, made)} bs=1M count=4 2>/dev/null; sync")
    yield made
    if "virtualmachineid" in client.ask("listVolumes", id=made)["volume"][0]:
        client.job("detachVolume", id=made)
    client.job("destroyVolume", id=made, expunge="true")
    client.ask("deleteDiskOffering", id=offering)


def write(guest, disk, number):
    word, place = WORDS[number]
    name = name_of(guest, disk)
    guest.does(f"printf {word} | dd of=/dev/{name} bs=1M seek={place} conv=notrunc 2>/dev/null; sync")


def hourly(client, disk, seconds):
    """The policy of a disk, due when the minute begins that lies so many seconds ahead."""
    soon = time.gmtime(time.time() + seconds)
    made = client.ask(
        "createSnapshotPolicy", volumeid=disk, intervaltype="HOURLY", schedule=f"{soon.tm_min:02d}", timezone="GMT",
        maxsnaps=1,
    )  # fmt: skip
    return made["snapshotpolicy"]["id"]


def listed(client, disk, **more):
    found = client.ask("listSnapshots", volumeid=disk, showunique="true", **more).get("snapshot", [])
    return {s["id"]: s for s in found}


def files(lab, id):
    """Where a snapshot's file lies, on the stores of all zones."""
    return lab.on("store", f"find {STORES} -name '{id}*'").split()


@pytest.fixture(scope="module")
def chain(lab, client, settings, guest, disk, second_zone):
    """Three snapshots, each of which the next one needs: the policy's first, one by hand, and one by the policy's
    clock. With the digest of the disk as the last one has it."""
    policy = hourly(client, disk, 1800)
    write(guest, disk, 0)
    first = client.job("createSnapshot", volumeid=disk, policyid=policy, seconds=300)["snapshot"]["id"]
    write(guest, disk, 1)
    middle = client.job("createSnapshot", volumeid=disk, seconds=300)["snapshot"]["id"]
    write(guest, disk, 2)
    whole = content(guest, name_of(guest, disk), LENGTH)

    assert hourly(client, disk, 66 if time.gmtime().tm_sec > 54 else 60) == policy, "the same one, at another time"

    def fired():
        there = listed(client, disk, intervaltype="HOURLY")
        return next((id for id, s in there.items() if id != first and s["state"] == "BackedUp"), None)

    last = wait(fired, 150)
    client.ask("deleteSnapshotPolicies", id=policy)
    yield {"first": first, "middle": middle, "last": last, "content": whole}
    for id in listed(client, disk):
        client.job("deleteSnapshot", id=id, seconds=120)


@contextlib.contextmanager
def made_of(client, guest, snapshot):
    """A disk of a snapshot, on the running guest: what that calls it."""
    made = client.job("createVolume", name="copy", snapshotid=snapshot, virtualmachineid=guest.id, seconds=300)
    try:
        yield name_of(guest, made["volume"]["id"])
    finally:
        client.job("detachVolume", id=made["volume"]["id"])
        client.job("destroyVolume", id=made["volume"]["id"], expunge="true")


def test_a_policy_takes_a_snapshot_by_its_clock_and_the_one_beyond_goes(lab, client, disk, chain):
    wait(lambda: chain["first"] not in listed(client, disk), 60)
    seen = listed(client, disk)
    assert set(seen) == {chain["middle"], chain["last"]}
    assert [seen[chain[name]]["intervaltype"] for name in ("middle", "last")] == ["MANUAL", "HOURLY"]
    events = client.ask("listEvents", type="SNAPSHOT.DELETE", listall="true", pagesize=50, page=1)["event"]
    assert [e for e in events if "its policy keeps 1" in e["description"]]
    assert all(s["physicalsize"] < MIB for s in seen.values()), "each holds what changed"
    assert len(files(lab, chain["first"])) == 1, "the others stand on it"


def test_the_last_holds_all_when_those_beneath_are_deleted(lab, client, guest, disk, chain, tmp_path):
    client.job("deleteSnapshot", id=chain["middle"], seconds=120)
    assert set(listed(client, disk)) == {chain["last"]} and len(files(lab, chain["middle"])) == 1
    guest.does(f"printf lost > /dev/{name_of(guest, disk)}; sync")
    with made_of(client, guest, chain["last"]) as name:
        assert content(guest, name, LENGTH) == chain["content"] != content(guest, name_of(guest, disk), LENGTH)
    told = client.job("extractSnapshot", id=chain["last"], zoneid=guest.now["zoneid"], seconds=300)["snapshot"]
    assert digest(fetched(lab, told["url"], tmp_path / "last.qcow2"), length=LENGTH) == chain["content"]


def test_the_disk_itself_goes_back_to_the_last(client, guest, disk, chain):
    guest.does(f"printf lost > /dev/{name_of(guest, disk)}; sync")
    client.job("detachVolume", id=disk)
    client.job("revertSnapshot", id=chain["last"], seconds=300)
    client.job("attachVolume", id=disk, virtualmachineid=guest.id)
    assert content(guest, name_of(guest, disk), LENGTH) == chain["content"]


def test_it_goes_to_another_zone_and_comes_back_with_all_that_it_stands_on(
    lab, client, guest, disk, chain, second_zone
):
    home, folder = guest.now["zoneid"], files(lab, chain["last"])[0].rpartition("/")[0]
    client.job("copySnapshot", id=chain["last"], destzoneid=second_zone, seconds=300)
    (there,) = client.ask("listSnapshots", id=chain["last"], zoneid=second_zone)["snapshot"]
    assert (there["zonename"], there["state"]) == ("second", "BackedUp")
    every = [chain[name] for name in ("first", "middle", "last")]
    assert [len(files(lab, id)) for id in every] == [2, 2, 2], "each file on which it stands is there too"
    client.job("deleteSnapshot", id=chain["last"], zoneid=home, seconds=120)
    assert [["/second-" in file for file in files(lab, id)] for id in every] == [[True]] * 3
    client.job("copySnapshot", id=chain["last"], sourcezoneid=second_zone, destzoneid=home, seconds=300)
    with made_of(client, guest, chain["last"]) as name:
        assert content(guest, name, LENGTH) == chain["content"]
    client.job("deleteSnapshot", id=chain["last"], seconds=120)
    assert [files(lab, id) for id in every] == [[], [], []]
    wait(lambda: lab.on("store", f"ls {folder}") == "", 60)  # also what was put together for links
