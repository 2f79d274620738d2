"""One account floods a server, and what others ask comes to its end meanwhile. What is compared is what ended before
what, and never a time."""

from __future__ import annotations

import contextlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests
from sqlalchemy import insert, select

from mgmt_server import db
from mgmt_server.db import new_uuid, now
from mgmt_server.model.account import Account, LdapServer
from mgmt_server.model.vm import SshKeyPair
from tests.server import Client, running
from tests.simulated import simulated_zone

FLOOD = 24  # connections of one account: more than the server has threads
LARGE = 2000  # rows of its list
WORKERS = 12  # threads of the server that run jobs
SMALL = 20  # what another account asks meanwhile
STUCK = 300  # seconds for which a host or a directory says nothing: longer than the test is allowed to take


@pytest.fixture(scope="module")
def server(loaded, tmp_path_factory):
    with running(tmp_path_factory.mktemp("flood") / "data") as made:
        root = made.client()
        for name, value in {
            "api.throttling.max": "1000000",
            "ldap.basedn": "dc=example,dc=org",
            "ldap.read.timeout": str(STUCK * 1000),
        }.items():
            root.ask("updateConfiguration", name=name, value=value)
        made.keys = {}
        for name in ("ann", "bob"):
            account = root.ask(
                "createAccount", username=name, password="Secret-123456", email="a@example.org", firstname="A",
                lastname="B", accounttype=0,
            )["account"]  # fmt: skip
            made.keys[name] = root.ask("registerUserKeys", id=account["user"][0]["id"])["userkeys"]
        yield made
        made.kill()  # its hosts are stuck


def client(server, name):
    return Client(server.url, server.keys[name]["apikey"], server.keys[name]["secretkey"])


def write(server, work):
    """Rows straight into the server's database."""
    db.connect(f"sqlite:///{server.data}/cloud.db")
    try:
        return db.write(work)
    finally:
        db.disconnect()


class Flood:
    """What came to an end of it, and until when it goes on."""

    def __init__(self) -> None:
        self.began = self.ended = 0
        self.over = threading.Event()
        self._lock = threading.Lock()

    def count(self, began: int = 0, ended: int = 0) -> None:
        with self._lock:
            self.began, self.ended = self.began + began, self.ended + ended


@contextmanager
def flooding(work):
    """`work(flood)` by many at once, again and again, until the block ends."""
    flood = Flood()

    def go_on(_):
        while not flood.over.is_set():
            flood.count(began=1)
            work(flood)
            flood.count(ended=1)

    with ThreadPoolExecutor(FLOOD) as pool:
        running_ = [pool.submit(go_on, n) for n in range(FLOOD)]
        try:
            yield flood
        finally:
            flood.over.set()
    for each in running_:
        each.result()


def reached(condition):
    pause = threading.Event()
    while not condition():
        pause.wait(0.01)


@pytest.mark.timeout(200)
def test_d_jobs_of_one_account_that_do_not_end_hold_up_nobodys(server):
    """Hosts do not come to an end with ann's machines, of which she has more than the server has workers: all of bob's
    jobs end before any of hers."""
    zone = write(server, lambda tx: simulated_zone(tx, hosts=2, memory=2**38, cpu=640_000))
    root, ann, bob = server.client(), client(server, "ann"), client(server, "bob")
    offering = root.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    made = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": offering}
    (account,) = root.ask("listAccounts", name="ann", listall=True)["account"]
    root.ask("updateResourceLimit", account="ann", domainid=account["domainid"], resourcetype=0, max=-1)
    root.ask("updateResourceLimit", account="ann", domainid=account["domainid"], resourcetype=2, max=-1)
    health = f"http://127.0.0.1:{server.port}/healthz"
    reached(lambda: [v["state"] for v in root.ask("listSystemVms").get("systemvm", [])] == ["Running"] * 2)
    started = [ann.ask("deployVirtualMachine", name=f"m{n}", **made) for n in range(WORKERS + 2)]
    for one in started:
        ann.wait(one["jobid"])
    root.ask("configureSimulator", name="reboot", value=f"wait:{STUCK}")
    hers = [ann.ask("rebootVirtualMachine", id=one["id"])["jobid"] for one in started]
    reached(lambda: requests.get(health, timeout=60).json()["jobs"] >= WORKERS // 2)
    mine = bob.ask("listAccounts")["account"][0]["id"]
    for n in range(SMALL):
        pairs = {"tags[0].key": f"k{n}", "tags[0].value": "v"}
        assert bob.job("createTags", resourceids=mine, resourcetype="Account", seconds=150, **pairs) == {
            "success": True
        }
    assert bob.ask("listTags", resourceid=mine, listall=True)["count"] == SMALL
    states = {ann.ask("queryAsyncJobResult", jobid=job)["jobstatus"] for job in hers}
    assert states == {0}, "the flood was over before bob's last job: nothing was shown"


@pytest.mark.timeout(200)
def test_d_large_lists_of_one_account_let_others_through(server):
    """While each of ann's connections always has a list under way, bob's call waits for at most a few of each."""

    def many(tx):
        owner = tx.scalar(select(Account).where(Account.name == "ann"))
        whose = {"account_id": owner.id, "domain_id": owner.domain_id, "created": now(), "public_key": "ssh-ed25519 A"}
        rows = [whose | {"uuid": new_uuid(), "name": f"key-{n}", "fingerprint": f"{n:032x}"} for n in range(LARGE)]
        tx.execute(insert(SshKeyPair), rows)

    write(server, many)
    own = threading.local()

    def list_all(_):
        if not hasattr(own, "client"):
            own.client = client(server, "ann")
        assert len(own.client.ask("listSSHKeyPairs", page=1, pagesize=500)["sshkeypair"]) == 500

    bob, between = client(server, "bob"), []
    with flooding(list_all) as flood:
        reached(lambda: flood.ended >= FLOOD)
        for _ in range(SMALL):
            before = flood.ended
            assert bob.ask("listSSHKeyPairs") == {}
            between.append(flood.ended - before)
        assert flood.began > flood.ended, "it still goes on"
    assert sorted(between)[SMALL * 19 // 20 - 1] <= 3 * FLOOD, between


@pytest.mark.timeout(200)
def test_d_a_directory_that_hangs_keeps_waiting_only_those_who_ask_it(server):
    """It takes connections and says nothing. More ask it than the server has threads for calls."""
    silent = socket.create_server(("127.0.0.1", 0), backlog=FLOOD)
    write(server, lambda tx: tx.add(LdapServer(hostname="127.0.0.1", port=silent.getsockname()[1])))
    taken, bob = [], client(server, "bob")

    def take():
        while True:
            try:
                taken.append(silent.accept()[0])
            except OSError:
                return

    taker = threading.Thread(target=take, daemon=True)
    taker.start()
    answered = []

    def ask():
        with contextlib.suppress(requests.ConnectionError):  # they wait until the server ends with the test
            answered.append(server.client().fetch("listLdapUsers").status_code)

    askers = [threading.Thread(target=ask, daemon=True) for _ in range(FLOOD)]
    for each in askers:
        each.start()
    reached(lambda: taken)
    for _ in range(SMALL):
        assert bob.ask("listZones").get("count", 1) >= 0
    assert requests.get(f"http://127.0.0.1:{server.port}/healthz", timeout=60).status_code == 200
    assert not answered, "the directory's silence was over before bob's last call: nothing was shown"
    silent.shutdown(socket.SHUT_RDWR)
    silent.close()
    for each in taken:
        each.close()
