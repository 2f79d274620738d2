"""What disks hold: made from snapshots, brought from outside, fetched by links."""

import re

import pytest
from sqlalchemy import select, update

from mgmt_server.db import reading, write
from mgmt_server.drivers.storage import simulator
from mgmt_server.errors import Unavailable
from mgmt_server.model import settings
from mgmt_server.model.event import Event
from mgmt_server.model.simulator import SimulatedFile
from mgmt_server.model.snapshot import Snapshot, SnapshotOnStore
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.transfer import ExtractLink, UploadTicket, VolumeOnStore
from mgmt_server.model.vm import Volume
from mgmt_server.resources.limit import recount
from mgmt_server.resources.transfer import links, tickets
from mgmt_server.resources.transfer import timers as transfer_timers
from mgmt_server.resources.volume import upload
from tests.api import test_volume
from tests.api.test_leftovers import later
from tests.api.test_volume import at, create, deploy, disk, promised, row, shown
from tests.cloud import Refused
from tests.crash.invariants import broken

GIB = 2**30
zone = test_volume.zone


def a_snapshot(volume, zone, chain=2):
    """Rows and files of a snapshot of a disk, incremental: its uuid."""

    def add(tx):
        disk_row = tx.scalar(select(Volume).where(Volume.uuid == volume["id"]))
        store = tx.scalar(select(ImageStore))
        parent = None
        for n in range(chain):
            made = Snapshot(
                name=f"s{n}", state="BackedUp", volume_id=disk_row.id, zone_id=disk_row.zone_id, size=disk_row.size,
                hypervisor="Simulator", account_id=disk_row.account_id, domain_id=disk_row.domain_id,
            )  # fmt: skip
            tx.add(made)
            tx.flush()
            file = SnapshotOnStore(
                snapshot_id=made.id, store_id=store.id, zone_id=disk_row.zone_id, parent_id=parent, state="Ready",
                path=f"snapshots/{n}", size=disk_row.size, physical_size=1,
            )  # fmt: skip
            tx.add(file)
            tx.flush()
            parent = file.id
            simulator.put(tx, store.url, file.path, disk_row.size)
        return made.uuid

    return write(add)


def test_a_disk_made_from_a_snapshot_holds_what_that_holds(cloud, zone):
    source = create(cloud, zone, storageid=zone["pool"])
    snapshot = a_snapshot(source, zone)
    sent = {"name": "again", "snapshotid": snapshot}
    copy = cloud.job("createVolume", **sent)["volume"]
    assert (copy["state"], copy["size"], copy["snapshotid"]) == ("Ready", 5 * GIB, snapshot)
    with reading() as session:
        assert disk(copy)[2] == session.scalar(select(SimulatedFile.content).where(SimulatedFile.name == "snapshots/1"))
    with pytest.raises(Refused, match="less than the 5 GiB"):
        cloud.job("createVolume", **sent, diskofferingid=zone["custom"], size=2)
    vm = deploy(cloud, zone)
    with_machine = cloud.job("createVolume", **sent, virtualmachineid=vm["id"])["volume"]
    assert with_machine["virtualmachineid"] == vm["id"] and row(with_machine).path in at(vm)


def test_a_disk_from_a_snapshot_that_cannot_be_loaded_leaves_nothing(cloud, zone):
    source = create(cloud, zone, storageid=zone["pool"])
    snapshot, before = a_snapshot(source, zone), promised()
    cloud.ask("configureSimulator", zoneid=zone["zone"], name="load_disk", value="fail:no", count=1)
    with pytest.raises(Refused):
        cloud.job("createVolume", name="again", snapshotid=snapshot)
    assert promised() == before and len(cloud.ask("listVolumes")["volume"]) == 1


def recounted():
    """Whether what is counted is what there is."""
    with reading() as session:
        return recount.wrong(session) == ([], [])


def test_an_uploaded_disk_gets_to_its_machine_and_leaves_secondary_storage(cloud, zone):
    sent = {"name": "up", "url": "http://example.org/a.qcow2", "format": "QCOW2", "zoneid": zone["zone"]}
    volume = cloud.job("uploadVolume", **sent)["volume"]
    assert (volume["state"], volume["size"]) == ("Uploaded", GIB)
    with reading() as session:
        path = session.scalar(select(VolumeOnStore.path))
        content = session.scalar(select(SimulatedFile.content).where(SimulatedFile.name == path))
    assert recounted()
    vm = deploy(cloud, zone)
    cloud.job("stopVirtualMachine", id=vm["id"])
    attached = cloud.job("attachVolume", id=volume["id"], virtualmachineid=vm["id"])["volume"]
    assert (attached["state"], attached["virtualmachineid"]) == ("Ready", vm["id"])
    assert disk(volume) == (zone["pool"], GIB, content)
    with reading() as session:
        assert session.scalar(select(SimulatedFile.id).where(SimulatedFile.name == path)) is None
        assert session.scalar(select(VolumeOnStore.id)) is None
    assert recounted()


@pytest.mark.parametrize("running", [True, False])
def test_an_uploaded_disk_is_attached_though_its_store_keeps_the_image_for_now(cloud, zone, monkeypatch, running):
    sent = {"name": "up", "url": "http://example.org/a.qcow2", "format": "QCOW2", "zoneid": zone["zone"]}
    volume = cloud.job("uploadVolume", **sent)["volume"]
    with reading() as session:
        content = session.scalar(select(SimulatedFile.content).where(SimulatedFile.name.like("volumes/%")))

    def kept():
        with reading() as session:
            file = session.scalar(select(SimulatedFile.id).where(SimulatedFile.name.like("volumes/%")))
            return file is not None, session.scalar(select(VolumeOnStore.state))

    def silent(*_):
        raise Unavailable("the store does not answer")

    vm = deploy(cloud, zone)
    if not running:
        cloud.job("stopVirtualMachine", id=vm["id"])
    with monkeypatch.context() as patched:
        patched.setattr(simulator, "remove", silent)
        attached = cloud.job("attachVolume", id=volume["id"], virtualmachineid=vm["id"])["volume"]
        assert (attached["state"], attached["virtualmachineid"]) == ("Ready", vm["id"])
        assert disk(volume) == (zone["pool"], GIB, content)
        later(cloud)
        assert kept() == (True, "Destroying") and recounted(), "it does not answer yet"
    later(cloud)
    assert kept() == (False, None) and recounted()
    assert disk(volume) == (zone["pool"], GIB, content)


def test_an_image_that_a_store_kept_goes_with_its_disk(cloud, zone, monkeypatch):
    sent = {"name": "up", "url": "http://example.org/a.qcow2", "format": "QCOW2", "zoneid": zone["zone"]}
    volume = cloud.job("uploadVolume", **sent)["volume"]

    def silent(*_):
        raise Unavailable("the store does not answer")

    vm = deploy(cloud, zone)
    with monkeypatch.context() as patched:
        patched.setattr(simulator, "remove", silent)
        cloud.job("attachVolume", id=volume["id"], virtualmachineid=vm["id"])
    cloud.job("detachVolume", id=volume["id"])
    cloud.ask("deleteVolume", id=volume["id"])
    cloud.work()
    later(cloud)
    with reading() as session:
        assert session.scalar(select(SimulatedFile.id).where(SimulatedFile.name.like("volumes/%"))) is None
    assert recounted() and broken() == []


@pytest.mark.parametrize("command", ["extractVolume", "createTemplate", "uploadVolume"])
def test_what_was_made_in_vain_goes_later_from_a_store_that_does_not_answer(cloud, zone, monkeypatch, command):
    sent = {
        "extractVolume": {"id": create(cloud, zone, storageid=zone["pool"])["id"], "mode": "HTTP_DOWNLOAD"},
        "createTemplate": {"name": "made", "volumeid": create(cloud, zone, storageid=zone["pool"])["id"]},
        "uploadVolume": {"name": "up", "url": "http://example.org/a.qcow2", "format": "QCOW2"},
    }[command]
    if command == "createTemplate":
        sent |= {"displaytext": "x", "ostypeid": cloud.ask("listOsTypes", page=1, pagesize=1)["ostype"][0]["id"]}
    else:
        sent |= {"zoneid": zone["zone"]}

    def kept():
        with reading() as session:
            return sorted(session.scalars(select(SimulatedFile.name)))

    def silent(*_):
        raise Unavailable("the store does not answer")

    before = kept()
    cloud.ask("updateConfiguration", name="storage.max.volume.size", value="1")
    settings.forget()
    monkeypatch.setattr(upload, "SIMULATED_SIZE", 2 * GIB)
    cloud.ask("configureSimulator", zoneid=zone["zone"], name="save_disk", value="late:true|fail:no", count=1)
    with monkeypatch.context() as patched:
        patched.setattr(simulator, "remove", silent)
        with pytest.raises(Refused):
            cloud.job(command, **sent)
        later(cloud)
        assert len(kept()) == len(before) + 1, "it does not answer yet"
    later(cloud)
    assert kept() == before and recounted()


def test_a_disk_that_was_uploaded_is_deleted_with_its_image(cloud, zone):
    before = promised()
    sent = {"name": "up", "url": "http://example.org/a.qcow2", "format": "QCOW2", "zoneid": zone["zone"]}
    volume = cloud.job("uploadVolume", **sent)["volume"]
    cloud.ask("deleteVolume", id=volume["id"])
    cloud.work()
    assert promised() == before and recounted()
    with reading() as session:
        assert session.scalar(select(SimulatedFile.id).where(SimulatedFile.name.like("volumes/%"))) is None


@pytest.mark.parametrize(
    "sent, told",
    [
        ({"url": "file:///etc/passwd"}, "no http or https URL"),
        ({"format": "EXE"}, "format=EXE is none of"),
        ({"checksum": "xyz"}, "checksum=xyz"),
        ({"diskofferingid": "small"}, "choose one that is customized"),
    ],
)
def test_what_cannot_be_uploaded(cloud, zone, sent, told):
    good = {"name": "up", "url": "http://example.org/a.qcow2", "format": "QCOW2", "zoneid": zone["zone"]}
    with pytest.raises(Refused, match=told):
        cloud.job("uploadVolume", **good | {k: zone.get(v, v) for k, v in sent.items()})


def test_an_image_that_is_refused_is_told_with_its_disk(cloud, zone, monkeypatch):
    from mgmt_server.resources.template.bring import Brought

    def refused(call, order):
        return Brought(error="the image is refused")

    refused.__module__, refused.__qualname__ = upload.bring.__module__, "bring"
    monkeypatch.setattr(upload, "bring", refused)
    sent = {"name": "up", "url": "http://example.org/a.qcow2", "format": "QCOW2", "zoneid": zone["zone"]}
    with pytest.raises(Refused, match="the image is refused"):
        cloud.job("uploadVolume", **sent)
    (volume,) = cloud.ask("listVolumes")["volume"]
    assert (volume["state"], volume["status"]) == ("UploadError", "the image is refused")
    cloud.ask("deleteVolume", id=volume["id"])
    cloud.work()
    assert "volume" not in cloud.ask("listVolumes") and recounted()


def send(parameters, content):
    """What the web server does with a form."""
    coming = tickets.open_ticket(parameters["postURL"].rpartition("/")[2], parameters["signature"])
    coming.file.write_bytes(content)
    return tickets.complete(coming)


def test_a_disk_is_sent_by_a_form(cloud, zone):
    told = cloud.ask("getUploadParamsForVolume", name="form", format="RAW", zoneid=zone["zone"])["getuploadparams"]
    assert shown(cloud, told)["state"] == "NotUploaded"
    assert send(told, b"x" * 1024).error == ""
    assert (shown(cloud, told)["state"], shown(cloud, told)["size"]) == ("Uploaded", 1024) and recounted()
    with reading() as session:
        texts = [e.description for e in session.scalars(select(Event))]
        assert not [t for t in texts if told["signature"] in t]


def test_a_form_that_nobody_sends_is_given_up(cloud, zone):
    told = cloud.ask("getUploadParamsForVolume", name="form", format="RAW", zoneid=zone["zone"])["getuploadparams"]
    write(lambda tx: tx.execute(update(UploadTicket).values(expires=row(told).created.replace(year=2020))))
    transfer_timers.abandon_uploads()
    assert shown(cloud, told)["state"] == "UploadAbandoned"
    cloud.job("destroyVolume", id=told["id"], expunge=True)
    assert cloud.ask("listVolumes", id=told["id"]) == {} and recounted()


def test_a_running_machines_disk_is_fetched_by_a_link_of_its_account(cloud, zone):
    vm = deploy(cloud, zone)
    volume = create(cloud, zone, virtualmachineid=vm["id"])
    told = cloud.job("extractVolume", id=volume["id"], zoneid=zone["zone"], mode="HTTP_DOWNLOAD")["volume"]
    assert (told["id"], told["state"], told["name"]) == (volume["id"], "DOWNLOAD_URL_CREATED", "data")
    token = re.search(r"/userdata/([^/]+)/data\.qcow2$", told["url"])[1]
    with reading() as session:
        link = session.scalar(select(ExtractLink))
        assert (link.uuid, link.account_id) == (told["extractId"], row(volume).account_id) and link.temporary
        kept = session.scalar(select(SimulatedFile).where(SimulatedFile.name == link.path))
        assert kept.content == disk(volume)[2] and token not in link.token_hash
    assert shown(cloud, volume)["state"] == "Ready"
    cloud.job("extractVolume", id=volume["id"], zoneid=zone["zone"], mode="HTTP_DOWNLOAD")
    with reading() as session:
        assert len(session.scalars(select(ExtractLink).where(ExtractLink.removed.is_(None))).all()) == 1
        assert len(session.scalars(select(SimulatedFile).where(SimulatedFile.name.like("volumes/%"))).all()) == 1


@pytest.mark.parametrize("gone", ["deleteVolume", "destroyVolume", "destroyVirtualMachine"])
def test_a_disk_that_is_gone_is_fetched_by_no_link(cloud, zone, gone):
    vm = deploy(cloud, zone)
    volume = create(cloud, zone, storageid=zone["pool"])
    if gone == "destroyVirtualMachine":
        (volume,) = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"]
    told = cloud.job("extractVolume", id=volume["id"], zoneid=zone["zone"], mode="HTTP_DOWNLOAD")["volume"]
    token = told["url"].split("/")[-2]
    with reading() as session:
        assert links.target_of(session, token) is not None
    if gone == "destroyVolume":
        cloud.job("destroyVolume", id=volume["id"])
        with reading() as session:
            assert links.target_of(session, token) is not None, "it can be taken back"
    if gone == "deleteVolume":
        cloud.ask("deleteVolume", id=volume["id"])
        cloud.work()
    else:
        cloud.job(gone, id=volume["id"] if gone == "destroyVolume" else vm["id"], expunge=True)
    with reading() as session:
        assert links.target_of(session, token) is None
    transfer_timers.clean_up()
    with reading() as session:
        assert session.scalar(select(SimulatedFile.id).where(SimulatedFile.name.like("volumes/%"))) is None


def test_who_may_not_fetch_a_disk(cloud, zone):
    cloud.account("ann")
    vm = deploy(cloud, zone, user="ann")
    root = cloud.ask("listVolumes", user="ann", virtualmachineid=vm["id"])["volume"][0]
    sent = {"id": root["id"], "zoneid": zone["zone"], "mode": "HTTP_DOWNLOAD"}
    with pytest.raises(Refused, match="not extractable"):
        cloud.job("extractVolume", user="ann", **sent)
    with pytest.raises(Refused, match="FTP_UPLOAD is not supported"):
        cloud.job("extractVolume", **sent | {"mode": "FTP_UPLOAD"})
    cloud.ask("updateConfiguration", name="disable.extraction", value=True)
    with pytest.raises(Refused, match="switched off"):
        cloud.job("extractVolume", **sent)


def test_an_extraction_that_fails_leaves_disk_and_store_as_they_were(cloud, zone):
    volume = create(cloud, zone, storageid=zone["pool"])
    cloud.ask("configureSimulator", zoneid=zone["zone"], name="save_disk", value="fail:no", count=1)
    with pytest.raises(Refused):
        cloud.job("extractVolume", id=volume["id"], zoneid=zone["zone"], mode="HTTP_DOWNLOAD")
    assert shown(cloud, volume)["state"] == "Ready"
    with reading() as session:
        assert session.scalar(select(ExtractLink)) is None
