"""ISOs that hosts fetch from their URLs: kept in the pools of the machines that use them, for all machines there."""

import subprocess
from contextlib import contextmanager

import pytest
from sqlalchemy import select

from mgmt_server.db import reading, write
from mgmt_server.drivers.storage.simulator import SimulatedStorage
from mgmt_server.model.simulator import SimulatedDisk, SimulatedMachine
from mgmt_server.model.storage import Pool, TemplateOnPool, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.zone import Zone
from mgmt_server.resources.template import caches
from mgmt_server.resources.template.stored import image_in
from tests.api.test_iso import machine, register, zone  # noqa: F401
from tests.api.test_migrate import disk_of, local_offering, local_pools, second_pool
from tests.api.test_template_download import Pages, sent, store, web  # noqa: F401
from tests.certificates import authority, web_server
from tests.cloud import Refused
from tests.counts import used as used_of
from tests.crash.invariants import broken


def direct(cloud, zone, name="disc"):  # noqa: F811
    return register(cloud, zone, name=name, directdownload=True)


def drive_of(vm):
    """What its host holds in the drive: pool/name."""
    with reading() as session:
        return session.scalar(select(SimulatedMachine.iso).where(SimulatedMachine.name == vm["instancename"]))


def kept():
    """Pool and size of each ISO in a pool, as the cloud knows it and as it is there."""
    with reading() as session:
        rows = select(Pool.uuid, TemplateOnPool.name).join(TemplateOnPool, TemplateOnPool.pool_id == Pool.id)
        rows = rows.join(Template, Template.id == TemplateOnPool.template_id).where(Template.format == "ISO")
        known = sorted(map(tuple, session.execute(rows)))
        for pool, name in known:
            there = select(SimulatedDisk.id).where(SimulatedDisk.pool == pool, SimulatedDisk.name == name)
            assert session.scalar(there) is not None
        return known


@contextmanager
def fetches():
    """What hosts are asked to fetch meanwhile."""
    found, real = [], SimulatedStorage.cache_template

    def watched(self, call, host, pool, image):
        found.append((host.uuid, pool.uuid, image.format))
        return real(self, call, host, pool, image)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SimulatedStorage, "cache_template", watched)
        yield found


def test_a_running_machines_host_fetches_it_once_for_all_and_it_goes_when_it_is_deleted(cloud, zone):  # noqa: F811
    iso = direct(cloud, zone)
    assert (iso["directdownload"], iso["isready"], iso["status"]) == (True, True, "Successfully Installed")
    first, second = machine(cloud, zone), machine(cloud, zone)
    with fetches() as fetched:
        seen = cloud.job("attachIso", id=iso["id"], virtualmachineid=first["id"])["virtualmachine"]
        cloud.job("attachIso", id=iso["id"], virtualmachineid=second["id"])
    assert (seen["isoid"], seen["isoname"]) == (iso["id"], "disc")
    assert fetched == [(first["hostid"], zone["pool"], "ISO")]
    ((pool, name),) = kept()
    assert pool == zone["pool"] and drive_of(first) == drive_of(second) == f"{pool}/{name}"
    with pytest.raises(Refused, match="detachIso first"):
        cloud.ask("deleteIso", id=iso["id"])
    for vm in (first, second):
        cloud.job("detachIso", virtualmachineid=vm["id"])
        assert drive_of(vm) == ""
    assert broken() == []
    cloud.job("deleteIso", id=iso["id"])
    with reading() as session:
        (left,) = caches.unused(session)
    write(caches.start_dropping, *left)
    cloud.work()
    assert kept() == [] and broken() == []
    with reading() as session:
        assert session.scalar(select(SimulatedDisk.id).where(SimulatedDisk.name == name)) is None


def test_machines_start_with_it_and_from_it(cloud, zone):  # noqa: F811
    iso, other = direct(cloud, zone), direct(cloud, zone, name="other")
    vm = machine(cloud, zone)
    cloud.job("stopVirtualMachine", id=vm["id"])
    with fetches() as fetched:
        cloud.job("attachIso", id=iso["id"], virtualmachineid=vm["id"])
        assert fetched == [], "a machine that is stopped is on no host"
        started = cloud.job("startVirtualMachine", id=vm["id"])["virtualmachine"]
        assert drive_of(vm) == "/".join(kept()[0])
        size = {"rootdisksize": 1, "hypervisor": "Simulator"}
        blank = machine(cloud, {**zone, "template": other["id"]}, **size)
    assert fetched == [(started["hostid"], zone["pool"], "ISO"), (blank["hostid"], zone["pool"], "ISO")]
    assert other["id"] in drive_of(blank) and len(kept()) == 2
    root = cloud.ask("listVolumes", virtualmachineid=blank["id"])["volume"][0]
    with reading() as session:
        assert session.scalar(select(SimulatedDisk.backing).where(SimulatedDisk.name == root["id"])) == ""
    assert broken() == []


def test_it_is_fetched_where_a_machine_moves_with_its_disks(cloud, zone):  # noqa: F811
    pools, iso = local_pools(), direct(cloud, zone)
    vm = machine(cloud, zone, serviceofferingid=local_offering(cloud))
    cloud.job("attachIso", id=iso["id"], virtualmachineid=vm["id"])
    assert drive_of(vm).startswith(pools[vm["hostid"]])
    target = next(h for h in pools if h != vm["hostid"])
    cloud.ask("configureSimulator", name="cache_template", value="fail:nothing answers", count=1)
    with pytest.raises(Refused, match="nothing answers"):
        cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], hostid=target)
    stays = cloud.ask("listVirtualMachines", id=vm["id"])["virtualmachine"][0]
    assert (stays["state"], stays["hostid"]) == ("Running", vm["hostid"]) and broken() == []
    for wanted in (target, vm["hostid"]):
        with fetches() as fetched:
            cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], hostid=wanted)
        assert fetched == ([(target, pools[target], "ISO")] if wanted == target else []), "one that has it keeps it"
        assert drive_of(vm).startswith(pools[wanted])
    assert broken() == []


def test_a_machine_on_shared_storage_moves_without_a_second_copy(cloud, zone):  # noqa: F811
    iso, vm = direct(cloud, zone), machine(cloud, zone)
    cloud.job("attachIso", id=iso["id"], virtualmachineid=vm["id"])
    before = drive_of(vm)
    with fetches() as fetched:
        cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], autoselect=True)
    assert fetched == [] and drive_of(vm) == before and len(kept()) == 1


def test_it_stays_where_it_was_until_its_machine_starts_or_moves_with_a_disk_elsewhere(cloud, zone):  # noqa: F811
    iso, vm = direct(cloud, zone), machine(cloud, zone)
    cloud.job("attachIso", id=iso["id"], virtualmachineid=vm["id"])
    root, pool, before = disk_of(vm)[0].uuid, second_pool(zone), drive_of(vm)
    cloud.job("migrateVolume", volumeid=root, storageid=pool, livemigrate=True)
    assert drive_of(vm) == before and disk_of(vm)[1] == pool
    with fetches() as fetched:
        moved = cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], autoselect=True)["virtualmachine"]
    assert fetched == [(moved["hostid"], pool, "ISO")] and drive_of(vm).startswith(pool)
    assert len(kept()) == 2 and broken() == []


def test_a_host_that_cannot_fetch_it_leaves_the_drive_as_it_was(cloud, zone):  # noqa: F811
    iso, vm = direct(cloud, zone), machine(cloud, zone)
    cloud.ask("configureSimulator", name="cache_template", value="fail:the checksum is wrong", count=1)
    with pytest.raises(Refused, match="the checksum is wrong"):
        cloud.job("attachIso", id=iso["id"], virtualmachineid=vm["id"])
    assert drive_of(vm) == "" and kept() == [] and broken() == []
    assert "isoid" not in cloud.ask("listVirtualMachines", id=vm["id"])["virtualmachine"][0]


# --- where hosts are real -----------------------------------------------------------------------------------------


@pytest.fixture
def disc(web, tmp_path):  # noqa: F811
    (tmp_path / "words").write_text("on a disc")
    file = tmp_path / "d.iso"
    subprocess.run(["genisoimage", "-quiet", "-o", str(file), str(tmp_path / "words")], check=True)
    web[0]["/d.iso"] = file.read_bytes()
    return f"{web[1]}/d.iso"


def wanted(sent, url, **more):  # noqa: F811
    return {k: v for k, v in sent.items() if k not in ("format", "hypervisor")} | {"url": url, "name": "disc"} | more


def told(cloud, sent, url, **more):  # noqa: F811
    """Register it and have its URL looked at: how it is listed, and how hosts are told of it."""
    cloud.ask("registerIso", **wanted(sent, url, **more), directdownload=True)
    cloud.work()
    (seen,) = cloud.ask("listIsos", isofilter="self")["iso"]
    with reading() as session:
        zone = session.scalar(select(Zone.id).where(Zone.uuid == sent["zoneid"]))  # noqa: F811
        return seen, image_in(session, session.scalar(select(Template.id).where(Template.uuid == seen["id"])), zone)


def test_its_url_is_looked_at_and_nothing_is_stored(cloud, disc, store, sent):  # noqa: F811
    size, digest = len(Pages.pages["/d.iso"]), "{SHA-256}" + "ab" * 32
    seen, image = told(cloud, sent, disc, checksum=digest)
    assert (seen["isready"], seen["status"], seen["directdownload"]) == (True, "Successfully Installed", True)
    assert seen["size"] == size and "physicalsize" not in seen and list(store.iterdir()) == []
    assert (image.format, image.virtual_size, image.checksum, image.direct.url) == ("ISO", size, digest, disc)
    assert used_of(2) == {"template": 1}
    for command, more in (("extractIso", {"mode": "HTTP_DOWNLOAD"}), ("copyIso", {"destzoneid": sent["zoneid"]})):
        with pytest.raises(Refused, match="on no secondary storage"):
            cloud.ask(command, id=seen["id"], **more)
    cloud.job("deleteIso", id=seen["id"])
    with reading() as session:
        assert session.scalar(select(TemplateOnStore.id)) is None


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"no disc" * 10_000, "its content is raw"), (b"\x1f\x8b" + b"x" * 70_000, "packed"), (None, "answered 404")],
)
def test_what_is_no_disc_is_refused_by_its_beginning(cloud, disc, sent, content, why):  # noqa: F811
    Pages.pages.pop("/d.iso")
    if content is not None:
        Pages.pages["/d.iso"] = content
    seen, image = told(cloud, sent, disc)
    assert seen["isready"] is False and why in seen["status"] and image is None


def test_a_certificate_of_the_zone_is_trusted(cloud, disc, sent, tmp_path):  # noqa: F811
    certificate, key = authority()
    trusted = {"certificate": certificate, "hypervisor": "KVM", "name": "ours", "zoneid": sent["zoneid"]}
    cloud.ask("uploadTemplateDirectDownloadCertificate", **trusted)
    with web_server(Pages, key, tmp_path) as address:
        seen, image = told(cloud, sent, f"{address}/d.iso")
    assert seen["isready"] is True and [a.certificate for a in image.direct.authorities] == [certificate]


def test_an_address_that_hosts_must_not_fetch_is_refused_at_once(cloud, sent):  # noqa: F811
    cloud.ask("updateConfiguration", name="secstorage.allowed.internal.sites", value="")
    with pytest.raises(Refused, match="Illegal host"):
        cloud.ask("registerIso", **wanted(sent, "http://127.0.0.1/d.iso"), directdownload=True)
