"""OVAs with several disks, made with qemu-img."""

from __future__ import annotations

import io
import subprocess
import tarfile

NAMES = 'xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"'
NICS = ((8, "Network adapter 1", "front"), (9, "Network adapter 2", "back"))


def vmdk(folder, size):
    file = folder / f"{size}.vmdk"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=streamOptimized", file, str(size)], check=True
    )
    return file.read_bytes()


def item(number, kind, **fields):
    inner = "".join(f"<rasd:{name}>{value}</rasd:{name}>" for name, value in fields.items())
    return (
        f"<Item><rasd:InstanceID>{number}</rasd:InstanceID><rasd:ResourceType>{kind}</rasd:ResourceType>{inner}</Item>"
    )


def ovf(sizes, nics=NICS, blank=()):
    """A description: disks of so many MiB, those of `blank` (numbers) without a file, and NICs.

    Its items of disks stand in the order of the machine, the disks themselves in the opposite one.
    """
    files = "".join(f'<File ovf:id="f{n}" ovf:href="d{n}.vmdk"/>' for n in range(len(sizes)) if n not in blank)
    disks = "".join(
        f'<Disk ovf:diskId="v{n}" ovf:capacity="{sizes[n]}" ovf:capacityAllocationUnits="byte * 2^20"'
        + ("/>" if n in blank else f' ovf:fileRef="f{n}"/>')
        for n in reversed(range(len(sizes)))
    )
    places = "".join(
        item(20 + n, 17, Parent=3, AddressOnParent=n, ElementName=f"disk {n}", HostResource=f"ovf:/disk/v{n}")
        for n in range(len(sizes))
    )
    cards = "".join(item(n, 10, ElementName=name, Connection=network) for n, name, network in nics)
    hardware = f"<VirtualHardwareSection>{item(3, 6)}{places}{cards}</VirtualHardwareSection>"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><Envelope {NAMES} xmlns:rasd="http://rasd.example">'
        f"<References>{files}</References><DiskSection>{disks}</DiskSection>"
        f'<VirtualSystem ovf:id="m">{hardware}</VirtualSystem></Envelope>'
    )


def ova(description, disks):
    """The archive: `disks` by their numbers, their contents."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in (("m.ovf", description.encode()), *((f"d{n}.vmdk", c) for n, c in disks.items())):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()
