"""Jobs over the wire: listed by whose they are, what they are about and when they began."""

import pytest
from sqlalchemy import select

from mgmt_server.db import write
from mgmt_server.jobs.rows import JobRow, Node
from mgmt_server.model.account import Account, User
from tests.cloud import Refused


@pytest.fixture
def jobs(cloud):
    """A waiting job of each of three accounts, and one that is over; uuids by account."""
    for name, kind, domain in (("ann", 0, "/a/"), ("boss", 2, "/a/"), ("eve", 0, "/c/")):
        cloud.account(name, kind=kind, domain=domain)

    def make(tx):
        node = tx.scalar(select(Node))
        found = {}
        for name in ("ann", "boss", "eve"):
            account, user = tx.execute(
                select(Account, User).join(User, User.account_id == Account.id).where(Account.name == name)
            ).one()
            row = {"flow": "x:y", "arguments": [], "lock": f"l{name}", "account_id": account.id, "user_id": user.id,
                   "domain_id": account.domain_id, "instance_type": "VirtualMachine"}  # fmt: skip
            waiting = JobRow(command=f"stop{name}", instance_uuid=f"vm-{name}", **row)
            if name == "ann":
                waiting.node_id = node.id
            tx.add_all([waiting, JobRow(command="over", state="done", **row)])
            tx.flush()
            found[name] = waiting.uuid
        return found

    return write(make)


def seen(cloud, user="admin", **sent):
    return {j["jobid"] for j in cloud.ask("listAsyncJobs", user=user, **sent).get("asyncjobs", [])}


def test_jobs_are_narrowed_like_everything_that_belongs_to_accounts(cloud, jobs):
    ann, boss, eve = jobs["ann"], jobs["boss"], jobs["eve"]
    assert seen(cloud) == set(), "the administrator's own"
    assert seen(cloud, listall=True) == {ann, boss, eve}
    assert seen(cloud, user="boss") == {boss}
    assert seen(cloud, user="boss", listall=True) == {ann, boss}
    assert seen(cloud, user="ann", listall=True) == {ann}
    domain = cloud.ask("listAccounts", name="ann", listall=True)["account"][0]["domainid"]
    assert seen(cloud, account="ann", domainid=domain) == {ann}
    assert seen(cloud, domainid=domain, isrecursive=True) == {ann, boss}
    with pytest.raises(Refused):
        seen(cloud, user="eve", domainid=domain)


def test_jobs_are_found_by_what_they_are_about_and_where_they_run(cloud, jobs):
    assert seen(cloud, listall=True, resourceid="vm-eve") == {jobs["eve"]}
    assert seen(cloud, listall=True, resourcetype="VirtualMachine") == set(jobs.values())
    assert seen(cloud, listall=True, resourcetype="Volume") == set()
    assert seen(cloud, user="ann", listall=True, resourceid="vm-eve") == set()
    assert seen(cloud, listall=True, keyword="STOPEVE") == {jobs["eve"]}
    assert seen(cloud, listall=True, startdate="2000-01-01") == set(jobs.values())
    assert seen(cloud, listall=True, startdate="2900-01-01") == set()
    told = cloud.ask("listAsyncJobs", listall=True, keyword="stopann")["asyncjobs"][0]
    assert seen(cloud, listall=True, managementserverid=told["managementserverid"]) == {jobs["ann"]}


def test_a_job_is_asked_after_by_its_resource_too(cloud, jobs):
    told = cloud.ask("queryAsyncJobResult", user="ann", resourceid="vm-ann", resourcetype="VirtualMachine")
    assert told["jobid"] == jobs["ann"] and told["jobstatus"] == 0
    for sent in ({"resourceid": "vm-eve", "resourcetype": "VirtualMachine"}, {"jobid": jobs["eve"]}, {}):
        with pytest.raises(Refused) as no:
            cloud.ask("queryAsyncJobResult", user="ann", **sent)
        assert no.value.status == 431
