"""What the agent makes of its host: machines, disks and images, bridges' names, acceleration, configuration."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import libvirt
import pytest
from conftest import eventually

from mgmt_server.agent import accelerator, config, images, migration, network, places
from mgmt_server.agent.storage import Storage
from mgmt_server.agent.virt import Virt
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.protocol.machine import Disk, Image, Pool, Store

# --- libvirt's own test driver ----------------------------------------------------------------------------------------

TEST_XML = "<domain type='test'><name>{}</name><uuid>{}</uuid><memory>1024</memory><os><type>hvm</type></os></domain>"


def test_start_stop_forget_are_idempotent(monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[str] = []
    virt = Virt("test:///default", changes.append)
    monkeypatch.setattr("mgmt_server.agent.virt.undefine", lambda domain: domain.undefine())
    name, uuid = f"i-{uuid4().hex[:6]}", str(uuid4())
    xml = TEST_XML.format(name, uuid)
    assert virt.start(name, uuid, xml).state == "Running"
    assert virt.start(name, uuid, xml).state == "Running"
    with pytest.raises(Failed, match="another machine named"):
        virt.start(name, str(uuid4()), xml)
    with pytest.raises(Failed, match="must be stopped"):
        virt.forget(name)
    assert name in [m.name for m in virt.machines()]
    for _ in range(2):
        virt.stop(name, forced=False, grace=5)
    assert virt.state(name).state == "Stopped"
    assert virt.start(name, uuid, xml).state == "Running"
    for _ in range(2):
        virt.stop(name, forced=True, grace=5)
    for _ in range(2):
        virt.forget(name)
    assert name not in [m.name for m in virt.machines()]
    with pytest.raises(Failed, match="does not run"):
        virt.reboot(name)
    eventually(lambda: name in changes)


def test_what_a_host_has_of_a_machine_under_its_former_name_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after it was given to another account while its definition on this host could wait."""
    virt = Virt("test:///default")
    monkeypatch.setattr("mgmt_server.agent.virt.undefine", lambda domain: domain.undefine())
    former, name, uuid = f"i-2-{uuid4().hex[:6]}", f"i-3-{uuid4().hex[:6]}", str(uuid4())
    virt.start(former, uuid, TEST_XML.format(former, uuid))
    with pytest.raises(Failed, match=f"runs on this host as {former}"):
        virt.start(name, uuid, TEST_XML.format(name, uuid))
    virt.stop(former, forced=True, grace=5)
    assert virt.start(name, uuid, TEST_XML.format(name, uuid)).state == "Running"
    assert virt.find(former) is None
    virt.stop(name, forced=True, grace=5)
    virt.define(former, uuid, TEST_XML.format(former, uuid))
    assert virt.find(name) is None and virt.state(former).state == "Stopped"
    virt.forget(former)


def test_a_failed_start_leaves_no_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    virt = Virt("test:///default")
    monkeypatch.setattr("mgmt_server.agent.virt.undefine", lambda domain: domain.undefine())
    name, uuid = f"i-{uuid4().hex[:6]}", str(uuid4())

    def refuse(self: object) -> None:
        raise libvirt.libvirtError("no such network")

    monkeypatch.setattr(libvirt.virDomain, "create", refuse)
    with pytest.raises(Failed, match="no such network"):
        virt.start(name, uuid, TEST_XML.format(name, uuid))
    assert virt.find(name) is None


def test_a_machine_that_ends_while_its_start_looks_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """As libvirt ends, soon after its own death, what it was starting then."""
    virt = Virt("test:///default")
    name, uuid = f"i-{uuid4().hex[:6]}", str(uuid4())
    xml = TEST_XML.format(name, uuid)
    virt.start(name, uuid, xml)
    ended: list[str] = []

    def look(domain: libvirt.virDomain) -> bool:
        domain.destroy()
        ended.append(domain.name())
        return False

    monkeypatch.setattr("mgmt_server.agent.virt._half_started", look)
    assert virt.start(name, uuid, xml).state == "Running"
    assert ended == [name]
    assert virt.state(name).state == "Running"
    virt.stop(name, forced=True, grace=5)


def test_libvirt_away() -> None:
    with pytest.raises(Unavailable, match="systemctl status libvirtd"):
        Virt("qemu+unix:///system?socket=/nowhere").machines()


# --- images and disks -------------------------------------------------------------------------------------------------


def qemu_img(*words: object) -> None:
    subprocess.run(["qemu-img", *map(str, words)], check=True, capture_output=True)


@pytest.fixture()
def settings(tmp_path: Path) -> config.Config:
    nowhere = tmp_path / "x"
    return config.Config(("m:8250",), "u", "h", nowhere, nowhere, nowhere, state=tmp_path / "state", nfs="libnfs")


@pytest.fixture()
def pool(tmp_path: Path) -> Pool:
    return Pool(str(uuid4()), "Filesystem", str(tmp_path / "pool"))


@pytest.fixture()
def storage(settings: config.Config, pool: Pool) -> Storage:
    storage = Storage(settings)
    storage.add_pool(pool)
    return storage


def image_of(path: Path, format: str = "QCOW2", **more: object) -> Image:
    values = {"size": path.stat().st_size, "virtual_size": 1 << 20} | more
    return Image(str(uuid4()), Store(f"file://{path.parent}"), path.name, format, **values)


@pytest.fixture()
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.qcow2"
    qemu_img("create", "-f", "qcow2", path, "1M")
    return path


def test_template_and_its_clone(storage: Storage, pool: Pool, good: Path) -> None:
    image = image_of(good)
    name = storage.cache_template(pool, image)
    assert name == f"template-{image.uuid}.qcow2"
    good.unlink()
    assert storage.cache_template(pool, image) == name  # it is there already
    disk = Disk("root", pool, 2 << 20, backing=name)
    assert storage.create_disk(disk) == storage.create_disk(disk) > 0
    said = subprocess.run(["qemu-img", "info", f"{pool.path}/root"], capture_output=True, text=True, check=True).stdout
    assert f"backing file: {name}" in said and "backing file format: qcow2" in said and "2 MiB" in said
    with pytest.raises(Failed, match="smaller than its template"):
        storage.create_disk(Disk("small", pool, 1 << 19, backing=name))
    with pytest.raises(Failed, match="is not in the pool"):
        storage.create_disk(Disk("other", pool, 2 << 20, backing="template-none.qcow2"))
    for _ in range(2):
        storage.delete_disk(disk)
    assert [p.name for p in Path(pool.path).iterdir()] == [name]


def bad_images(folder: Path) -> dict[str, tuple[Path, str]]:
    secret, found = folder / "secret", {}
    secret.write_bytes(b"root:x" * 1000)
    qemu_img("create", "-f", "qcow2", "-b", secret, "-F", "raw", folder / "backing.qcow2")
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={folder / 'data'},data_file_raw=on", folder / "df.qcow2", "1M")
    qemu_img("create", "-f", "vmdk", folder / "v.vmdk", "1M")
    qemu_img("create", "-f", "qcow2", folder / "plain.qcow2", "1M")
    (folder / "cut.qcow2").write_bytes((folder / "plain.qcow2").read_bytes()[:40])
    for name, format in (
        ("backing.qcow2", "QCOW2"),
        ("df.qcow2", "QCOW2"),
        ("v.vmdk", "QCOW2"),
        ("v.vmdk", "VHD"),
        ("plain.qcow2", "OVA"),
        ("secret", "QCOW2"),
        ("plain.qcow2", "RAW"),
        ("plain.qcow2", "ISO"),
        ("cut.qcow2", "QCOW2"),
    ):
        found[f"{name} as {format}"] = (folder / name, format)
    return found


def test_bad_images_are_refused_and_leave_nothing(storage: Storage, pool: Pool, tmp_path: Path) -> None:
    for what, (path, format) in bad_images(tmp_path).items():
        with pytest.raises(Failed):
            print(what, storage.cache_template(pool, image_of(path, format)))
    assert list(Path(pool.path).iterdir()) == []


def test_image_must_be_as_registered(storage: Storage, pool: Pool, good: Path, tmp_path: Path) -> None:
    with pytest.raises(Failed, match="was registered with 7"):
        storage.cache_template(pool, image_of(good, size=7))
    with pytest.raises(Failed, match="virtual size"):
        storage.cache_template(pool, image_of(good, virtual_size=4096))
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "link").symlink_to("/etc/passwd")
    with pytest.raises(Failed, match="leads out of its store"):
        storage.cache_template(pool, Image(str(uuid4()), Store(f"file://{tmp_path}/store"), "link", "RAW", 0, 0))
    with pytest.raises(Failed, match="no absolute path"):
        storage.cache_template(pool, Image(str(uuid4()), Store(f"file://{tmp_path}"), "../../x", "RAW", 0, 0))
    with pytest.raises(Failed, match="cannot fetch from ftp"):
        storage.cache_template(pool, Image(str(uuid4()), Store("ftp://h/x"), "x", "RAW", 0, 0))


@pytest.mark.parametrize("name", ["../x", "a/b", "", "-o", ".hidden", "a;b", "a\nb", "$(id)", "x" * 300])
def test_names_cannot_leave_the_pool(storage: Storage, pool: Pool, name: str) -> None:
    with pytest.raises(Failed, match="is no name for a disk"):
        storage.create_disk(Disk(name, pool, 1 << 20))
    with pytest.raises(Failed, match="is no name for a disk"):
        storage.delete_disk(Disk(name, pool, 1 << 20))


def test_pools_are_remembered(settings: config.Config, pool: Pool) -> None:
    used, there = Storage(settings).add_pool(pool)
    assert 0 < used < there
    assert list(Storage(settings).spaces()) == [pool.uuid]
    Storage(settings).remove_pool(pool)
    assert Storage(settings).spaces() == {}
    with pytest.raises(Failed, match="cannot use pools of type RBD"):
        Storage(settings).add_pool(replace(pool, type="RBD"))


@pytest.mark.parametrize("host", ["-o", "a b", "", "$(id)", "h/../x"])
def test_hosts_of_exports(settings: config.Config, host: str) -> None:
    with pytest.raises(Failed, match="no host name"):
        places.pool_place(settings, Pool("p", "NetworkFilesystem", "/x", host))


def test_export_that_is_away(settings: config.Config) -> None:
    with pytest.raises(Unavailable, match="nfs://127.0.0.1/none cannot be reached"):
        Storage(settings).add_pool(Pool("p", "NetworkFilesystem", "/none", "127.0.0.1"))


# --- bridges, acceleration, configuration -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "meaning"),
    [("", ("vlan", 0)), ("vlan://untagged", ("vlan", 0)), ("vlan://7", ("vlan", 7)), ("vxlan://5001", ("vxlan", 5001))],
)
def test_broadcast(uri: str, meaning: tuple[str, int]) -> None:
    assert network.parse_broadcast(uri) == meaning


@pytest.mark.parametrize(
    "uri", ["vlan://0", "vlan://4095", "vxlan://0", "vxlan://16777216", "lswitch:x", "vlan://1;ls"]
)
def test_bad_broadcast(uri: str) -> None:
    with pytest.raises(Failed, match="neither"):
        network.parse_broadcast(uri)


def test_names_of_links_fit() -> None:
    names = {network._short(d, "-4094", "br") for d in ("eth0", "enp101s0f0np0", "enp101s0f1np1")}
    assert len(names) == 3 and all(len(n) <= 15 for n in names) and "breth0-4094" in names


def test_missing_bridge_says_what_there_is(settings: config.Config) -> None:
    with pytest.raises(Failed, match="has no bridge 'nope' for Guest traffic.*Set the label"):
        network.Network(settings).base_bridge("Guest", "nope")


def test_a_migration_without_a_way_says_where_to_look() -> None:
    target = migration.Ready("127.0.0.1", (), (), "", "")
    with pytest.raises(libvirt.libvirtError) as error:
        libvirt.open("qemu+tls://127.0.0.1:9/system")
    assert "TCP port 16514 of 127.0.0.1" in migration._advice(error.value, target)
    with pytest.raises(libvirt.libvirtError) as error:
        Virt("test:///default").connection().lookupByName("nobody")
    assert migration._advice(error.value, target) == ""


def test_probe_runs_a_guest() -> None:
    assert accelerator.seconds_of_a_guest("tcg", 30) is not None
    assert accelerator.seconds_of_a_guest("nonsense") is None


@pytest.mark.parametrize(
    ("kvm", "tcg", "helps"), [(None, 0.1, False), (0.1, 0.2, True), (4.8, 0.1, False), (0.9, None, True)]
)
def test_kvm_that_is_slower_than_emulation_is_none(
    kvm: float | None, tcg: float | None, helps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerator, "seconds_of_a_guest", {"kvm": kvm, "tcg": tcg}.get)
    assert accelerator.kvm_helps() is helps


def test_choice_is_kept_for_a_boot(settings: config.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probes: list[str] = []
    monkeypatch.setattr(accelerator, "kvm_helps", lambda: probes.append("kvm") or True)
    monkeypatch.setattr(accelerator.Path, "exists", lambda self: True)
    auto = replace(settings, run=tmp_path / "run")
    assert [accelerator.choose(auto, boot) for boot in ("b1", "b1", "b2")] == ["kvm"] * 3
    assert probes == ["kvm", "kvm"]
    assert accelerator.choose(replace(auto, accelerator="qemu"), "b3") == "qemu"


def test_configuration(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    with pytest.raises(config.ConfigError, match="agent enroll"):
        config.load(path)
    base = {"servers": ["m:8250"], "uuid": "u", "name": 'h"1', "certificate": "c", "key": "k", "ca": "a"}
    config.store(path, base | {"bridges": {"Guest": "br1"}})
    config.store(path, {"accelerator": "qemu"})
    found = config.load(path)
    assert (found.name, found.bridges, found.accelerator) == ('h"1', {"Guest": "br1"}, "qemu")
    assert path.stat().st_mode & 0o777 == 0o640
    for wrong, words in (
        ({"accelerator": "xen"}, "may be auto, kvm, qemu"),
        ({"servers": ["m"]}, "HOST:PORT"),
        ({"nonsense": 1}, "is no setting"),
        ({"uuid": ""}, "has no `uuid`"),
    ):
        config.store(path, base | wrong)
        with pytest.raises(config.ConfigError, match=words):
            config.load(path)
        path.unlink()


def test_inspect_tells_formats(good: Path, tmp_path: Path) -> None:
    assert images.inspect(str(good), "QCOW2") == images.Inspected("qcow2", 1 << 20)
    raw = tmp_path / "raw"
    raw.write_bytes(b"\x55" * 4096)
    assert images.inspect(str(raw), "RAW") == images.Inspected("raw", 4096)


# --- what machines use ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "figures",
    [{"cpu.time": 3_000_000_000, "vcpu.maximum": 2, "vcpu.0.time": 9}, {"vcpu.maximum": 4, "vcpu.0.time": 10**9,
     "vcpu.3.time": 2 * 10**9}],
)  # fmt: skip
def test_the_cpu_that_a_machine_uses_is_told_with_and_without_cgroups(
    monkeypatch: pytest.MonkeyPatch, figures: dict[str, int]
) -> None:
    virt, clock = Virt("test:///default"), iter((100.0, 130.0))
    monkeypatch.setattr("mgmt_server.agent.virt.time.monotonic", lambda: next(clock))
    nothing = {name: 0 if name.endswith("time") else value for name, value in figures.items()}
    assert virt._statistics("one", nothing | {"vcpu.current": 2}).cpu_used == 0.0
    assert virt._statistics("one", figures | {"vcpu.current": 2}).cpu_used == 5.0  # 3 s of 30, of two CPUs


# --- many machines ----------------------------------------------------------------------------------------------------


def test_a_report_of_500_machines(tell: Callable[[str], None]) -> None:
    """All states and figures in one go; how long it takes is printed, and held against no clock."""
    virt = Virt("test:///default")
    connection = virt.connection()
    mine = [f"many-{n}" for n in range(500)]
    domains = [connection.defineXML(TEST_XML.format(name, uuid4())) for name in mine]
    for domain in domains:
        domain.create()
    try:
        began = time.monotonic()
        states = {m.name: m.state for m in virt.machines()}
        figures = virt.statistics([])
        first = time.monotonic() - began
        began = time.monotonic()
        virt.machines()
        virt.statistics([])
        again = time.monotonic() - began
        assert all(states[name] == "Running" for name in mine)
        assert set(mine) <= {f.name for f in figures}
        tell(f"500 machines reported in {first:.2f} s, then {again:.2f} s")
    finally:
        for domain in domains:
            domain.destroy()
            domain.undefine()
