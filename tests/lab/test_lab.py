"""The lab itself: machines, networks, reboots, and that nothing of it is left."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAB = ROOT / "tools/lab.py"

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


class Lab:
    def __init__(self, name: str) -> None:
        self.environment = os.environ | {"CLOUDWRIGHT_LAB": name}
        self.folder = ROOT / ".lab" / name
        self.facts: dict = {}

    def call(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(LAB), *argv]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=200)
        assert not check or done.returncode == 0, done.stderr
        return done

    def ssh(self, host: str, command: str, check: bool = True) -> str:
        return self.call("ssh", host, command, check=check).stdout.strip()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lab = Lab(f"test-{os.getpid()}")
    try:
        lab.facts = json.loads(lab.call("up", "mgmt", "kvm1").stdout)
        yield lab
    finally:
        lab.call("down")


def test_up_again_changes_nothing(lab: Lab) -> None:
    again = json.loads(lab.call("up", "mgmt", "kvm1").stdout)
    assert lab.facts["changed"] is True
    assert again == lab.facts | {"changed": False}


def test_hosts_are_named_and_know_each_other(lab: Lab) -> None:
    assert lab.ssh("mgmt", "hostname") == "mgmt"
    assert lab.ssh("kvm1", "getent hosts mgmt").split() == ["10.91.0.10", "mgmt"]


def test_only_kvm_hosts_have_the_guest_network(lab: Lab) -> None:
    assert "eth1" in lab.ssh("kvm1", "ls /sys/class/net").split()
    assert "eth1" not in lab.ssh("mgmt", "ls /sys/class/net").split()
    lab.ssh("kvm1", "ip addr add 10.92.0.77/24 dev eth1; ip link set eth1 up")
    lab.call("exec", "--", "nc", "-z", "-w5", "10.92.0.77", "22")


def test_what_a_host_installs_is_there_and_off(lab: Lab) -> None:
    assert lab.ssh("kvm1", "dpkg-query -Wf '${db:Status-Status}' libvirt-daemon-system") == "installed"
    assert (
        lab.ssh("kvm1", "systemctl is-enabled libvirtd.service mariadb.service", check=False).split()
        == ["disabled"] * 2
    )
    assert lab.ssh("kvm1", "systemctl is-system-running --wait", check=False) == "running"


def starts(lab: Lab) -> int:
    return len((lab.folder / "machines/kvm1/starts").read_text().splitlines())


def test_a_reboot_keeps_files_and_networks(lab: Lab) -> None:
    lab.ssh("kvm1", "echo kept > /root/kept")
    lab.ssh("kvm1", "systemd-run -q --on-active=0.3 systemctl reboot")
    deadline = time.monotonic() + 60
    while starts(lab) < 2 or lab.call("ssh", "kvm1", "true", check=False).returncode:
        assert time.monotonic() < deadline, "kvm1 did not come back"
        time.sleep(0.2)
    assert lab.ssh("kvm1", "cat /root/kept") == "kept"
    lab.ssh("kvm1", "ip addr add 10.92.0.78/24 dev eth1; ip link set eth1 up")
    lab.call("exec", "--", "nc", "-z", "-w5", "10.92.0.78", "22")


def ipmi(lab: Lab, *words: str) -> str:
    ((user, password),) = json.loads((lab.folder / "controllers/kvm1.json").read_text()).items()
    command = ["ipmitool", "-I", "lanplus", "-H", lab.facts["controllers"]["kvm1"], "-U", user, "-E", *words]
    return lab.call("exec", "--", "env", f"IPMI_PASSWORD={password}", *command).stdout.strip()


def greeting(lab: Lab) -> str:
    """What the host says to who connects to its port 22; nothing when it does not live."""
    probe = "exec 3<>/dev/tcp/10.91.0.11/22 && head -c 3 <&3"
    return lab.call("exec", "--", "timeout", "3", "bash", "-c", probe, check=False).stdout


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.2)


def test_a_host_without_power_is_off_and_gets_it_back_from_its_controller(lab: Lab) -> None:
    lab.ssh("kvm1", "echo kept > /root/kept; echo shared > /mnt/shared/word; sync")
    assert ipmi(lab, "power", "status") == "Chassis Power is on" and greeting(lab) == "SSH"
    lab.call("power", "kvm1", "off")
    assert ipmi(lab, "power", "status") == "Chassis Power is off" and greeting(lab) == ""
    ipmi(lab, "power", "on")
    until(lambda: greeting(lab) == "SSH")
    assert lab.ssh("kvm1", "cat /root/kept /mnt/shared/word").split() == ["kept", "shared"]
    assert lab.ssh("kvm1", "findmnt -n -o TARGET /mnt/shared") == "/mnt/shared"


def test_a_hung_host_has_power_and_does_nothing_until_it_is_switched_off_and_on(lab: Lab) -> None:
    lab.call("power", "kvm1", "hang")
    assert ipmi(lab, "power", "status") == "Chassis Power is on" and greeting(lab) == ""
    ipmi(lab, "power", "off")
    until(lambda: ipmi(lab, "power", "status") == "Chassis Power is off")
    ipmi(lab, "power", "on")
    until(lambda: greeting(lab) == "SSH")
    ipmi(lab, "power", "soft")
    until(lambda: ipmi(lab, "power", "status") == "Chassis Power is off")
    lab.call("power", "kvm1", "on")
    until(lambda: greeting(lab) == "SSH")


def test_a_reset_host_is_as_on_the_first_day(lab: Lab) -> None:
    lab.ssh("kvm1", "echo old > /root/old")
    lab.ssh("mgmt", "echo stays > /root/stays")
    lab.call("reset", "kvm1")
    assert lab.ssh("kvm1", "ls /root") == ""
    assert lab.ssh("mgmt", "cat /root/stays") == "stays"


def test_the_port_leads_to_the_api(lab: Lab) -> None:
    lab.ssh("mgmt", "systemd-run -q --unit=web python3 -m http.server 8080")
    deadline, answer = time.monotonic() + 30, b""
    while not answer.startswith(b"HTTP/1.0 200"):
        assert time.monotonic() < deadline, answer
        with socket.create_connection(("127.0.0.1", lab.facts["port"]), timeout=10) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = connection.recv(100)
        time.sleep(0.2)


def test_wrong_words_are_named(lab: Lab) -> None:
    refused = lab.call("ssh", "nobody", check=False)
    assert refused.returncode == 1
    assert "no host 'nobody' in the lab: there are mgmt, kvm1" in refused.stderr
    assert "no host xen1 in the lab" in lab.call("up", "xen1", check=False).stderr
    assert "not up: `tools/lab.py up` boots it" in Lab("test-absent").call("exec", "--", "true", check=False).stderr


def leftovers(lab: Lab) -> list[str]:
    """Everything on this machine that carries the name of the lab's namespace or folder."""
    netns, where = lab.facts["netns"], str(lab.folder)
    found = [f"namespace {netns}"] if Path("/run/netns", netns).exists() else []
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if where in line or netns in line]
    found += [str(path) for path in Path("/sys/fs/cgroup").rglob(f"*{netns}*")]
    found += [str(path) for path in Path("/run/systemd/nspawn").rglob(f"*{netns}*")]
    found += [str(path) for path in (lab.folder, Path(lab.facts["control_path"])) if path.exists()]
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if netns in words or where in words:
            found.append(words)
    return found


def test_down_leaves_nothing() -> None:
    lab = Lab(f"test-gone-{os.getpid()}")
    try:
        lab.facts = json.loads(lab.call("up", "store", "kvm1").stdout)
        lab.ssh("kvm1", "systemd-run -q sleep 1000")
        mounted = lab.ssh("store", "findmnt -no FSTYPE /srv/export")
        assert mounted and mounted != "overlay"
        assert leftovers(lab), "the search itself finds nothing of a lab that runs"
        # a connection through the port is open while the lab goes down
        hold = socket.create_connection(("127.0.0.1", lab.facts["port"]), timeout=5)
        threading.Timer(20, hold.close).start()
    finally:
        assert json.loads(lab.call("down").stdout) == {"changed": True}
    assert leftovers(lab) == []
    assert json.loads(lab.call("down").stdout) == {"changed": False}
