"""The domain XML that the agent makes of a machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import uuid4
from xml.etree import ElementTree

import pytest

from mgmt_server.agent import shaping
from mgmt_server.agent.domain import KEYMAPS, OEM_LENGTH, Surroundings, build, oem_strings
from mgmt_server.errors import Failed
from mgmt_server.protocol.machine import Disk, Machine, Nic, Pool

POOL = Pool("p", "Filesystem", "/pool")
DISKS = (Disk("root", POOL, 1 << 30, serial="abc"), Disk("data", POOL, 1 << 30, device=1, operations_per_second=100))
NICS = (Nic("02:00:00:00:00:01", 0, "Guest", mtu=1450, rate=200),)
GUEST = Machine("i-2-3-VM", str(uuid4()), "User", 2, 1000, 1 << 30, DISKS, NICS, vnc_password="0123456789")
HOST = Surroundings("qemu", "/usr/bin/qemu-system-x86_64", ("/pool/root", "nfs://store/pool/data"), ("br0",), "/log")


def tree(machine: Machine = GUEST, host: Surroundings = HOST) -> ElementTree.Element:
    return ElementTree.fromstring(build(machine, host))  # noqa: S314  ours


def test_domain() -> None:
    root = tree()
    assert (root.get("type"), root.findtext("name"), root.findtext("memory")) == ("qemu", "i-2-3-VM", "1048576")
    assert root.findtext("cpu/model") == "qemu64" and root.find("cputune") is None
    first, second, drive = root.findall("devices/disk")
    assert drive.get("device") == "cdrom" and drive.find("source") is None  # one can be put in while it runs
    assert first.find("source").attrib == {"file": "/pool/root"} and first.findtext("serial") == "abc"
    assert first.find("driver").attrib == {"name": "qemu", "type": "qcow2", "cache": "none", "discard": "unmap"}
    assert second.find("source").attrib == {"protocol": "nfs", "name": "/pool/data"}
    assert second.find("source/host").get("name") == "store"
    assert [d.find("target").get("dev") for d in (first, second)] == ["vda", "vdb"]
    assert second.findtext("iotune/total_iops_sec") == "100"
    nic = root.find("devices/interface")
    assert nic.find("rom").get("enabled") == "no" and nic.find("mtu").get("size") == "1450"
    assert nic.find("bandwidth/inbound").get("average") == "25000"  # 200 Mbit/s in KB/s
    assert root.find("devices/graphics").get("passwd") == "01234567"  # all that VNC looks at
    assert [c.find("target").get("name") for c in root.findall("devices/channel")] == ["org.qemu.guest_agent.0"]
    assert root.find("sysinfo/oemStrings") is None


def test_a_host_that_cannot_limit_nics_lets_settings_be_and_refuses_what_an_offering_promises(monkeypatch) -> None:
    promised = Nic("06:00:00:00:00:01", 0, "Guest", rate=200)
    usual = replace(promised, mac="06:00:00:00:00:02", rate_by_default=True)
    monkeypatch.setattr(shaping, "able", lambda: True)
    assert shaping.bounded((promised, usual)) == (promised, usual)
    monkeypatch.setattr(shaping, "able", lambda: False)
    assert shaping.bounded((usual,)) == (replace(usual, rate=0),)
    with pytest.raises(Failed, match="cannot limit the NIC 06:00:00:00:00:01 to 200 Mbit/s.*sch_htb"):
        shaping.bounded((usual, promised))


@pytest.mark.parametrize(("code", "able"), [(0, True), (1, True), (2, True), (3, False)])
def test_whether_nics_can_be_limited_is_tried(monkeypatch, code: int, able: bool) -> None:
    monkeypatch.setattr(shaping, "TRIAL", f"exit {code}")
    real = shaping.subprocess.run
    monkeypatch.setattr(shaping.subprocess, "run", lambda argv, **more: real(argv[2:], **more))  # no namespace
    assert shaping.able.__wrapped__() is able


def test_a_guest_reads_who_made_its_machine() -> None:
    def told(machine: Machine) -> dict[str | None, str | None]:
        return {e.get("name"): e.text for e in tree(machine).findall("sysinfo/system/entry")}

    made = replace(GUEST, manufacturer="Example", product="CloudStack KVM Hypervisor")
    assert told(made) == {"manufacturer": "Example", "product": "CloudStack KVM Hypervisor", "uuid": GUEST.uuid}
    assert told(GUEST) == {"uuid": GUEST.uuid}  # of a server that does not tell
    assert tree(made).find("os/smbios").get("mode") == "sysinfo"


def test_domain_with_kvm() -> None:
    root = tree(host=replace(HOST, accelerator="kvm"))
    assert root.get("type") == "kvm" and root.find("cpu").get("mode") == "host-model"
    assert root.findtext("cputune/shares") == "2000"


def test_system_vm() -> None:
    root = tree(replace(GUEST, kind="DomainRouter", boot_arguments="type=router name=r-4-VM"))
    assert [c.find("target").get("name") for c in root.findall("devices/channel")][1] == "cloudwright.agent.0"
    assert root.findtext("sysinfo/oemStrings/entry") == "cloudwright:type=router name=r-4-VM"
    assert tree(replace(GUEST, boot_arguments="type=router")).find("sysinfo/oemStrings") is None  # not for users


def test_oem_strings_are_cut_between_words() -> None:
    words = [f"key{n}={'v' * 30}" for n in range(40)]
    strings = oem_strings(" ".join(words))
    assert len(strings) > 5 and all(len(s) <= OEM_LENGTH and s.startswith("cloudwright:") for s in strings)
    assert " ".join(s.removeprefix("cloudwright:") for s in strings).split() == words


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("extraconfig-1", "%3Cdevices%3E%3Chostdev%2F%3E%3C%2Fdevices%3E"),
        ("extraconfig", "<hostdev/>"),
        ("video.hardware", "vga'/><hostdev mode='subsystem'"),
        ("VIDEO.HARDWARE", "qxl"),
        ("keyboard", "../../etc"),
        ("keyboard", "zz"),
        ("rootDiskController", "lun"),
        ("nicAdapter", "vfio"),
        ("cpu.corespersocket", "0"),
        ("video.ram", "-1"),
    ],
)
def test_details_of_users_reach_nothing(key: str, value: str) -> None:
    assert build(replace(GUEST, details={key: value}), HOST) == build(GUEST, HOST)


def test_allowed_details() -> None:
    details = {"rootDiskController": "scsi", "video.hardware": "qxl", "keyboard": "de", "nicAdapter": "e1000"}
    root = tree(replace(GUEST, details=details))
    assert root.find("devices/disk/target").attrib == {"dev": "sda", "bus": "scsi"}
    assert root.find("devices/controller").get("model") == "virtio-scsi"
    assert root.find("devices/graphics").get("keymap") == "de"
    assert root.find("devices/interface/model").get("type") == "e1000"
    assert tree(replace(GUEST, details={"keyboard": "uk"})).find("devices/graphics").get("keymap") == "en-gb"


def test_a_cpu_with_a_limit_has_a_share_of_the_hosts() -> None:
    limited = replace(GUEST, speed=500, speed_limit=500)
    kvm = replace(HOST, accelerator="kvm", speed=2000)
    assert tree(GUEST, kvm).find("cputune/quota") is None
    assert [tree(limited, kvm).findtext(f"cputune/{name}") for name in ("period", "quota")] == ["100000", "25000"]
    assert tree(limited, replace(kvm, speed=400)).findtext("cputune/quota") == "-1"
    assert tree(limited).find("cputune") is None, "hosts that emulate have no cgroup for it"


def test_qemu_knows_every_keyboard(keymaps=Path("/usr/share/qemu/keymaps")) -> None:
    if not keymaps.is_dir():
        pytest.skip("QEMU is not here")
    assert not set(KEYMAPS.values()) - {each.name for each in keymaps.iterdir()}


@pytest.mark.parametrize("text", ["<x/>", "a'b\"c", "]]>", "&amp;", "a\nb"])
def test_text_stays_text(text: str) -> None:
    root = tree(replace(GUEST, name=text, vnc_password=text, disks=(replace(DISKS[0], serial=text),)), one_disk())
    assert root.findtext("name") == text and root.findtext("devices/disk/serial") == text
    assert len(list(root.iter())) == len(list(tree(replace(GUEST, disks=DISKS[:1]), one_disk()).iter()))


def one_disk() -> Surroundings:
    return replace(HOST, disks=("/pool/root",))
