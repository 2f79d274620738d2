"""Routers and guests as plain QEMU processes (no KVM) in a network namespace of a test's own.

The namespace has two bridges: `guests` (where the test is 10.1.1.200) and `control` (169.254.0.1, as a host has it).
Everything that was started or made is ended and removed by `close`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PROBE = "10.1.1.200"
CONTROL = "169.254.10.20"


class Lab:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.namespace = f"cwt{os.getpid()}"
        self.running: dict[str, subprocess.Popen] = {}
        self.run("ip", "netns", "add", self.namespace, inside=False)
        try:
            self.run("ip", "link", "set", "lo", "up")
            # with MACs of their own: else they take that of the lowest tap, and change it as machines come and go
            for bridge, mac, address in (
                ("guests", "02:00:00:99:00:01", f"{PROBE}/24"),
                ("control", "02:00:00:99:00:02", "169.254.0.1/16"),
            ):
                self.run("ip", "link", "add", "name", bridge, "address", mac, "type", "bridge", "forward_delay", "0")
                self.run("ip", "address", "add", address, "dev", bridge)
                self.run("ip", "link", "set", bridge, "up")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        subprocess.run(["ip", "netns", "del", self.namespace], check=False)

    def run(self, *argv: str, inside: bool = True, check: bool = True, timeout: float = 60) -> str:
        """Output of a command, in the namespace or not."""
        where = ["ip", "netns", "exec", self.namespace] if inside else []
        done = subprocess.run([*where, *argv], capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(argv)}: status {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def status(self, *argv: str, timeout: float = 60) -> int:
        where = ["ip", "netns", "exec", self.namespace]
        return subprocess.run([*where, *argv], capture_output=True, timeout=timeout, check=False).returncode

    def start(self, name: str, image: Path, memory: int, nics: list[tuple[str, str]], *arguments: str) -> None:
        """Boot a machine from a copy of an image; nics are (bridge, MAC)."""
        disk = self.folder / f"{name}.qcow2"
        backing = ("-b", str(image), "-F", "qcow2")
        self.run("qemu-img", "create", "-q", "-f", "qcow2", *backing, str(disk), inside=False)
        words = ["-drive", f"file={disk},if=virtio,format=qcow2,cache=unsafe"]
        for n, (bridge, mac) in enumerate(nics):
            tap = f"{name}.{n}"
            self.run("ip", "tuntap", "add", tap, "mode", "tap")
            self.run("ip", "link", "set", tap, "master", bridge, "up")
            words += ["-netdev", f"tap,id=n{n},ifname={tap},script=no,downscript=no"]
            words += ["-device", f"virtio-net-pci,netdev=n{n},mac={mac},romfile="]
        self.running[name] = subprocess.Popen(
            [
                # it ends with the test run, even one that is killed
                *("nsenter", f"--net=/run/netns/{self.namespace}", "setpriv", "--pdeathsig", "KILL"),
                *("qemu-system-x86_64", "-name", name, "-M", "q35"),
                *("-accel", "tcg,thread=multi", "-cpu", "qemu64", "-m", str(memory), "-nodefaults", "-no-user-config"),
                *("-display", "none", "-device", "virtio-rng-pci", "-serial", f"file:{self.console_file(name)}"),
                *("-monitor", f"unix:{self.folder / name}.monitor,server=on,wait=off"),
                *words,
                *arguments,
            ],
            stdin=subprocess.DEVNULL,
            stdout=(self.folder / f"{name}.out").open("w"),
            stderr=subprocess.STDOUT,
        )

    def start_router(self, name: str, image: Path, guest_mac: str, control_mac: str) -> Path:
        """Boot a router; path of its agent's socket."""
        port = self.folder / f"{name}.agent"
        words = f"cloudwright:type=dhcpsrvr name={name} eth1ip={CONTROL} eth1mask=255.255.0.0"
        self.start(
            *(name, image, 256, [("guests", guest_mac), ("control", control_mac)]),
            *("-smbios", f"type=11,value={words}", "-device", "virtio-serial"),
            *("-chardev", f"socket,id=agent,path={port},server=on,wait=off"),
            *("-device", "virtserialport,chardev=agent,name=cloudwright.agent.0"),
        )
        return port

    def press_power(self, name: str) -> None:
        """The ACPI power button."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(3)
            link.connect(f"{self.folder / name}.monitor")
            said = b""
            while not said.endswith(b"(qemu) "):
                said += link.recv(4096)
            link.sendall(b"system_powerdown\n")
            try:
                while link.recv(4096):  # closing early would take the command back
                    pass
            except TimeoutError:
                pass

    def console_file(self, name: str) -> Path:
        return self.folder / f"{name}.console"

    def console(self, name: str) -> str:
        file = self.console_file(name)
        return file.read_text(errors="replace") if file.exists() else ""

    def wait_console(self, name: str, text: str, seconds: float = 120) -> None:
        def there() -> bool:
            if self.running[name].poll() is not None:
                said = (self.folder / f"{name}.out").read_text()
                raise AssertionError(f"{name} ended: {said}{self.console(name)}")
            return text in self.console(name)

        try:
            wait_for(there, seconds, f"{text!r} on the console of {name}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it says:\n{self.console(name)}") from None


def wait_for(there: Callable[[], bool], seconds: float, what: str) -> None:
    until = time.monotonic() + seconds
    while not there():
        if time.monotonic() > until:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.1)
