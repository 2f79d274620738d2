"""A router and guests in earnest: QEMU, real packets, one network for the whole module."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mgmt_server.systemvm.build import build
from mgmt_server.systemvm.port import PortRefused, ask

from .documents import CONTROL_MAC, FIRST, ROUTER_MAC, SECOND, document, guest
from .machines import CONTROL, PROBE, Lab, wait_for

pytestmark = [
    pytest.mark.guests,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("qemu-system-x86_64"), reason="needs root and qemu-system-x86_64"
    ),
]

TINY = Path(__file__).resolve().parents[2] / "tools/tiny_guest/build.py"
SSH = (
    "-o",
    "BatchMode=yes",
    "-o",
    "StrictHostKeyChecking=no",
    "-o",
    "UserKnownHostsFile=/dev/null",
    "-o",
    "LogLevel=ERROR",
)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    tiny = subprocess.run(
        [sys.executable, str(TINY), "--output", str(folder)], check=True, capture_output=True, text=True
    ).stdout.strip()
    return {"router": build(folder), "tiny": Path(tiny)}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    found = Lab(tmp_path_factory.mktemp("lab"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    for name in ("guest", "people"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    return folder


@pytest.fixture(scope="module")
def first(keys):
    public = (keys / "guest.pub").read_text().strip()
    return guest(FIRST, metadata={"public-keys": public}, password="from-the-router")


@pytest.fixture(scope="module")
def router(lab, images, keys, first):
    """Path of the port of a router that serves the first guest's network."""
    path = lab.start_router("r-4-VM", images["router"], ROUTER_MAC, CONTROL_MAC)
    lab.wait_console("r-4-VM", f"AGENT up name=r-4-VM control={CONTROL}")
    people = (keys / "people.pub").read_text().strip()
    answer = ask(path, "router.configure", {"document": document(5, guests=[first], authorized_keys=[people])}, 120)
    assert answer["version"] == 5
    assert {"firewall", "addresses", "metadata", "password", "ssh", "dnsmasq"} == set(answer["changed"])
    return path


@pytest.fixture(scope="module")
def vm_a(lab, images, router):
    lab.start("a", images["tiny"], 96, [("guests", FIRST["mac"])])
    lab.wait_console("a", "USERDATA rc=")
    return lab.console("a")


def on_guest(lab, keys, *words: str, address: str = "10.1.1.11") -> str:
    return lab.run("ssh", "-i", str(keys / "guest"), *SSH, f"root@{address}", *words)


def opens(lab, address: str, port: int) -> bool:
    """Whether a TCP connection from the test's place on the guests' network (or the host's on the link) is taken."""
    code = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)"
    return lab.status(sys.executable, "-c", code, address, str(port)) == 0


def test_lease_with_the_fixed_address_and_name(vm_a, router):
    assert "LEASE eth0 10.1.1.11 from 10.1.1.1 name=vm-a" in vm_a
    assert "READY host=vm-a ip=10.1.1.11" in vm_a
    lease = {"mac": FIRST["mac"], "address": "10.1.1.11", "hostname": "vm-a"}
    assert lease in ask(router, "facts", timeout=60)["leases"]


def test_user_data_ran(lab, vm_a):
    assert "USERDATA rc=0" in vm_a
    assert lab.run("curl", "-sf", "-m", "10", "http://10.1.1.11/userdata.html") == "hello-from-userdata\n"


def test_ssh_with_the_key_from_the_router(lab, keys, vm_a):
    assert "CONTEXT ssh key set" in vm_a
    assert on_guest(lab, keys, "hostname") == "vm-a\n"


def test_password_is_taken_once(lab, keys, vm_a, router):
    assert "CONTEXT password set" in vm_a
    assert on_guest(lab, keys, "cat", "/etc/shadow").startswith("root:$6$")
    again = "wget -q -O - --header 'DomU_Request: send_my_password' http://10.1.1.1:8080/"
    assert on_guest(lab, keys, again) == "saved_password"
    assert ask(router, "facts", timeout=60)["passwords_taken"] == ["10.1.1.11"]


def test_dns(lab, keys, vm_a):
    for name in ("vm-a", "vm-a.cs1.internal", "data-server"):
        answer = on_guest(lab, keys, "nslookup", name)
        assert ("10.1.1.1\n" if name == "data-server" else "10.1.1.11\n") in answer.partition("Name:")[2], answer
    assert "search cs1.internal" in on_guest(lab, keys, "cat", "/etc/resolv.conf")


def test_metadata_is_for_its_guest_alone(lab, keys, vm_a):
    assert on_guest(lab, keys, "wget -q -O - http://10.1.1.1/latest/meta-data/instance-id") == "i-vm-a"
    # the test's own address has no lease; and the guest's address with another MAC is not the guest
    assert not opens(lab, "10.1.1.1", 80)
    lab.run("ip", "address", "add", "10.1.1.12/24", "dev", "guests")
    try:
        code = "import socket; socket.create_connection(('10.1.1.1', 80), timeout=3, source_address=('10.1.1.12', 0))"
        assert lab.status(sys.executable, "-c", code) != 0
    finally:
        lab.run("ip", "address", "del", "10.1.1.12/24", "dev", "guests")


def test_ssh_for_people_on_the_control_link_alone(lab, keys, vm_a):
    wait_for(lambda: opens(lab, CONTROL, 3922), 60, "SSH on the control link")
    people = ("ssh", "-p", "3922", *SSH, "-i", str(keys / "people"))
    assert lab.run(*people, f"root@{CONTROL}", "hostname") == "systemvm\n"
    assert lab.run(*people, f"root@{CONTROL}", "grep ^root: /etc/shadow").startswith("root:*:")
    other = ("ssh", "-p", "3922", *SSH, "-i", str(keys / "guest"))
    assert lab.status(*other, f"root@{CONTROL}", "true") == 255
    assert opens(lab, "10.1.1.1", 53), "the test reaches the router from the guests' side"
    for port in (3922, 22):
        assert not opens(lab, "10.1.1.1", port)
    for port in (53, 80, 8080, 22):
        assert not opens(lab, CONTROL, port)


def test_second_guest_without_disturbing_the_first(lab, images, keys, vm_a, router, first):
    people = (keys / "people.pub").read_text().strip()
    second = guest(SECOND, metadata={"public-keys": first["metadata"]["public-keys"]})
    both = document(6, leases=[FIRST, SECOND], guests=[first, second], authorized_keys=[people])
    people_ssh = ("ssh", "-p", "3922", *SSH, "-i", str(keys / "people"), f"root@{CONTROL}")
    dnsmasq = lab.run(*people_ssh, "cat", "/run/cloudwright/dnsmasq.pid")
    assert ask(router, "router.configure", {"document": both}, 120)["changed"] == ["firewall", "metadata", "dnsmasq"]
    assert lab.run(*people_ssh, "cat", "/run/cloudwright/dnsmasq.pid") == dnsmasq, "dnsmasq was reloaded, not restarted"
    lab.start("b", images["tiny"], 96, [("guests", SECOND["mac"])])
    lab.wait_console("b", "USERDATA rc=0")
    assert "LEASE eth0 10.1.1.12 from 10.1.1.1 name=vm-b" in lab.console("b")
    # no password was waiting for it, so none opens it
    assert on_guest(lab, keys, "cat", "/etc/shadow", address="10.1.1.12").startswith("root:*:")
    assert {lease["address"] for lease in ask(router, "facts", timeout=60)["leases"]} == {"10.1.1.11", "10.1.1.12"}
    assert "10.1.1.12" in on_guest(lab, keys, "nslookup", "vm-b.cs1.internal")
    status = json.loads(lab.run("curl", "-sf", "-m", "10", "http://10.1.1.11/cgi-bin/status"))
    assert status["boots"] == 1 and status["nics"][0]["ipv4"] == "10.1.1.11/24"
    assert ask(router, "facts", timeout=60)["passwords_taken"] == ["10.1.1.11"]


def test_older_and_broken_documents_change_nothing(lab, vm_a, router):
    before = ask(router, "facts", timeout=60)
    with pytest.raises(PortRefused, match="version 4 is older than version"):
        ask(router, "router.configure", {"document": document(4)}, 60)
    with pytest.raises(PortRefused, match="the router's own"):
        ask(router, "router.configure", {"document": document(9, leases=[{**FIRST, "address": "10.1.1.1"}])}, 60)
    assert ask(router, "facts", timeout=60)["version"] == before["version"]
    assert ask(router, "facts", timeout=60)["leases"] == before["leases"]


def test_repeated_request_gets_the_stored_answer(router):
    version = ask(router, "facts", timeout=60)["version"]
    one = ask(router, "router.configure", {"document": document(version + 1)}, 120, id="the-same")
    assert one["version"] == version + 1
    assert ask(router, "router.configure", {"document": document(version + 2)}, 60, id="the-same") == one
    assert ask(router, "facts", timeout=60)["version"] == version + 1


def test_changed_address_drops_the_old_lease(lab, router, images, first, vm_a):
    version = ask(router, "facts", timeout=60)["version"] + 1
    moved = {**SECOND, "address": "10.1.1.22"}
    # the second guest's old address goes to another NIC, which nobody has seen yet
    third = {"mac": "02:00:00:01:00:0d", "address": "10.1.1.12", "hostname": "vm-c"}
    raw = document(version, leases=[FIRST, moved, third], guests=[first, guest(moved), guest(third)])
    ask(router, "router.configure", {"document": raw}, 120)
    assert "10.1.1.12" not in {lease["address"] for lease in ask(router, "facts", timeout=60)["leases"]}
    lab.start("c", images["tiny"], 96, [("guests", third["mac"])])
    lab.wait_console("c", "LEASE eth0 10.1.1.12 from 10.1.1.1 name=vm-c")


def test_probe_address_has_no_lease(router):
    assert PROBE not in {lease["address"] for lease in ask(router, "facts", timeout=60)["leases"]}


def test_a_reboot_brings_everything_back_without_the_host(lab, keys, router, first, vm_a):
    version = ask(router, "facts", timeout=60)["version"] + 1
    public = (keys / "people.pub").read_text().strip()
    ask(router, "router.configure", {"document": document(version, guests=[first], authorized_keys=[public])}, 120)
    before = ask(router, "facts", timeout=60)
    people = ("ssh", "-p", "3922", *SSH, "-i", str(keys / "people"), f"root@{CONTROL}")
    key = lab.run("ssh-keyscan", "-p", "3922", "-T", "20", CONTROL)
    lab.run(*people, "systemctl --no-block reboot")
    wait_for(lambda: lab.console("r-4-VM").count("AGENT up") == 2, 120, "the agent after the reboot")
    wait_for(lambda: opens(lab, "10.1.1.1", 53), 60, "dnsmasq after the reboot")
    after = ask(router, "facts", timeout=60)
    assert {**after, "uptime": 0} == {**before, "uptime": 0}
    assert on_guest(lab, keys, "wget -q -O - http://10.1.1.1/latest/meta-data/instance-id") == "i-vm-a"
    again = "wget -q -O - --header 'DomU_Request: send_my_password' http://10.1.1.1:8080/"
    assert on_guest(lab, keys, again) == "saved_password"
    wait_for(lambda: opens(lab, CONTROL, 3922), 60, "SSH after the reboot")
    assert lab.run("ssh-keyscan", "-p", "3922", "-T", "20", CONTROL) == key


def test_power_button(lab, router):
    """Last: it ends the module's router."""
    lab.press_power("r-4-VM")
    lab.running["r-4-VM"].wait(60)
