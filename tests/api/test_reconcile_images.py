"""An image that stands between two states with no job at it: copied, fetched or deleted anew, or said to fail."""

# ruff: noqa: F811  the fixtures are imported

import pytest
from sqlalchemy import delete, select

from mgmt_server.db import now, reading, write
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.transfer import UploadTicket
from mgmt_server.model.zone import Zone
from mgmt_server.resources.reconcile import timers
from mgmt_server.resources.template.importing import COMING
from tests.api.reconciling import change, repair, told
from tests.api.test_template_appliance import listed, whole  # noqa: F401
from tests.api.test_template_download import ZONE, files, sent, store, web  # noqa: F401
from tests.api.test_template_formats import west as another_zone
from tests.api.test_template_transfer import form
from tests.crash.invariants import broken


@pytest.fixture
def west(cloud, tmp_path):
    """A second zone, and the folder that is its secondary storage."""
    (tmp_path / "west").mkdir()
    zone, _ = another_zone(cloud, tmp_path / "west")
    return zone, tmp_path / "west"


def lose_jobs():
    """As a database does that was restored from a copy."""
    write(lambda tx: tx.execute(delete(JobRow).where(JobRow.state.in_(OPEN))) and None)


def settled():
    """What does not hold, but for the events of the jobs that were lost."""
    return [text for text in broken() if "was told to" not in text]


def repaired(cloud):
    for _ in range(3):  # those of one template come one after the other
        repair(cloud)
        timers.forget()


def status(cloud, **sent):
    return {t["name"]: (t["isready"], t.get("status")) for t in listed(cloud, **sent)}


def test_all_disks_of_an_appliance_are_copied_when_the_job_was_lost(cloud, whole, west, store):
    zone, folder = west
    cloud.ask("copyTemplate", user="ann", id=whole, destzoneid=zone)
    lose_jobs()
    change(Template, Template.uuid == whole, url=None)  # as one that was made here
    assert [ready for ready, _ in status(cloud, zoneid=zone).values()] == [False] * 3
    repaired(cloud)
    assert [ready for ready, _ in status(cloud, zoneid=zone).values()] == [True] * 3
    assert sorted(f.stat().st_size for f in files(folder)) == sorted(f.stat().st_size for f in files(store))
    assert settled() == [] and told("it is copied anew")


def test_a_further_disk_alone_is_copied(cloud, whole, west):
    zone, folder = west
    cloud.ask("copyTemplate", user="ann", id=whole, destzoneid=zone)
    lose_jobs()
    repaired(cloud)
    assert len(files(folder)) == 3
    part = listed(cloud, parenttemplateid=whole, zoneid=zone)[0]
    with reading() as session:
        number = session.scalar(select(Template.id).where(Template.uuid == part["id"]))
        place = session.scalar(select(Zone.id).where(Zone.uuid == zone))
        mine = TemplateOnStore.template_id == number, TemplateOnStore.zone_id == place
        row = session.scalar(select(TemplateOnStore).where(*mine))
    (folder / row.path).unlink()
    change(TemplateOnStore, TemplateOnStore.id == row.id, state="Creating")
    repaired(cloud)
    assert len(files(folder)) == 3 and all(ready for ready, _ in status(cloud, zoneid=zone).values())


def test_a_copy_whose_source_has_gone_is_told_to_have_failed(cloud, whole, west):
    zone, folder = west
    cloud.ask("copyTemplate", user="ann", id=whole, destzoneid=zone)
    lose_jobs()
    change(Template, Template.uuid == whole, url=None)
    change(ImageStore, ImageStore.url.contains("store"), removed=now())
    repaired(cloud)
    assert all("on no secondary storage any more" in text for _, text in status(cloud, zoneid=zone).values())
    assert files(folder) == [] and settled() == []


def test_a_template_that_was_being_made_of_a_disk_is_gone(cloud, sent):
    made = cloud.ask("registerTemplate", **sent)["template"][0]["id"]
    lose_jobs()
    change(Template, Template.uuid == made, url=None, source_volume_id=77)
    repaired(cloud)
    assert listed(cloud, user="admin") == []
    assert settled() == [] and told("it was never made")


def test_what_waits_for_a_form_or_an_import_is_left_to_it(cloud, sent, store):
    cloud.account("ann")
    uploaded = form(cloud, sent)["id"]
    imported = cloud.ask("registerTemplate", **{**sent, "name": "i"})["template"][0]["id"]
    lose_jobs()
    change(Template, Template.uuid == imported, url=None)
    change(TemplateOnStore, TemplateOnStore.error.is_(None), error=COMING)
    repaired(cloud)
    with reading() as session:
        assert session.scalars(select(TemplateOnStore.state)).all() == ["Creating"] * 2
    change(UploadTicket, UploadTicket.subject == uploaded, removed=now())
    change(TemplateOnStore, TemplateOnStore.error == COMING, error=None)
    repaired(cloud)
    with reading() as session:
        assert session.scalars(select(TemplateOnStore.state)).all() == ["Failed"] * 2


@pytest.mark.parametrize("state", ["Creating", "Destroying"])
def test_a_deletion_that_was_lost_goes_on(cloud, whole, store, state):
    cloud.ask("deleteTemplate", user="ann", id=whole)
    lose_jobs()
    change(TemplateOnStore, TemplateOnStore.id > 0, state=state)
    repaired(cloud)
    assert files(store) == [] and settled() == []
    with reading() as session:
        assert session.scalars(select(TemplateOnStore.id)).all() == []
