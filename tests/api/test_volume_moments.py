"""A server that dies at each moment of a job about a disk: the next one ends it, once, and nothing is lost or held."""

import pytest
from sqlalchemy import func, select

from mgmt_server.db import reading
from mgmt_server.jobs import flow
from mgmt_server.jobs.queue import join_cluster, recover
from mgmt_server.model.simulator import SimulatedDisk, SimulatedFile
from mgmt_server.model.storage import Pool, TemplateOnPool
from mgmt_server.model.transfer import ExtractLink
from mgmt_server.model.vm import Volume
from mgmt_server.resources.limit import recount
from tests.api import test_volume
from tests.api.test_volume import at, create, deploy, disk, row, second_pool, shown

zone = test_volume.zone
MOST = 40  # moments that no job has


class Died(BaseException):
    """As by kill -9: nothing catches it."""


@pytest.fixture
def dying(monkeypatch):
    """Let the process die at the nth moment; which may not come."""
    left = [0]

    def reached(command):
        if left[0]:
            left[0] -= 1
            if not left[0]:
                raise Died

    monkeypatch.setattr(flow, "reached", reached)
    return left


def lives(cloud, dying, prepare, ask, check):
    """Do it anew for each moment: `prepare()`, `ask(made)` gives the job, `check(made)` looks at what came of it."""
    for moment in range(1, MOST):
        made = prepare()
        dying[0] = moment
        job = ask(made)["jobid"]
        try:
            cloud.work()
        except Died:
            cloud.node = join_cluster("test")
            recover()
            cloud.work()
            died = True
        else:
            died = False
        dying[0] = 0
        done = cloud.ask("queryAsyncJobResult", jobid=job)
        assert done["jobstatus"] == 1, (moment, done)
        check(made)
        whole(moment)
        if not died:
            return moment
    raise AssertionError("it never ends")


def whole(moment):
    """What is promised is what there is; no disk is on its way; no file belongs to nobody."""
    with reading() as session:
        assert recount.wrong(session) == ([], []), moment
        states = set(session.scalars(select(Volume.state).where(Volume.removed.is_(None))))
        assert states <= {"Ready", "Allocated", "Uploaded", "Destroy"}, (moment, states)
        for pool in session.scalars(select(Pool)):
            held = select(func.coalesce(func.sum(Volume.size), 0)).where(
                Volume.pool_id == pool.id, Volume.removed.is_(None)
            )
            cached = select(func.coalesce(func.sum(TemplateOnPool.size), 0)).where(TemplateOnPool.pool_id == pool.id)
            assert pool.allocated == session.scalar(held) + session.scalar(cached), (moment, pool.name)
        names = list(session.scalars(select(Volume.path).where(Volume.pool_id.is_not(None), Volume.removed.is_(None))))
        there = select(func.count()).select_from(SimulatedDisk).where(SimulatedDisk.name.like("________-____-%-%"))
        templates = select(func.count(TemplateOnPool.id))
        assert session.scalar(there) == len(names) + session.scalar(templates), moment


def test_attaching_and_detaching(cloud, zone, dying):
    vm = deploy(cloud, zone)

    def attached(made):
        assert shown(cloud, made)["virtualmachineid"] == vm["id"] and row(made).path in at(vm)

    def detached(made):
        assert "virtualmachineid" not in shown(cloud, made) and row(made).path not in at(vm)
        cloud.job("destroyVolume", id=made["id"], expunge=True)

    def attach(made):
        return cloud.ask("attachVolume", id=made["id"], virtualmachineid=vm["id"])

    def removed(made):
        attached(made)
        cloud.job("detachVolume", id=made["id"])
        cloud.job("destroyVolume", id=made["id"], expunge=True)

    assert lives(cloud, dying, lambda: create(cloud, zone), attach, removed) > 5
    with_machine = {"virtualmachineid": vm["id"]}
    assert (
        lives(
            cloud, dying, lambda: create(cloud, zone, **with_machine),
            lambda made: cloud.ask("detachVolume", id=made["id"]), detached,
        ) > 5
    )  # fmt: skip


def test_resizing(cloud, zone, dying):
    sent = {"diskofferingid": zone["custom"], "size": 2, "storageid": zone["pool"]}

    def larger(made):
        assert shown(cloud, made)["size"] == disk(made)[1] == 4 * 2**30
        cloud.job("destroyVolume", id=made["id"], expunge=True)

    def ask(made):
        return cloud.ask("resizeVolume", id=made["id"], size=4)

    assert lives(cloud, dying, lambda: create(cloud, zone, **sent), ask, larger) > 5


def test_moving(cloud, zone, dying):
    other = second_pool(zone)

    def moved(made):
        assert shown(cloud, made)["storageid"] == disk(made)[0] == other
        cloud.job("destroyVolume", id=made["id"], expunge=True)

    def ask(made):
        return cloud.ask("migrateVolume", volumeid=made["id"], storageid=other)

    assert lives(cloud, dying, lambda: create(cloud, zone, storageid=zone["pool"]), ask, moved) > 5


def test_removing(cloud, zone, dying):
    def gone(made):
        assert cloud.ask("listVolumes", id=made["id"]) == {} and disk(made) is None

    def ask(made):
        return cloud.ask("destroyVolume", id=made["id"], expunge=True)

    assert lives(cloud, dying, lambda: create(cloud, zone, storageid=zone["pool"]), ask, gone) > 5


def test_extracting(cloud, zone, dying):
    def linked(made):
        with reading() as session:
            mine = session.scalars(select(ExtractLink).where(ExtractLink.subject == made["id"])).all()
            assert len(mine) == 1
            files = select(func.count(SimulatedFile.id)).where(SimulatedFile.name == mine[0].path)
            assert session.scalar(files) == 1

    def ask(made):
        return cloud.ask("extractVolume", id=made["id"], zoneid=zone["zone"], mode="HTTP_DOWNLOAD")

    assert lives(cloud, dying, lambda: create(cloud, zone, storageid=zone["pool"]), ask, linked) > 5


def test_uploading_and_fetching(cloud, zone, dying):
    vm = deploy(cloud, zone)
    sent = {"name": "up", "url": "http://example.org/a.qcow2", "format": "QCOW2", "zoneid": zone["zone"]}
    made = {}

    def ask(_):
        accepted = cloud.ask("uploadVolume", **sent)
        made["id"] = cloud.ask("listVolumes", name="up")["volume"][0]["id"]
        return accepted

    def uploaded(_):
        assert shown(cloud, made)["state"] == "Uploaded"
        cloud.job("destroyVolume", id=made["id"], expunge=True)

    assert lives(cloud, dying, lambda: None, ask, uploaded) > 5

    def attached(made):
        assert row(made).path in at(vm)
        cloud.job("detachVolume", id=made["id"])
        cloud.job("destroyVolume", id=made["id"], expunge=True)

    def attach(made):
        return cloud.ask("attachVolume", id=made["id"], virtualmachineid=vm["id"])

    assert lives(cloud, dying, lambda: cloud.job("uploadVolume", **sent)["volume"], attach, attached) > 9
