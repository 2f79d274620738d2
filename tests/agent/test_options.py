"""Options of a machine in its XML: queues, threads, and what its owner adds."""

from dataclasses import replace
from uuid import uuid4
from xml.etree import ElementTree

import pytest

from mgmt_server.agent.domain import Surroundings, build
from mgmt_server.errors import Failed
from mgmt_server.protocol.extra import DEEPEST, elements, names
from mgmt_server.protocol.machine import Disk, Machine, Nic, Pool

POOL = Pool("p", "Filesystem", "/pool")
ROOT = Disk("root", POOL, 1 << 30)
NIC = Nic("02:00:00:00:00:01", 0, "Guest")
GUEST = Machine("i-2-3-VM", str(uuid4()), "User", 4, 1000, 1 << 30, (ROOT,), (NIC,))
HOST = Surroundings("qemu", "/usr/bin/qemu-system-x86_64", ("/pool/root",), ("br0",), "/log")


def tree(machine: Machine, host: Surroundings = HOST) -> ElementTree.Element:
    return ElementTree.fromstring(build(machine, host))  # noqa: S314  ours


def test_queues_are_those_of_virtio_nics_alone() -> None:
    many = replace(GUEST, nics=(replace(NIC, queues=4, packed=True),))
    assert tree(many).find("devices/interface/driver").attrib == {"queues": "4", "packed": "on"}
    assert tree(replace(many, details={"nicAdapter": "e1000"})).find("devices/interface/driver") is None
    assert tree(GUEST).find("devices/interface/driver") is None


def test_a_threaded_disk_has_a_thread_and_its_policy_where_that_can_be() -> None:
    fast = replace(ROOT, io="native", threaded=True)
    root = tree(replace(GUEST, disks=(fast,)))
    driver = root.find("devices/disk/driver")
    assert (root.findtext("iothreads"), driver.get("iothread"), driver.get("io")) == ("1", "1", "native")
    cached = tree(replace(GUEST, disks=(replace(fast, cache="writeback"),)))
    assert cached.find("devices/disk/driver").get("io") is None  # QEMU would refuse to start
    far = tree(replace(GUEST, disks=(fast,)), replace(HOST, disks=("nfs://store/pool/root",)))
    assert far.find("devices/disk/driver").get("io") is None
    assert tree(GUEST).find("iothreads") is None


def test_what_is_added_joins_what_is_there_and_never_replaces_it() -> None:
    added = (
        '<memoryBacking><hugepages/></memoryBacking>\n<features foo="1"><hyperv/></features>',
        '<devices><watchdog model="i6300esb"/></devices>',
    )
    root = tree(replace(GUEST, extra=added))
    assert root.find("memoryBacking/hugepages") is not None and len(root.findall("features")) == 1
    assert root.find("features/acpi") is not None and root.find("features/hyperv") is not None
    assert root.find("devices/watchdog") is not None and len(root.findall("devices")) == 1
    kept = tree(replace(GUEST, extra=('<devices type="x"/>', '<clock offset="localtime"/>')))
    assert kept.find("clock").get("offset") == "utc"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "no <!"),
        ("<a>&x;</a>", "no XML"),
        ("<a><b></a>", "no XML"),
        ("</extra><extra>", "no XML"),
        ("just words", "has to be elements"),
        ("<a/>words<b/>", "has to be elements"),
        ("<name>other</name>", "the cloud's own"),
        ("<devices><emulator>/bin/sh</emulator></devices>", "the cloud's own"),
        ("<a>" * (DEEPEST + 1) + "</a>" * (DEEPEST + 1), "deep"),
        ("<a/>" * 6000, "characters"),
    ],
)
def test_what_cannot_be_added_is_refused(text: str, told: str) -> None:
    with pytest.raises(Failed, match=told):
        elements(text)


def test_all_that_a_piece_holds_is_named() -> None:
    (found,) = elements('<qemu:commandline><qemu:arg value="x"/></qemu:commandline>')
    assert names(found) == {"qemu:commandline", "qemu:arg"}
    (found,) = elements("<a><b><c/></b></a>")
    assert names(found) == {"a", "b", "c"}
