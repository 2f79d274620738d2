"""What accounts, domains and projects have and may have: limits, counts, and what the lists tell of them."""

import pytest
from sqlalchemy import select, update

from mgmt_server import db
from mgmt_server.allocation import limits
from mgmt_server.model.account import Account, Domain
from mgmt_server.model.event import Alert
from mgmt_server.model.limit import SOME_LIMIT, ResourceCount
from mgmt_server.resources.limit import timers
from mgmt_server.resources.limit.rows import account_key, domain_key, fields, of_owners
from tests.cloud import Refused
from tests.counts import counts

GIB = 1 << 30


@pytest.fixture
def ids(cloud):
    """Accounts and domains by name."""
    cloud.account("ann", domain="/a/b/")
    cloud.account("bob", domain="/a/")
    with db.reading() as session:
        found = dict(session.execute(select(Account.name, Account.id)).all())
        return found | dict(session.execute(select(Domain.path, Domain.id)).all())


def test_the_use_of_many_owners_is_one_select(ids):
    db.write(lambda tx: limits.take(tx, ids["ann"], user_vm=2, memory=512, primary_storage=3 * GIB))
    db.write(lambda tx: limits.take(tx, ids["bob"], user_vm=1))
    db.write(lambda tx: limits.take(tx, 2, user_vm=5, secondary_storage=GIB // 2))
    keys = [account_key(ids[n]) for n in ("ann", "bob", "admin")] + [domain_key(ids[p]) for p in ("/", "/a/", "/a/b/")]
    limits.default("account", "cpu"), limits.inherited("/a/b/")  # settings and what domains have are read once
    with db.reading() as session:
        before = db.statements()
        found = of_owners(session, keys)
        assert db.statements() - before == 1
    assert found[account_key(ids["ann"])]["user_vm"] == (2, 20)
    assert found[account_key(ids["ann"])]["primary_storage"] == (3 * GIB, 200 * GIB)
    assert found[account_key(ids["ann"])]["snapshot"] == (0, 20)
    assert found[account_key(2)]["user_vm"] == (5, None)
    assert [found[domain_key(ids[p])]["user_vm"] for p in ("/", "/a/", "/a/b/")] == [(8, None), (3, 40), (2, 40)]
    assert set(found) == set(keys)


def test_fields_are_said_as_the_protocol_says_them(ids):
    db.write(lambda tx: limits.take(tx, ids["ann"], primary_storage=3 * GIB, secondary_storage=GIB // 2))
    with db.reading() as session:
        (have,) = of_owners(session, [account_key(ids["ann"])]).values()
    said = fields(have)
    assert (said["vmlimit"], said["vmtotal"], said["vmavailable"]) == ("20", 0, "20")
    assert (said["primarystoragelimit"], said["primarystoragetotal"], said["primarystorageavailable"]) == (
        "200",
        3,
        "197",
    )
    assert (said["secondarystoragetotal"], said["secondarystorageavailable"]) == (0.5, "399.5")
    assert len(said) == 36


def told(cloud, user="admin", **sent):
    found = cloud.ask("listResourceLimits", user=user, **sent).get("resourcelimit", [])
    return {entry["resourcetypename"]: entry["max"] for entry in found}


def domain_id(path):
    with db.reading() as session:
        return session.scalar(select(Domain.uuid).where(Domain.path == path))


@pytest.fixture
def admins(cloud, ids):
    """Domain administrators of /a/ and /a/b/, and one of another tree."""
    cloud.account("boss", kind=2, domain="/a/")
    cloud.account("chief", kind=2, domain="/a/b/")
    cloud.account("stranger", kind=2, domain="/c/")
    return ids


def test_limits_are_listed_by_owner_and_type(cloud, ids):
    found = cloud.ask("listResourceLimits", resourcetype=0)
    assert found == {
        "count": 1,
        "resourcelimit": [
            {"account": "admin", "domainid": domain_id("/"), "domain": "ROOT", "domainpath": "ROOT",
             "resourcetype": "0", "resourcetypename": "user_vm", "max": -1},
        ],
    }  # fmt: skip
    assert len(told(cloud)) == 12 and set(told(cloud).values()) == {-1}
    mine = told(cloud, user="ann")
    assert (mine["user_vm"], mine["memory"], mine["primary_storage"]) == (20, 40960, 200)
    assert told(cloud, domainid=domain_id("/a/"), resourcetypename="cpu") == {"cpu": 80}
    assert told(cloud, account="ann", domainid=domain_id("/a/b/"), resourcetype=1) == {"public_ip": 20}
    page = cloud.ask("listResourceLimits", page=2, pagesize=5)
    assert page["count"] == 12 and [e["resourcetype"] for e in page["resourcelimit"]] == ["5", "6", "7", "8", "9"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"resourcetype": 12}, "resourcetype=12 is none of 0 user_vm"),
        ({"resourcetypename": "gpu"}, "resourcetypename=gpu is none of"),
        ({"resourcetype": 0, "resourcetypename": "cpu"}, "different things"),
        ({"account": "nobody"}, "account value=nobody"),
    ],
)
def test_what_cannot_be_listed_is_refused(cloud, ids, wrong, said):
    with pytest.raises(Refused, match=said):
        cloud.ask("listResourceLimits", **wrong)


def test_users_read_their_own_account_and_domain_and_nothing_else(cloud, admins):
    assert told(cloud, user="ann", domainid=domain_id("/a/b/"), resourcetype=0) == {"user_vm": 40}
    for foreign in ({"domainid": domain_id("/a/")}, {"account": "bob", "domainid": domain_id("/a/b/")}):
        with pytest.raises(Refused) as no:
            cloud.ask("listResourceLimits", user="ann", **foreign)
        assert no.value.status == 431 and "does not exist" in no.value.text
    cloud.ask("updateResourceLimit", account="ann", domainid=domain_id("/a/b/"), resourcetype=0, max=3)
    with db.reading() as session:
        number = session.scalar(select(ResourceCount.id).where(ResourceCount.most_user_vm == 3)) * 100
    assert told(cloud, user="ann", id=number) == told(cloud, user="boss", id=number) == {"user_vm": 3}
    assert told(cloud, user="bob", id=number) == told(cloud, user="stranger", id=number) == {}


def test_an_administrator_sets_limits_below(cloud, admins):
    event = {"type": "RESOURCE.LIMIT.UPDATE"}
    made = cloud.ask(
        "updateResourceLimit", user="boss", account="ann", domainid=domain_id("/a/b/"), resourcetype=0, max=7
    )
    assert made == {
        "resourcelimit": {
            "account": "ann", "domainid": domain_id("/a/b/"), "domain": "b", "domainpath": "ROOT/a/b",
            "resourcetype": "0", "resourcetypename": "user_vm", "max": 7,
        }
    }  # fmt: skip
    assert told(cloud, user="ann", resourcetype=0) == {"user_vm": 7}
    assert "user_vm for the account ann" in cloud.ask("listEvents", user="boss", **event)["event"][0]["description"]
    cloud.ask("updateResourceLimit", user="boss", domainid=domain_id("/a/b/"), resourcetype=10, max=300)
    assert told(cloud, user="ann", domainid=domain_id("/a/b/"))["primary_storage"] == 300
    cloud.ask("updateResourceLimit", user="boss", domainid=domain_id("/a/b/"), resourcetype=10)
    assert told(cloud, user="ann", domainid=domain_id("/a/b/"))["primary_storage"] == -1
    with db.reading() as session:
        assert session.scalar(select(ResourceCount.most_user_vm).where(ResourceCount.most_user_vm.is_not(None))) == 7


def test_a_sub_domain_has_the_limit_of_the_nearest_above_until_it_has_its_own(cloud, admins):
    below = {"domainid": domain_id("/a/b/"), "resourcetype": 0}
    cloud.ask("updateResourceLimit", domainid=domain_id("/a/"), resourcetype=0, max=500)
    assert told(cloud, user="boss", **below) == {"user_vm": 500}
    with db.reading() as session:
        assert of_owners(session, [domain_key(admins["/a/b/"])])[domain_key(admins["/a/b/"])]["user_vm"] == (0, 500)
    cloud.ask("updateResourceLimit", user="boss", max=400, **below)
    assert told(cloud, user="boss", **below) == {"user_vm": 400}
    with pytest.raises(Refused, match="which is 500"):
        cloud.ask("updateResourceLimit", user="boss", max=501, **below)


@pytest.mark.parametrize(
    ("user", "sent", "status", "said"),
    [
        ("chief", {"account": "chief", "path": "/a/b/"}, 432, "nobody changes the limits of their own"),
        ("chief", {"path": "/a/b/"}, 432, "nobody changes the limits of their own"),
        ("chief", {"path": "/a/"}, 431, "does not exist"),
        ("stranger", {"account": "ann", "path": "/a/b/"}, 431, "does not exist"),
        ("boss", {"path": "/a/b/", "max": 41}, 431, "more than the limit of the domain /a/ above it, which is 40"),
        ("boss", {"path": "/a/b/", "max": -2}, 431, "max=-2 is no limit"),
        ("boss", {"path": "/a/b/", "tag": "gpu"}, 431, "tag=gpu is not limited for user_vm"),
        ("boss", {}, 431, "say whose limit"),
        ("ann", {"account": "ann", "path": "/a/b/"}, 432, "not exist"),
        ("admin", {"path": "/"}, 432, "ROOT has no limits"),
        ("admin", {"account": "admin", "path": "/"}, 431, "only max=-1"),
    ],
)
def test_who_may_not_set_what(cloud, admins, user, sent, status, said):
    place = {"domainid": domain_id(sent["path"])} if "path" in sent else {}
    rest = {k: v for k, v in sent.items() if k != "path"}
    with pytest.raises(Refused, match=said) as no:
        cloud.ask("updateResourceLimit", user=user, **{"resourcetype": 0, "max": 5, **place, **rest})
    assert no.value.status == status
    with db.reading() as session:
        assert session.scalar(select(ResourceCount.id).where(SOME_LIMIT)) is None


def test_a_count_that_is_wrong_is_counted_anew(cloud, ids):
    for account, amounts in (("ann", {"user_vm": 4, "network": 2}), ("bob", {"cpu": 3}), ("admin", {"user_vm": 1})):
        db.write(lambda tx, a=account, m=amounts: limits.take(tx, ids[a], **m))
    found = cloud.ask("updateResourceCount", domainid=domain_id("/a/b/"), account="ann", resourcetype=0)
    assert found["resourcecount"] == [
        {"account": "ann", "domainid": domain_id("/a/b/"), "domain": "b", "domainpath": "ROOT/a/b",
         "resourcetype": "0", "resourcetypename": "user_vm", "resourcecount": 0}
    ]  # fmt: skip
    assert counts() == {
        f"account:{ids['ann']}/network/": 2, f"domain:{ids['/a/']}/network/": 2, f"domain:{ids['/a/b/']}/network/": 2,
        f"account:{ids['bob']}/cpu/": 3, f"domain:{ids['/a/']}/cpu/": 3, "account:2/user_vm/": 1,
    }  # fmt: skip
    assert cloud.ask("updateResourceCount", domainid=domain_id("/a/"))["count"] == 12
    assert counts() == {"account:2/user_vm/": 1}
    cloud.ask("updateResourceCount", domainid=domain_id("/"))
    assert counts() == {}


def test_the_timer_repairs_and_tells(cloud, ids):
    timers.check()
    db.write(lambda tx: limits.take(tx, ids["ann"], user_vm=4))
    row = ResourceCount
    db.write(lambda tx: tx.execute(update(row).where(row.domain_id == ids["/a/"]).values(user_vm=9)))
    timers.check()
    assert counts() == {}
    with db.reading() as session:
        (alert,) = session.scalars(select(Alert).where(Alert.name == "ALERT.RESOURCE.COUNT"))
    assert (
        alert.subject.startswith("3 resource counts")
        and f"domain:{ids['/a/']} user_vm: 9 instead of 0" in alert.content
    )
    timers.check()
    with db.reading() as session:
        assert len(session.scalars(select(Alert)).all()) == 1
