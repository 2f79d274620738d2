"""Limits: counted in the creating transaction, refused with a reason, and never passed by two at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from mgmt_server import db
from mgmt_server.allocation import limits
from mgmt_server.errors import LimitExceeded
from mgmt_server.model import settings
from mgmt_server.model.account import Account, Domain
from mgmt_server.model.event import SettingValue
from mgmt_server.model.limit import NO_LIMIT
from tests.cloud import Cloud
from tests.counts import counts as used
from tests.counts import limit as most

GIB = 1 << 30


@pytest.fixture
def account(database):
    Cloud().account("ann", domain="/a/b/")
    with db.reading() as session:
        return session.scalar(select(Account.id).where(Account.name == "ann"))


def take(account: int, **amounts: int) -> None:
    db.write(lambda tx: limits.take(tx, account, **amounts))


def domains() -> dict[str, int]:
    with db.reading() as session:
        return dict(session.execute(select(Domain.name, Domain.id)).all())


def test_what_is_taken_counts_for_the_account_and_the_domains_above_but_root(account):
    take(account, user_vm=2, cpu=3)
    db.write(lambda tx: limits.give(tx, account, user_vm=1))
    place = domains()
    assert used() == {
        f"account:{account}/user_vm/": 1, f"account:{account}/cpu/": 3,
        f"domain:{place['a']}/user_vm/": 1, f"domain:{place['a']}/cpu/": 3,
        f"domain:{place['b']}/user_vm/": 1, f"domain:{place['b']}/cpu/": 3,
    }  # fmt: skip


def test_a_limit_refuses_all_of_the_transaction_and_says_which_of_whom(account):
    take(account, user_vm=20)
    with pytest.raises(LimitExceeded, match=r"user_vm for the account ann in domain /a/b/ .*limit is 20 .*20 are used"):
        take(account, user_vm=1, cpu=1)
    assert used()[f"account:{account}/user_vm/"] == 20 and not used().get(f"account:{account}/cpu/")
    most(f"account:{account}/user_vm/", NO_LIMIT)
    most(f"domain:{domains()['a']}/user_vm/", 21)
    take(account, user_vm=1)
    with pytest.raises(LimitExceeded, match="for the domain /a/ is exceeded: 1 more") as above:
        take(account, user_vm=1)
    assert "21" not in str(above.value), "the figures of a domain above are not the account's business"
    most(f"domain:{domains()['a']}/user_vm/", NO_LIMIT)
    most(f"domain:{domains()['b']}/user_vm/", 21)
    with pytest.raises(LimitExceeded, match="for the domain /a/b/ is exceeded: its limit is 21"):
        take(account, user_vm=1)


def test_a_domain_without_a_limit_has_that_of_the_nearest_above(account):
    most_in = domains()
    limits.forget()
    take(account, user_vm=20)
    most(f"account:{account}/user_vm/", NO_LIMIT)
    most(f"domain:{most_in['a']}/user_vm/", 100)
    limits.forget()
    take(account, user_vm=60)  # the setting gives domains 40
    with pytest.raises(LimitExceeded, match="for the domain /a/ is exceeded: 30 more"):
        take(account, user_vm=30)
    most(f"domain:{most_in['b']}/user_vm/", 81)
    with pytest.raises(LimitExceeded, match="/a/b/ is exceeded: its limit is 81"):
        take(account, user_vm=2)
    assert limits.inherited("/a/b/") == {("user_vm", ""): 100}
    assert limits.inherited("/a/") == limits.inherited("/") == {}


def test_storage_is_kept_in_bytes_and_limited_in_gib(account):
    take(account, primary_storage=200 * GIB)
    with pytest.raises(LimitExceeded, match=r"limit is 200 GiB of primary storage, 200 are used, 0\.5 more"):
        take(account, primary_storage=GIB // 2)


def test_giving_back_is_never_refused(account):
    take(account, user_vm=5)
    most(f"account:{account}/user_vm/", 1)
    db.write(lambda tx: limits.give(tx, account, user_vm=1))
    assert used()[f"account:{account}/user_vm/"] == 4


def test_root_administrators_have_no_limit(account):
    take(2, user_vm=1000)
    assert used() == {"account:2/user_vm/": 1000}


def test_tagged_use_is_counted_apart_where_the_tag_is_named(account):
    db.write(lambda tx: tx.add(SettingValue(name="resource.limit.host.tags", value="gpu, fast")))
    settings.forget()
    db.write(lambda tx: limits.take(tx, account, tags=("gpu", "other"), user_vm=1, volume=1))
    mine = {k.removeprefix(f"account:{account}/"): n for k, n in used().items() if k.startswith("account")}
    assert mine == {"user_vm/": 1, "user_vm/gpu": 1, "volume/": 1}
    most(f"account:{account}/user_vm/gpu", 1)
    with pytest.raises(LimitExceeded, match="user_vm with tag gpu"):
        db.write(lambda tx: limits.take(tx, account, tags=("gpu",), user_vm=1))


def test_of_thirty_two_at_once_the_last_unit_goes_to_one(account):
    take(account, volume=19)

    def one(_: int) -> bool:
        try:
            take(account, volume=1)
        except LimitExceeded:
            return False
        return True

    with ThreadPoolExecutor(32) as pool:
        assert sum(pool.map(one, range(32))) == 1
    assert used()[f"account:{account}/volume/"] == 20


def test_it_is_one_statement_when_the_rows_are_there(account):
    take(account, user_vm=1, cpu=1, memory=512, volume=1, primary_storage=GIB)
    before = db.statements()
    take(account, user_vm=1, cpu=1, memory=512, volume=1, primary_storage=GIB)
    begun = db.engine().dialect.name == "sqlite"  # there BEGIN is counted too
    assert db.statements() - before - begun == 1
