"""A machine of the lab's cloud: what the cloud says of it, and what its guest does."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from typing import Any

from tests.e2e.conftest import Lab, wait
from tests.server import Client

STORE = "http://10.91.0.13"
PAGE = "#!/bin/sh\necho '{}' > /www/index.html\n"
# a BIOS starts a disc as if it were a disk where that has one partition alone, whose end tells its geometry
BOOTABLE = r"""mkdir -p boot.d && qemu-img convert -O raw tiny-guest.qcow2 boot.d/disk.img &&
printf '\376\377\377' | dd of=boot.d/disk.img bs=1 seek=451 conv=notrunc 2>/dev/null &&
dd if=/dev/zero of=boot.d/disk.img bs=1 seek=462 count=16 conv=notrunc 2>/dev/null &&
genisoimage -quiet -b disk.img -hard-disk-boot -c catalog -o boot.iso boot.d"""


def coded(page: str) -> str:
    """User data of a guest that is to answer with this page."""
    return base64.b64encode(PAGE.format(page).encode()).decode()


def parts(lab: Lab, client: Client, offering: str) -> dict[str, str]:
    """Ids of what a guest is made of. Disks of the offering tiny lie on hosts, of tiny-ha where both hosts see them."""
    return {
        "zoneid": lab.guest()["zoneid"],
        "networkids": client.ask("listNetworks", keyword="guests")["network"][0]["id"],
        "templateid": client.ask("listTemplates", templatefilter="all", name="tiny")["template"][0]["id"],
        "serviceofferingid": client.ask("listServiceOfferings", name=offering)["serviceoffering"][0]["id"],
        "keypair": "lab-guest",
    }


def hosts(lab: Lab, client: Client) -> tuple[dict[str, Any], dict[str, Any]]:
    """The host on which the lab's first guest is not, and the one on which it is."""
    first = lab.guest()["hostid"]
    found = client.ask("listHosts", type="Routing")["host"]
    return next(h for h in found if h["id"] != first), next(h for h in found if h["id"] == first)


def short(host: dict[str, Any]) -> str:
    """What the lab calls a host."""
    return str(host["name"]).split(".")[0]


@contextlib.contextmanager
def deployed(lab: Lab, client: Client, name: str, **sent: Any) -> Iterator[Machine]:
    """A machine whose guest is up, expunged in the end."""
    accepted = client.ask("deployVirtualMachine", name=name, **sent)
    machine = Machine(lab, client, accepted["id"])
    try:
        client.wait(accepted["jobid"], seconds=400)
        machine.comes(1)
        yield machine
    finally:
        client.job("destroyVirtualMachine", id=machine.id, expunge="true", seconds=300)


class Machine:
    """A machine as the cloud lists it, and as its guest sees it."""

    def __init__(self, lab: Lab, client: Client, id: str) -> None:
        self.lab, self.client, self.id = lab, client, id
        self.key = str(lab.folder / "guest_key")
        self.password = ""

    @property
    def now(self) -> dict:
        return self.client.ask("listVirtualMachines", id=self.id)["virtualmachine"][0]

    @property
    def address(self) -> str:
        return self.now["ipaddress"]

    @property
    def host(self) -> str:
        return self.now["hostname"].split(".")[0]

    @property
    def root(self) -> dict:
        return self.client.ask("listVolumes", virtualmachineid=self.id, type="ROOT")["volume"][0]

    def does(self, command: str) -> str:
        return self.lab.login(self.address, command, key=self.key).strip()

    def sees(self, seconds: float = 90) -> dict:
        """What its guest says of itself, once it answers."""
        return wait(self._status, seconds)

    def _status(self) -> dict:
        return json.loads(self.lab.page(self.address, "/cgi-bin/status"))

    def comes(self, boots: int) -> None:
        """Wait until it has booted so many times and is done with that."""
        wait(lambda: self._status()["boots"] == boots and self.lab.page(self.address).strip(), 240)
        wait(lambda: self.does("grep -c READY /run/rc.log") == "1", 120)

    def disk(self, serial: str) -> dict | None:
        """A disk of a volume, by what the cloud calls it."""
        wanted = serial.replace("-", "")[:20]
        return next((d for d in self.sees()["disks"] if d["serial"] == wanted), None)

    def events(self, type: str) -> list[str]:
        """Texts of its events of a type, the youngest first."""
        found = self.client.ask("listEvents", resourceid=self.id, type=type, listall="true")
        return [e["description"] for e in found.get("event", [])]

    def on(self, host: dict[str, Any]) -> bool:
        """Whether a host has it as a domain, running or not."""
        return self.now["instancename"] in self.lab.on(short(host), "virsh -q list --all --name").split()
