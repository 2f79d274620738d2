"""What is done to machines and disks while they run, seen from inside a guest. Runs last, on the lab of the others."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time

import pytest

from tests.e2e.conftest import ROOT, wait
from tests.e2e.test_cloud import boots as boots_at

pytestmark = [pytest.mark.lab, pytest.mark.guests, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def offering(client):
    """Of disks where the lab's disks lie: on the hosts."""
    found = client.ask("listDiskOfferings", keyword="e2e local").get("diskoffering")
    if found:
        return found[0]["id"]
    made = client.ask(
        "createDiskOffering", name="e2e local", displaytext="e2e local", storagetype="local", customized="true"
    )
    return made["diskoffering"]["id"]


def inside(lab, command):
    return lab.login(lab.guest()["ipaddress"], command).strip()


def boots(lab):
    return boots_at(lab, lab.guest()["ipaddress"])


@pytest.fixture
def disk(lab, client, offering):
    """A disk on the running guest, with a word on it."""
    guest = lab.guest()
    made = client.job("createVolume", name="data", diskofferingid=offering, size=1, zoneid=guest["zoneid"])["volume"]
    client.job("attachVolume", id=made["id"], virtualmachineid=guest["id"])
    wait(lambda: "vdb" in inside(lab, "cat /proc/partitions"), 60)
    inside(lab, "echo kept > /dev/vdb; sync")
    yield made["id"]
    (there,) = client.ask("listVolumes", id=made["id"])["volume"]
    if "virtualmachineid" in there:
        client.job("detachVolume", id=made["id"])
    client.job("destroyVolume", id=made["id"], expunge="true")
    wait(lambda: "vdb" not in inside(lab, "cat /proc/partitions"), 60)


def test_a_disk_comes_grows_and_goes_while_the_guest_runs(lab, client, disk):
    before = boots(lab)
    client.job("resizeVolume", id=disk, size=2)
    wait(lambda: inside(lab, "cat /sys/block/vdb/size") == str(2 * 2**30 // 512), 60)
    client.job("detachVolume", id=disk)
    wait(lambda: "vdb" not in inside(lab, "cat /proc/partitions"), 60)
    client.job("attachVolume", id=disk, virtualmachineid=lab.guest()["id"])
    wait(lambda: "vdb" in inside(lab, "cat /proc/partitions"), 60)
    assert inside(lab, "head -c 4 /dev/vdb") == "kept" and boots(lab) == before


def test_a_snapshot_of_a_disk_in_use_has_what_was_there(lab, client, disk):
    snapshot = client.job("createSnapshot", volumeid=disk, seconds=300)["snapshot"]
    assert snapshot["state"] == "BackedUp"
    inside(lab, "echo lost > /dev/vdb; sync")
    guest = lab.guest()["id"]  # named, so that the disk is made where the guest is
    copy = client.job("createVolume", name="copy", snapshotid=snapshot["id"], virtualmachineid=guest, seconds=300)[
        "volume"
    ]
    wait(lambda: "vdc" in inside(lab, "cat /proc/partitions"), 60)
    assert inside(lab, "head -c 4 /dev/vdb; head -c 4 /dev/vdc") == "lostkept"
    client.job("detachVolume", id=copy["id"])
    client.job("destroyVolume", id=copy["id"], expunge="true")
    client.job("deleteSnapshot", id=snapshot["id"])
    assert not client.ask("listSnapshots", id=snapshot["id"])


def test_a_machine_goes_back_to_a_snapshot_with_its_memory(lab, client):
    guest = lab.guest()
    inside(lab, "echo before > /tmp/word")
    kept = client.job("createVMSnapshot", virtualmachineid=guest["id"], snapshotmemory="true", seconds=300)
    inside(lab, "echo after > /tmp/word")
    client.job("revertToVMSnapshot", vmsnapshotid=kept["vmsnapshot"]["id"], seconds=300)
    wait(lambda: inside(lab, "cat /tmp/word") == "before", 90)
    client.job("deleteVMSnapshot", vmsnapshotid=kept["vmsnapshot"]["id"], seconds=300)
    assert lab.guest()["state"] == "Running"


# asks a page again and again until a file is there, and says when it answered
PULSE = """
import pathlib, sys, time, urllib.request
while not pathlib.Path(sys.argv[2]).exists():
    try:
        urllib.request.urlopen(sys.argv[1], timeout=0.5).read()
        print(time.time(), flush=True)
    except OSError:
        pass
    time.sleep(0.02)
"""


@contextlib.contextmanager
def pulse(lab, address, folder):
    """The moments at which a guest answers, as they come."""
    over, heard = folder / "over", folder / "answers"
    with heard.open("w") as sink:
        watcher = threading.Thread(
            target=lambda: subprocess.run(
                ["/usr/bin/python3", "tools/lab.py", "exec", "--", "python3", "-c", PULSE, f"http://{address}/", over],
                cwd=ROOT,
                env=lab.environment,
                stdout=sink,
                stdin=subprocess.DEVNULL,
                timeout=900,
                check=False,
            )  # fmt: skip
        )
        watcher.start()
        try:
            yield lambda: [float(line) for line in heard.read_text().split("\n")[:-1]]
        finally:
            over.touch()
            watcher.join(60)


def test_a_guest_answers_while_it_moves_to_another_host(lab, client, tmp_path):
    guest, boot = lab.guest(), inside(lab, "cat /proc/sys/kernel/random/boot_id")
    hosts = client.ask("findHostsForMigration", virtualmachineid=guest["id"])["host"]
    there = next(h for h in hosts if h["id"] != guest["hostid"])
    with pulse(lab, guest["ipaddress"], tmp_path) as answers:
        wait(answers, 60)
        began = time.time()
        client.job("migrateVirtualMachine", virtualmachineid=guest["id"], hostid=there["id"], seconds=600)
        ended = time.time()
        wait(lambda: answers()[-1] > ended, 60)
        found = answers()
    silence = max(b - a for a, b in zip(found, found[1:], strict=False))
    print(f"moved in {ended - began:.1f} s; longest silence {silence:.2f} s of {len(found)} answers")
    assert [a for a in found if began < a < ended], "it answered while it moved"
    assert lab.guest()["hostid"] == there["id"]
    assert inside(lab, "cat /proc/sys/kernel/random/boot_id") == boot != ""
    here, elsewhere = there["name"].split(".")[0], guest["hostname"].split(".")[0]
    name = guest["instancename"]
    assert name in lab.on(here, "virsh list --name") and name not in lab.on(elsewhere, "virsh list --all --name")


def test_a_guest_that_dies_is_started_again_where_its_offering_asks_for_it(lab, client):
    guest = lab.guest()
    (cluster,) = client.ask("listClusters")["cluster"]
    client.ask("updateConfiguration", name="force.ha", value="true", clusterid=cluster["id"])
    host = guest["hostname"].split(".")[0]
    process = f"cat /run/libvirt/qemu/{guest['instancename']}.pid"
    before = lab.on(host, process).strip()
    lab.on(host, f"kill -9 {before}")

    def again():
        found = lab.guest()
        return found["state"] == "Running" and found.get("hostname") and lab.page(found["ipaddress"])

    wait(again, 180)
    events = client.ask("listEvents", keyword="HA", listall="true").get("event", [])
    assert lab.on(lab.guest()["hostname"].split(".")[0], process).strip() != before, events
    client.ask("updateConfiguration", name="force.ha", value="false", clusterid=cluster["id"])
