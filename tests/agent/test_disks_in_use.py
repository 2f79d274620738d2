"""Files that machines of a host have open: they are not deleted, and the host tells which of two a machine has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import libvirt
import pytest

from mgmt_server.agent import config
from mgmt_server.agent.commands import Host
from mgmt_server.agent.disks import Disks
from mgmt_server.agent.guests import Guests
from mgmt_server.agent.storage import Storage
from mgmt_server.agent.virt import Virt
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.protocol.codec import plain
from mgmt_server.protocol.machine import Disk, Pool

MIRROR = "<mirror type='file' job='copy' ready='yes'><format type='qcow2'/><source file='{}'/></mirror>"
DISK = "<disk type='file' device='disk'><source file='{}'/>{}<target dev='vda' bus='virtio'/></disk>"
DRIVE = "<disk type='file' device='cdrom'><source file='{}'/><target dev='hdc' bus='ide'/><readonly/></disk>"
DOMAIN = (
    "<domain type='test'><name>{}</name><uuid>{}</uuid><memory>1024</memory><os><type>hvm</type></os>"
    "<devices>{}</devices></domain>"
)


@pytest.fixture()
def storage(tmp_path: Path) -> Storage:
    nowhere = tmp_path / "x"
    settings = config.Config(("m:8250",), "me", "h", nowhere, nowhere, nowhere, state=tmp_path / "state", nfs="libnfs")
    return Storage(settings)


@pytest.fixture()
def disk(storage: Storage, tmp_path: Path) -> Disk:
    pool = Pool(str(uuid4()), "Filesystem", str(tmp_path / "pool"))
    storage.add_pool(pool)
    disk = Disk("data", pool, 1 << 20)
    storage.create_disk(disk)
    return disk


@pytest.fixture()
def there(storage: Storage, disk: Disk, tmp_path: Path) -> Disk:
    """Where the disk may be moved to."""
    pool = Pool(str(uuid4()), "Filesystem", str(tmp_path / "other"))
    storage.add_pool(pool)
    return replace(disk, pool=pool)


def guests(storage: Storage, virt: Any) -> Disks:
    return Disks(storage, Guests(virt, storage, None))  # type: ignore[arg-type]


@pytest.fixture()
def virt() -> Iterator[Virt]:
    virt = Virt("test:///default")
    yield virt
    for domain in virt.connection().listAllDomains():
        if domain.name().startswith("i-"):
            virt.stop(domain.name(), forced=True, grace=1)
            domain.undefine()


@pytest.mark.parametrize("element", [DISK, DRIVE])
def test_a_file_that_a_running_machine_has_open_is_not_deleted(
    storage: Storage, disk: Disk, virt: Virt, element: str
) -> None:
    disks, path = guests(storage, virt), storage.where(disk)
    name, uuid = f"i-{uuid4().hex[:6]}", str(uuid4())
    other = replace(disk, name="other")
    storage.create_disk(other)
    virt.start(name, uuid, DOMAIN.format(name, uuid, element.format(path, "")))
    with pytest.raises(Failed, match=f"{name} runs with the disk data of the pool {disk.pool.uuid}: it is not deleted"):
        disks.delete(disk)
    assert Path(path).exists()
    disks.delete(other)
    assert not Path(storage.where(other)).exists()
    virt.stop(name, forced=True, grace=1)
    for _ in range(2):
        disks.delete(disk)
    assert not Path(path).exists()


def test_the_agents_own_command_looks_first(tmp_path: Path, storage: Storage, disk: Disk, virt: Virt) -> None:
    name, uuid = f"i-{uuid4().hex[:6]}", str(uuid4())
    virt.start(name, uuid, DOMAIN.format(name, uuid, DISK.format(storage.where(disk), "")))
    host = SimpleNamespace(storage=storage, disks=guests(storage, virt), saving=None)
    commands = Host._of_storage(host)  # type: ignore[arg-type]
    with pytest.raises(Failed, match=f"{name} runs with"):
        commands["delete_disk"].run({"disk": plain(disk)})
    body = {"source": plain(disk), "target": plain(replace(disk, name="x")), "machine": name}
    move, settle = commands["move_disk"], commands["settle_disk"]
    assert settle.run(body) is False and settle.changes
    assert settle.lane is not None and move.lane is not None
    assert settle.lane(body) == move.lane(body), "it waits for a move that is under way"


def test_a_host_that_cannot_look_deletes_nothing(storage: Storage, disk: Disk) -> None:
    with pytest.raises(Unavailable):
        guests(storage, Virt("qemu+unix:///system?socket=/nowhere")).delete(disk)
    assert Path(storage.where(disk)).exists()


class Domain:
    """As libvirt has it. `after`: what it runs with once its copy has been ended."""

    def __init__(self, disk: str, after: str = "", active: bool = True) -> None:
        self.disk, self.after, self.active, self.ended = disk, after, active, 0

    def name(self) -> str:
        return "i-2-3-VM"

    def isActive(self) -> bool:  # noqa: N802  libvirt's name
        return self.active

    def XMLDesc(self, flags: int = 0) -> str:  # noqa: N802
        return DOMAIN.format("i-2-3-VM", uuid4(), self.disk)

    def blockJobAbort(self, device: str, flags: int) -> None:  # noqa: N802
        assert (device, flags) == ("vda", 0)
        self.disk, self.ended = self.after, self.ended + 1


def virt_with(domain: Domain | None) -> Any:
    connection = SimpleNamespace(listAllDomains=lambda flags: [domain])
    return SimpleNamespace(free=lambda name: domain, connection=lambda: connection)


@pytest.mark.parametrize("active", [True, False])
def test_a_host_tells_which_of_two_files_a_machine_has(storage: Storage, disk: Disk, there: Disk, active: bool) -> None:
    for file, told in ((disk, False), (there, True)):
        domain = Domain(DISK.format(storage.where(file), ""), active=active)
        assert guests(storage, virt_with(domain)).settle(disk, there, "i-2-3-VM") is told
        assert not domain.ended


def test_a_copy_that_nobody_waits_for_ends(storage: Storage, disk: Disk, there: Disk) -> None:
    copied = DISK.format(storage.where(disk), MIRROR.format(storage.where(there)))
    # the second was about to go over when it was ended
    for after, told in ((disk, False), (there, True)):
        domain = Domain(copied, DISK.format(storage.where(after), ""))
        disks = guests(storage, virt_with(domain))
        with pytest.raises(Failed, match="i-2-3-VM runs with"):
            disks.delete(there)
        assert disks.settle(disk, there, "i-2-3-VM") is told and domain.ended == 1


class Slow(Domain):
    """It goes over to the copy, if it does, no sooner than it is told to stay."""

    def blockInfo(self, device: str) -> list[int]:  # noqa: N802
        return [1 << 20, 0, 0]

    def blockCopy(self, device: str, copy: str, parameters: dict[str, Any], flags: int) -> None:  # noqa: N802
        self.before, self.disk = self.disk, self.disk.replace("<target", MIRROR.format("/copy") + "<target")

    def blockJobInfo(self, device: str, flags: int) -> dict[str, int]:  # noqa: N802
        return {"cur": 1, "end": 1}

    def blockJobAbort(self, device: str, flags: int) -> None:  # noqa: N802
        if not flags & libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT:
            self.disk = self.after or self.before


@pytest.mark.parametrize("goes", [True, False])
def test_a_copy_that_a_machine_goes_over_to_at_the_last_moment_stays(
    storage: Storage, disk: Disk, there: Disk, monkeypatch: pytest.MonkeyPatch, goes: bool
) -> None:
    monkeypatch.setattr("mgmt_server.agent.disks._wait", lambda seconds, condition: condition())
    domain = Slow(DISK.format(storage.where(disk), ""), DISK.format(storage.where(there), "") if goes else "")
    disks = guests(storage, virt_with(domain))
    with pytest.raises(Failed, match="did not go over to the copy of its disk data"):
        disks.move(disk, there, "i-2-3-VM")
    assert disks.settle(disk, there, "i-2-3-VM") is goes
    assert (Path(storage.where(there)).exists(), Path(storage.where(disk)).exists()) == (goes, True)


def test_a_host_that_knows_nothing_of_a_machine_does_not_guess(storage: Storage, disk: Disk, there: Disk) -> None:
    with pytest.raises(Failed, match="does not know i-2-3-VM"):
        guests(storage, virt_with(None)).settle(disk, there, "i-2-3-VM")
    with pytest.raises(Failed, match="does not have the disk data"):
        guests(storage, virt_with(Domain(DRIVE.format("/x")))).settle(disk, there, "i-2-3-VM")
