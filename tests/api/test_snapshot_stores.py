"""Snapshots on secondary storage: in other zones, whole or not at all; swept, linked to, and held."""

# ruff: noqa: F811  the fixture is imported

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from mgmt_server.db import reading, write
from mgmt_server.errors import Unavailable
from mgmt_server.model.event import Event
from mgmt_server.model.snapshot import Snapshot, SnapshotOnStore
from mgmt_server.model.storage import ImageStore, Pool
from mgmt_server.resources.snapshot import files as snapshot_files
from mgmt_server.resources.snapshot import rows
from mgmt_server.resources.snapshot.timers import sweep_all
from mgmt_server.resources.transfer.links import target_of
from mgmt_server.resources.transfer.timers import clean_up
from tests.api.test_snapshot import (
    another_zone,
    content,
    counts_are_right,
    deploy,
    fail,
    files,
    incremental,
    on_stores,
    snap,
    touch,
    used,
    zone,  # noqa: F401
)
from tests.cloud import Refused


def test_a_snapshot_is_copied_to_other_zones_with_all_that_it_stands_on(cloud, zone):
    west = another_zone(cloud)
    incremental(cloud)
    _, volume = deploy(cloud, zone)
    first, second = snap(cloud, volume), snap(cloud, volume)
    third = snap(cloud, volume, zoneids=[west["zone"], zone["zone"]])
    places = [(s["id"], s["zoneid"]) for s in cloud.ask("listSnapshots")["snapshot"]]
    assert places == [
        (first["id"], zone["zone"]), (second["id"], zone["zone"]), (third["id"], zone["zone"]),
        (third["id"], west["zone"]),
    ]  # fmt: skip
    assert len(files()) == 6 and on_stores("Hidden") == 2
    assert used("secondary_storage") == 2 * sum(s["physicalsize"] for s in (first, second, third))
    counts_are_right()
    with reading() as session:
        row = session.scalar(
            select(SnapshotOnStore)
            .join(Snapshot)
            .where(Snapshot.uuid == third["id"])
            .order_by(SnapshotOnStore.id.desc())
        )
        chain = rows.chain_of(session, row)
    assert [i.uuid for i in chain] == [first["id"], second["id"], third["id"]]
    assert {i.store.url for i in chain} == {"nfs://192.0.2.9/west"}
    answer = cloud.job("copySnapshot", id=second["id"], destzoneid=west["zone"])["snapshot"]
    assert answer["id"] == second["id"] and len(files()) == 6, "its file was there already"
    assert len(cloud.ask("listSnapshots", zoneid=west["zone"])["snapshot"]) == 2
    unique = cloud.ask("listSnapshots", showunique=True)
    assert unique["count"] == 3 == len(unique["snapshot"])
    assert cloud.ask("listSnapshots", imagestoreid=west["store"])["count"] == 2
    assert "snapshot" not in cloud.ask("listSnapshots", locationtype="PRIMARY")
    cloud.job("deleteSnapshot", id=third["id"], zoneid=zone["zone"])
    assert [(s["id"], s["zoneid"]) for s in cloud.ask("listSnapshots", id=third["id"])["snapshot"]] == [
        (third["id"], west["zone"])
    ]
    counts_are_right()
    for one in (first, second, third):
        cloud.job("deleteSnapshot", id=one["id"])
    assert files() == [] and on_stores() == 0 and used("snapshot") == 0 == used("secondary_storage")
    counts_are_right()


def test_a_copy_that_fails_leaves_nothing_there_and_the_snapshot_as_it_was(cloud, zone):
    west = another_zone(cloud)
    _, volume = deploy(cloud, zone)
    made = snap(cloud, volume)
    write(lambda tx: tx.execute(update(ImageStore).where(ImageStore.uuid == west["store"]).values(readonly=True)))
    with pytest.raises(Refused) as refused:
        cloud.job("copySnapshot", id=made["id"], destzoneids=[west["zone"]])
    assert "no secondary storage" in refused.value.text
    (found,) = cloud.ask("listSnapshots")["snapshot"]
    assert found["state"] == "BackedUp" and on_stores() == 1
    partly = snap(cloud, volume, zoneids=[west["zone"]])
    assert partly["state"] == "BackedUp", "a copy that fails does not take the snapshot with it"
    with reading() as session:
        rows = select(Event.description).where(Event.type == "SNAPSHOT.COPY", Event.level == "ERROR")
        told = list(session.scalars(rows.order_by(Event.id)))
    assert len(told) == 2 and "copying snapshot" in told[1] and "no secondary storage" in told[1]
    for wrong in ({}, {"destzoneid": west["zone"], "destzoneids": [west["zone"]]}):
        with pytest.raises(Refused):
            cloud.ask("copySnapshot", id=made["id"], **wrong)


def test_what_a_store_did_not_give_up_is_swept_later(cloud, zone, monkeypatch):
    _, volume = deploy(cloud, zone)
    made = snap(cloud, volume)

    def silent(*_):
        raise Unavailable("the store does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(snapshot_files.simulator, "remove", silent)
        with pytest.raises(Refused):
            cloud.job("deleteSnapshot", id=made["id"])
    assert len(files()) == 1 and used("snapshot") == 0
    counts_are_right()
    sweep_all()
    cloud.work()
    assert files() == [] and on_stores() == 0 and cloud.ask("listSnapshots") == {}
    counts_are_right()


def test_what_a_store_did_not_give_up_of_a_failed_copy_is_swept_later(cloud, zone, monkeypatch):
    west = another_zone(cloud)
    incremental(cloud)
    _, volume = deploy(cloud, zone)
    snap(cloud, volume)
    second = snap(cloud, volume)
    real, copied = snapshot_files.simulator.copy_file, []

    def late(tx, *args):
        real(tx, *args)
        copied.append(args)

    def copy(call, order):
        write(late, order.source.store, order.source.path, order.target.store, order.target.path)
        if len(copied) == 2:
            raise Unavailable("the store does not answer")

    def silent(*_):
        raise Unavailable("the store does not answer")

    copy.__module__, copy.__qualname__ = snapshot_files.__name__, "copy"
    with monkeypatch.context() as patched:
        patched.setattr(snapshot_files, "copy", copy)
        patched.setattr(snapshot_files.simulator, "remove", silent)
        with pytest.raises(Refused, match="does not answer"):
            cloud.job("copySnapshot", id=second["id"], destzoneids=[west["zone"]])
        assert len(files()) == 4 and [s["state"] for s in cloud.ask("listSnapshots")["snapshot"]] == ["BackedUp"] * 2
        with pytest.raises(Refused, match="just being deleted"):
            cloud.job("copySnapshot", id=second["id"], destzoneids=[west["zone"]])
    sweep_all()
    cloud.work()
    assert len(files()) == 2 == on_stores()
    counts_are_right()
    cloud.job("copySnapshot", id=second["id"], destzoneids=[west["zone"]])
    assert len(files()) == 4
    counts_are_right()


@pytest.mark.parametrize("method", ["save_disk", "load_disk"])
@pytest.mark.parametrize("late", ["false", "true"])
def test_a_lost_answer_leaves_disk_and_rows_in_order(cloud, zone, method, late):
    vm, volume = deploy(cloud, zone)
    made = snap(cloud, volume)
    cloud.job("stopVirtualMachine", id=vm)
    touch(volume)
    fail(cloud, method, f"lost:true|late:{late}")
    with pytest.raises(Refused):
        snap(cloud, volume) if method == "save_disk" else cloud.job("revertSnapshot", id=made["id"])
    assert cloud.ask("listVolumes", id=volume)["volume"][0]["state"] == "Ready"
    assert len(files()) == 1
    counts_are_right()
    assert cloud.job("revertSnapshot", id=made["id"])["snapshot"]["id"] == made["id"]


def test_a_link_leads_to_the_whole_content_of_a_snapshot(cloud, zone):
    incremental(cloud)
    _, volume = deploy(cloud, zone)
    first = snap(cloud, volume, name="first")
    touch(volume)
    second = snap(cloud, volume, name="second")
    with reading() as session:
        room = session.scalar(select(Pool.allocated))
    for made, count in ((first, 2), (second, 3), (second, 3)):
        told = cloud.job("extractSnapshot", id=made["id"], zoneid=zone["zone"])["snapshot"]
        assert told["name"] == made["name"] and told["state"] == "DOWNLOAD_URL_CREATED"
        target = None
        with reading() as session:
            target = target_of(session, told["url"].split("/")[-2])
            assert session.scalar(select(Pool.allocated)) == room, "what it was put together in is given back"
        assert target.file_name == f"{made['name']}.qcow2" and len(files()) == count
    assert target.content == content(volume)
    cloud.job("deleteSnapshot", id=second["id"])
    with reading() as session:
        assert target_of(session, told["url"].split("/")[-2]) is None
    clean_up()
    assert len(files()) == 1, "what was put together for the link goes too"
    cloud.account("ann")
    with pytest.raises(Refused) as refused:
        cloud.ask("extractSnapshot", user="ann", id=first["id"], zoneid=zone["zone"])
    assert refused.value.status == 432


def test_secondary_storage_with_snapshots_is_not_forgotten(cloud, zone):
    west = another_zone(cloud)
    _, volume = deploy(cloud, zone)
    made = snap(cloud, volume, name="kept", zoneids=[west["zone"]])
    with pytest.raises(Refused) as refused:
        cloud.ask("deleteImageStore", id=west["store"])
    assert "holds snapshots (kept)" in refused.value.text
    cloud.job("deleteSnapshot", id=made["id"], zoneid=west["zone"])
    cloud.ask("deleteImageStore", id=west["store"])
