"""What accounts, domains and projects have and may have: limits, counts, and what the lists tell of them."""

import pytest
from sqlalchemy import select

from mgmt_server import db
from mgmt_server.allocation import limits
from mgmt_server.model.account import Account, Domain
from mgmt_server.resources.limit.rows import account_key, domain_key, fields, of_owners

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
    limits.default("account", "cpu")  # the settings are read once
    with db.reading() as session:
        before = db.statements
        found = of_owners(session, keys)
        assert db.statements - before == 1
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
