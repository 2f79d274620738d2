"""Tags over the wire."""

import pytest
from sqlalchemy import func, select

from mgmt_server.api.command import registry
from mgmt_server.db import reading, write
from mgmt_server.model.account import Account, User
from mgmt_server.model.event import Tag
from mgmt_server.model.vm import Volume
from mgmt_server.model.zone import Zone
from mgmt_server.resources.tag.flows import MOST
from mgmt_server.resources.tag.kinds import TAGGED
from mgmt_server.resources.tag.timers import follow
from tests.cloud import Refused


@pytest.fixture
def disks(cloud):
    """A volume of ann's and one of bob's, as rows: nothing here needs a host."""
    zone = cloud.ask("createZone", name="east", networktype="Advanced", dns1="192.0.2.53", internaldns1="192.0.2.54")
    cloud.ask("updateZone", id=zone["zone"]["id"], allocationstate="Enabled")
    found = {}

    def make(tx):
        for name in ("ann", "bob"):
            owner = tx.scalar(select(Account).where(Account.name == name))
            row = Volume(
                name=f"d-{name}",
                size=1,
                zone_id=tx.scalar(select(Zone.id)),
                account_id=owner.id,
                domain_id=owner.domain_id,
            )
            tx.add(row)
            tx.flush()
            found[name] = row.uuid

    cloud.account("ann")
    cloud.account("bob")
    write(make)
    return found


def tag(cloud, uuid, key="k", value="v", user="ann", **more):
    sent = {"resourceids": uuid, "resourcetype": "Volume", "tags[0].key": key, "tags[0].value": value}
    return cloud.job("createTags", user=user, **sent, **more)


def test_tags_are_put_on_found_by_and_taken_off(cloud, disks):
    ann = disks["ann"]
    assert tag(cloud, ann, "env", "prod", customer="terraform", **{"tags[1].key": "tier", "tags[1].value": "db"}) == {
        "success": True
    }
    first, second = cloud.ask("listTags", user="ann", resourceid=ann)["tag"]
    assert (first["key"], first["value"], first["resourcetype"], first["account"]) == ("env", "prod", "Volume", "ann")
    assert (first["customer"], second["key"]) == ("terraform", "tier")
    assert cloud.ask("listTags", user="ann", key="tier", value="db")["count"] == 1
    assert cloud.ask("listTags", user="ann", customer="ansible") == {}
    assert cloud.ask("listTags", user="ann", resourcetype="uservm") == {}
    (seen,) = cloud.ask("listVolumes", user="ann", **{"tags[0].key": "env", "tags[0].value": "prod"})["volume"]
    assert {t["key"]: t["value"] for t in seen["tags"]} == {"env": "prod", "tier": "db"}
    assert seen["tags"][0]["customer"] == "terraform"
    assert cloud.ask("listVolumes", user="ann", **{"tags[0].key": "env", "tags[0].value": "test"}) == {}
    with pytest.raises(Refused) as no:
        cloud.job("deleteTags", user="ann", resourceids=ann, resourcetype="Volume",
                  **{"tags[0].key": "env", "tags[0].value": "test"})  # fmt: skip
    assert "none of these resources has such a tag" in no.value.text
    cloud.job("deleteTags", user="ann", resourceids=ann, resourcetype="volume", **{"tags[0].key": "env"})
    assert [t["key"] for t in cloud.ask("listTags", user="ann")["tag"]] == ["tier"]
    cloud.job("deleteTags", user="ann", resourceids=ann, resourcetype="Volume")
    assert cloud.ask("listTags", user="ann") == {}


def test_a_key_is_on_a_resource_once_and_a_call_is_whole(cloud, disks):
    tag(cloud, disks["ann"])
    with pytest.raises(Refused) as no:
        tag(cloud, disks["ann"], "new", "v", **{"tags[1].key": "k", "tags[1].value": "w"})
    assert "has a tag k already" in no.value.text
    assert [t["key"] for t in cloud.ask("listTags", user="ann")["tag"]] == ["k"]


def test_nobody_tags_what_is_not_theirs(cloud, disks):
    other = "00000000-0000-4000-8000-000000000000"
    told = []
    for uuid in (disks["bob"], other):
        with pytest.raises(Refused) as no:
            tag(cloud, uuid)
        told.append((no.value.status, no.value.text.replace(uuid, "X")))
        with pytest.raises(Refused):
            cloud.ask("deleteTags", user="ann", resourceids=f"{disks['ann']},{uuid}", resourcetype="Volume")
    assert told[0] == told[1] and told[0][0] == 431
    tag(cloud, disks["bob"], user="bob")
    assert cloud.ask("listTags", user="ann", listall=True) == {}
    assert cloud.ask("listTags", user="ann", resourceid=disks["bob"], listall=True) == {}
    assert cloud.ask("listTags", listall=True)["count"] == 1


def test_a_domain_administrator_does_not_tag_a_root_administrator(cloud):
    cloud.account("boss", kind=2, domain="/a/")
    cloud.account("chief", kind=1, domain="/a/")
    with reading() as session:
        chief, user = session.execute(
            select(Account.uuid, User.uuid).join(User, User.account_id == Account.id).where(Account.name == "chief")
        ).one()
    for kind, uuid in (("Account", chief), ("User", user)):
        with pytest.raises(Refused):
            cloud.ask("createTags", user="boss", resourceids=uuid, resourcetype=kind,
                      **{"tags[0].key": "k", "tags[0].value": "v"})  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"tags[0].key": "k"}, "neither empty"),
        ({"tags[0].key": "", "tags[0].value": "v"}, "neither empty"),
        ({"tags[0].key": "k" * 256, "tags[0].value": "v"}, "max allowed length 255"),
        ({"tags[0].key": "k", "tags[0].value": "v" * 256}, "max allowed length 255"),
        ({"tags[0].key": "k\x00", "tags[0].value": "v"}, "control characters"),
        ({"tags[0].key": "k", "tags[0].value": "v", "resourcetype": "Zone"}, "no kind of resource"),
        ({"tags[0].key": "k", "tags[0].value": "v", "resourcetype": "UserVm"}, "entity does not exist"),
        ({f"tags[{n}].{f}": f"x{n}" for n in range(MOST + 1) for f in ("key", "value")}, f"at most {MOST}"),
    ],
)
def test_what_is_no_tag_is_refused(cloud, disks, sent, told):
    with pytest.raises(Refused) as no:
        cloud.ask("createTags", user="ann", **{"resourceids": disks["ann"], "resourcetype": "Volume", **sent})
    assert no.value.status == 431 and told in no.value.text


def test_a_resource_has_a_bounded_number_of_tags(cloud, disks):
    many = {f"tags[{n}].{f}": f"x{n}" for n in range(MOST) for f in ("key", "value")}
    cloud.job("createTags", user="ann", resourceids=disks["ann"], resourcetype="Volume", **many)
    with pytest.raises(Refused) as no:
        tag(cloud, disks["ann"], "one more")
    assert f"at most {MOST}" in no.value.text
    assert cloud.ask("listTags", user="ann")["count"] == MOST


def test_tags_go_with_their_resource_and_follow_its_owner(cloud, disks):
    tag(cloud, disks["ann"])
    tag(cloud, disks["bob"], user="bob")

    def change(tx):
        mine, his = (tx.scalar(select(Volume).where(Volume.uuid == disks[n])) for n in ("ann", "bob"))
        his.removed = his.created
        mine.account_id = his.account_id

    write(change)
    assert cloud.ask("listTags", user="ann", listall=True) == {}, "it is bob's now"
    assert [t["resourceid"] for t in cloud.ask("listTags", listall=True)["tag"]] == [disks["ann"]]
    follow()
    assert [t["account"] for t in cloud.ask("listTags", user="bob")["tag"]] == ["bob"]
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Tag)) == 1


def test_every_list_that_shows_tags_shows_those_of_a_kind_that_can_be_tagged():
    """A view with tags of a kind that nobody can tag would always show none."""
    views = {
        (c.answers.tagged, c.answers.tagged_by.class_) for c in registry.values() if c.answers and c.answers.tagged
    }
    assert {kind for kind, _ in views} >= {"UserVm", "Volume", "Network", "Template", "PublicIpAddress"}
    known = {(name, kind.table) for name, kind in TAGGED.items()}
    assert views <= known, "add the kind to resources/tag/kinds.py"
