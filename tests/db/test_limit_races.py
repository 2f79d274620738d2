"""Limits under threads, on both databases: the last unit goes to one, and a recount in between loses nothing."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import func, select, update

from mgmt_server import db
from mgmt_server.allocation import limits
from mgmt_server.db import new_uuid
from mgmt_server.errors import LimitExceeded
from mgmt_server.model.account import Account, Domain
from mgmt_server.model.limit import ResourceCount
from mgmt_server.model.network import Network
from mgmt_server.model.offering import NetworkOffering
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Zone
from mgmt_server.resources.limit import recount
from tests.cloud import Cloud, Refused
from tests.counts import used as all_used
from tests.db.test_races import MANY, at_once
from tests.simulated import build


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def cloud(request):
    request.getfixturevalue("database" if request.param == "sqlite" else "on_mariadb")
    limits.forget()
    return Cloud()


@pytest.fixture
def account(cloud):
    name = f"u{new_uuid()[:8]}"
    cloud.account(name, domain=f"/{name}/sub/")
    with db.reading() as session:
        return session.scalar(select(Account).where(Account.name == name))


def used(account, type):
    return all_used(account.id).get(type, 0)


def test_of_thirty_two_deploys_the_last_machine_goes_to_one(cloud, account):
    place = build(name=f"z-{account.name}", hosts=1)
    sent = {"zoneid": place["zone"], "templateid": place["template"], "user": account.name}
    found = cloud.ask("listServiceOfferings", user=account.name, name="Small Instance")["serviceoffering"]
    sent["serviceofferingid"] = found[0]["id"]
    cloud.ask("deployVirtualMachine", name="first", **sent)
    db.write(lambda tx: limits.take(tx, account.id, user_vm=18))
    given = at_once(lambda n: cloud.ask("deployVirtualMachine", name=f"m{n}", **sent))
    won = [g for g in given if not isinstance(g, Exception)]
    lost = [g for g in given if isinstance(g, Exception)]
    assert len(won) == 1 and all(isinstance(g, Refused) and g.status == 535 for g in lost), lost[:3]
    assert "its limit is 20 machines, 20 are used" in lost[0].text
    assert used(account, "user_vm") == 20
    with db.reading() as session:
        assert session.scalar(select(func.count()).select_from(Vm).where(Vm.account_id == account.id)) == 2


@pytest.mark.parametrize("type", ["user_vm", "cpu", "memory", "volume", "primary_storage", "public_ip", "network",
                                  "template", "secondary_storage", "project", "snapshot", "vpc"])  # fmt: skip
def test_of_thirty_two_the_last_unit_of_each_type_goes_to_one(cloud, account, type):
    most, unit = limits.default("account", type), limits.unit_of(type)
    db.write(lambda tx: limits.take(tx, account.id, **{type: (most - 1) * unit}))
    with pytest.raises(LimitExceeded, match=f"type {type} for the account {account.name} in domain"):
        db.write(lambda tx: limits.take(tx, account.id, **{type: 2 * unit}))
    given = at_once(lambda _: db.write(lambda tx: limits.take(tx, account.id, **{type: unit})))
    assert sum(not isinstance(g, Exception) for g in given) == 1
    assert all(isinstance(g, LimitExceeded) for g in given if g is not None)
    assert used(account, type) == most * unit
    db.write(lambda tx: limits.give(tx, account.id, **{type: most * unit}))
    assert used(account, type) == 0


def test_a_recount_in_between_loses_nothing(cloud, account):
    """Networks come and go in threads while others count: at the end the counts are the rows."""
    build(name=f"z-{account.name}", hosts=1)
    mine = ResourceCount.account_id == account.id
    db.write(lambda tx: tx.execute(update(ResourceCount).where(mine).values(network=99)))
    with db.reading() as session:
        zone = session.scalar(select(Zone.id).where(Zone.name == f"z-{account.name}"))
        offering = session.scalar(select(NetworkOffering.id).limit(1))
        domains = session.scalars(select(Domain.id).where(Domain.path.startswith(f"/{account.name}/"))).all()
    stop = threading.Event()

    def make(tx):
        more = {"zone_id": zone, "offering_id": offering, "account_id": account.id, "domain_id": account.domain_id}
        tx.add(Network(name="n", guest_type="Isolated", details={}, **more))
        limits.take(tx, account.id, network=1)

    def drop(tx):
        there = select(Network).where(Network.account_id == account.id, Network.removed.is_(None)).limit(1)
        network = tx.scalar(there.with_for_update(skip_locked=True))
        if network is not None:
            network.removed = db.now()
            limits.give(tx, account.id, network=1)

    def work(number):
        if number < 2:
            while not stop.is_set():
                recount.repair_all([account.id], domains)
            return
        try:
            for turn in range(12):
                db.write(drop if turn % 3 == 2 else make)
        except LimitExceeded:
            pass
        finally:
            with lock:
                left.discard(number)
                if not left:
                    stop.set()

    count, lock = 8, threading.Lock()
    left = set(range(2, count))
    given = at_once(work, count)
    assert not [g for g in given if g is not None], given
    with db.reading() as session:
        real = recount.count(session, [account.id])[account.id, "network", ""]
    assert real and used(account, "network") == real
    with db.reading() as session:
        accounts, wrong = recount.wrong(session)
    assert account.id not in accounts and not set(wrong) & set(domains)


assert MANY == 32
