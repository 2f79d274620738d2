"""Names under threads, on both databases: of many that make the same thing at once, one does; of many that use up a
thing or end it, one does."""

from __future__ import annotations

import pytest

from mgmt_server import db, install
from mgmt_server.db import new_uuid
from tests.cloud import Cloud, Refused
from tests.db.test_races import at_once
from tests.simulated import build

ZONE = {"dns1": "192.0.2.1", "internaldns1": "192.0.2.1", "networktype": "Advanced"}
PERSON = {"firstname": "a", "lastname": "b", "email": "a@example.org", "password": "Wq7-long-enough"}
NAMED = {
    "createDomain": {},
    "createRole": {"type": "User"},
    "createSSHKeyPair": {},
    "createProject": {"displaytext": "p"},
    "createAffinityGroup": {"type": "host affinity"},
    "createInstanceGroup": {},
    "registerUserData": {"userdata": "aGVsbG8="},
    "createZone": ZONE,
    "createAccount": {**PERSON, "accounttype": 0},
    "createUser": {**PERSON, "account": "admin"},
    "createPod": {"startip": "192.0.2.10", "endip": "192.0.2.20", "gateway": "192.0.2.1", "netmask": "255.255.255.0"},
    "createPhysicalNetwork": {},
    "addCluster": {"hypervisor": "Simulator", "clustertype": "CloudManaged"},
}
IN_ZONE = ("createPod", "createPhysicalNetwork", "addCluster")
FIELD = {"addCluster": "clustername", "createAccount": "username", "createUser": "username"}


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def cloud(request):
    request.getfixturevalue("database" if request.param == "sqlite" else "on_mariadb")
    install.give_keys()
    db.forget_rows()
    return Cloud()


def sorted_out(given):
    won = [g for g in given if not isinstance(g, Exception)]
    lost = [g for g in given if isinstance(g, Exception)]
    assert all(isinstance(g, Refused) and g.status in (431, 530, 531) for g in lost), lost[:3]
    return won, lost


def ended(cloud, accepted):
    """What a job answers, or the refusal that it or its call ended with."""
    if isinstance(accepted, Exception):
        return accepted
    cloud.work()
    done = cloud.ask("queryAsyncJobResult", jobid=accepted["jobid"])
    return done["jobresult"] if done["jobstatus"] == 1 else Refused(done["jobresultcode"], done["jobresult"])


@pytest.mark.parametrize("command", NAMED)
def test_of_many_that_take_one_name_one_gets_it(cloud, command):
    name = f"n{new_uuid()[:8]}"
    within = {}
    if command in IN_ZONE:
        zone = cloud.ask("createZone", name=f"z{name}", **ZONE)["zone"]["id"]
        within = {"zoneid": zone}
        if command == "addCluster":
            pod = cloud.ask("createPod", name="p", zoneid=zone, **NAMED["createPod"])["pod"]["id"]
            within["podid"] = pod
    sent = {FIELD.get(command, "name"): name, **NAMED[command], **within}
    given = at_once(lambda _: cloud.ask(command, **sent))
    if command in ("createPhysicalNetwork", "createAffinityGroup"):
        given = [ended(cloud, g) for g in given]
    won, lost = sorted_out(given)
    assert len(won) == 1, (len(won), won[:2])
    assert name in lost[0].text or "name" in lost[0].text.lower()
    assert "internal error" not in "".join(no.text for no in lost)


def test_of_many_that_start_stop_and_destroy_a_machine_each_job_ends_and_one_state_is_left(cloud):
    account = f"u{new_uuid()[:8]}"
    place = build(name=f"z-{account}", hosts=1)
    cloud.account(account)
    offering = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    sent = {"zoneid": place["zone"], "templateid": place["template"], "serviceofferingid": offering}
    vm = cloud.job("deployVirtualMachine", user=account, **sent)["virtualmachine"]
    words = ["stopVirtualMachine", "startVirtualMachine", "rebootVirtualMachine", "destroyVirtualMachine"]
    given = at_once(lambda n: cloud.ask(words[n % 4], user=account, id=vm["id"]))
    cloud.work()
    for told in given:
        if isinstance(told, Exception):
            assert isinstance(told, Refused) and "internal error" not in told.text, told
        else:
            assert cloud.ask("queryAsyncJobResult", user=account, jobid=told["jobid"])["jobstatus"] in (1, 2)
    left = cloud.ask("listVirtualMachines", id=vm["id"], listall=True)["virtualmachine"][0]
    assert left["state"] in ("Running", "Stopped", "Destroyed"), left["state"]
