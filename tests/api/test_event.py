"""Events and alerts over the wire."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from mgmt_server.api.command import registry
from mgmt_server.api.facts import of_command
from mgmt_server.db import now, reading, write
from mgmt_server.jobs.queue import LEASE, claim, join_cluster, recover
from mgmt_server.jobs.rows import Node, Timer
from mgmt_server.jobs.worker import periodic, run_due_timers
from mgmt_server.model.event import Event
from mgmt_server.resources.event.timers import purge
from mgmt_server.resources.sshkeypair.keys import pair
from tests.api.infrastructure import cluster, host, zone_with_pod
from tests.cloud import Refused

ZONE = {"networktype": "Advanced", "dns1": "192.0.2.53", "internaldns1": "192.0.2.54"}


def test_events_are_listed_by_what_and_when(cloud):
    zone = cloud.ask("createZone", name="east", **ZONE)["zone"]["id"]
    cloud.ask("updateZone", id=zone, dns2="192.0.2.55")
    first, second = cloud.ask("listEvents", keyword="ZONE.")["event"]
    assert (first["type"], second["type"]) == ("ZONE.EDIT", "ZONE.CREATE")
    assert (first["username"], first["account"], first["level"], first["state"]) == (
        "admin",
        "admin",
        "INFO",
        "Completed",
    )
    assert cloud.ask("listEvents", resourceid=zone)["count"] >= 1
    assert cloud.ask("listEvents", type="ZONE.CREATE", startdate="2000-01-01")["count"] == 1
    assert cloud.ask("listEvents", type="ZONE.CREATE", enddate="2000-01-01") == {}
    assert cloud.ask("listEvents", level="ERROR") == {}
    assert cloud.ask("listEvents", type="BOGUS") == {}
    with pytest.raises(Refused) as no:
        cloud.ask("listEvents", startdate="2020-01-02", enddate="2020-01-01")
    assert "before startdate" in no.value.text


def test_the_events_of_one_job_belong_together(cloud):
    os_type = cloud.ask("listOsTypes", description="Other Linux (64-bit)")["ostype"][0]["id"]
    zone = cloud.ask("createZone", name="east", **ZONE)["zone"]["id"]
    made = cloud.ask(
        "registerTemplate", name="t", url="http://h/x.qcow2", format="QCOW2", hypervisor="Simulator", ostypeid=os_type,
        zoneid=zone,
    )["template"][0]  # fmt: skip
    cloud.job("deleteTemplate", id=made["id"])
    done, started, scheduled = cloud.ask("listEvents", type="TEMPLATE.DELETE")["event"]
    assert [e["state"] for e in (scheduled, started, done)] == ["Scheduled", "Started", "Completed"]
    assert {started["parentid"], done["parentid"]} == {scheduled["id"]}
    assert cloud.ask("listEvents", startid=scheduled["id"])["count"] == 3


def test_what_a_job_works_on_is_told_as_made_before_it_is_queued(cloud):
    made = cloud.job("createAffinityGroup", name="apart", type="host anti-affinity")["affinitygroup"]
    told = cloud.ask("listEvents", type="AG.CREATE")["event"]
    assert [e["state"] for e in told] == ["Completed", "Started", "Scheduled", "Created"]
    assert {e["resourceid"] for e in told} == {made["id"]}
    done, started, scheduled, created = told
    assert {started["parentid"], done["parentid"]} == {scheduled["id"]} and "parentid" not in created


def test_a_job_is_told_as_started_when_it_starts_and_once(cloud):
    zone = cloud.ask("createZone", name="east", **ZONE)["zone"]["id"]
    os_type = cloud.ask("listOsTypes", description="Other Linux (64-bit)")["ostype"][0]["id"]
    made = cloud.ask(
        "registerTemplate", name="t", url="http://h/x.qcow2", format="QCOW2", hypervisor="Simulator", ostypeid=os_type,
        zoneid=zone,
    )["template"][0]  # fmt: skip
    cloud.work()

    def states():
        return [e["state"] for e in cloud.ask("listEvents", type="TEMPLATE.DELETE").get("event", [])]

    cloud.ask("deleteTemplate", id=made["id"])
    assert states() == ["Scheduled"]
    node = join_cluster("dies")
    assert write(claim, node) is not None
    assert states() == ["Started", "Scheduled"]
    assert cloud.ask("listEvents", type="TEMPLATE.DELETE", state="Started")["count"] == 1
    write(lambda tx: tx.execute(update(Node).where(Node.id == node.id).values(heartbeat=now() - LEASE)) and None)
    assert recover() == 1
    cloud.work()
    assert states() == ["Completed", "Started", "Scheduled"], "who goes on with it does not begin it"


def test_events_tell_what_they_are_about_and_its_name(cloud):
    zone = cloud.ask("createZone", name="east", **ZONE)["zone"]["id"]
    ann = cloud.account("ann")
    user = cloud.ask("listUsers", username="ann", listall=True)["user"][0]["id"]
    cloud.job("disableUser", id=user)
    cloud.ask("deleteZone", id=zone)
    told = {e["type"]: e for e in cloud.ask("listEvents", listall=True)["event"]}
    for kind, type, uuid, name in (
        ("ZONE.CREATE", "Zone", zone, "east"),
        ("ZONE.DELETE", "Zone", zone, "east"),
        ("USER.DISABLE", "User", user, ann),
    ):
        about = told[kind]["resourcetype"], told[kind]["resourceid"], told[kind]["resourcename"]
        assert about == (type, uuid, name), kind


def test_the_end_of_a_deletion_is_told_to_who_asked_for_it(cloud):
    cloud.account("ann", domain="/sub/")
    cloud.account("chief", kind=2, domain="/sub/")
    (gone,) = cloud.ask("listAccounts", name="ann", listall=True)["account"]
    cloud.job("deleteAccount", id=gone["id"])
    told = cloud.ask("listEvents", type="ACCOUNT.DELETE")["event"]
    assert {(e["account"], e["domain"]) for e in told} == {("admin", "ROOT")} and len(told) == 3
    assert cloud.ask("listEvents", user="chief", listall=True, type="ACCOUNT.DELETE") == {}


def test_tenants_see_their_own_events(cloud):
    cloud.account("ann")
    cloud.ask("createSSHKeyPair", user="ann", name="k")
    cloud.ask("createZone", name="east", **ZONE)
    assert all(e["account"] == "ann" for e in cloud.ask("listEvents", user="ann", listall=True).get("event", []))


def test_work_that_goes_on_is_found_by_how_long_it_has(cloud):
    """duration and entrytime: what began in the last hour, ten minutes ago at least, and has not ended."""

    def tell(tx, minutes, state, start=None):
        owner = tx.scalar(select(Event).limit(1))
        who = {"user_id": owner.user_id, "account_id": owner.account_id, "domain_id": owner.domain_id}
        when = {"start_id": start, "created": now() - timedelta(minutes=minutes)}
        row = Event(type="ZONE.DELETE", state=state, description="d", **who, **when)
        tx.add(row)
        tx.flush()
        return row.id, row.uuid

    cloud.ask("createZone", name="east", **ZONE)
    _, waits = write(tell, 20, "Scheduled")
    over, _ = write(tell, 20, "Scheduled")
    write(tell, 15, "Completed", over)
    write(tell, 5, "Scheduled")
    write(tell, 100, "Scheduled")
    found = cloud.ask("listEvents", type="ZONE.DELETE", entrytime=3600, duration=600)["event"]
    assert [e["id"] for e in found] == [waits]
    assert cloud.ask("listEvents", type="ZONE.DELETE", entrytime=3600)["count"] == 4
    for sent in ({"duration": 5}, {"entrytime": 5, "duration": 5}, {"entrytime": -1}, {"entrytime": 10**12}):
        with pytest.raises(Refused) as no:
            cloud.ask("listEvents", **sent)
        assert no.value.status == 431


def test_events_are_put_away_and_deleted_by_whose_they_are(cloud):
    turn = {"name": "ssh.key.length", "value": "2048"}
    cloud.ask("updateConfiguration", **turn)
    for name in ("ann", "bob"):
        cloud.account(name)
        for number in range(3):
            cloud.ask("registerSSHKeyPair", user=name, name=f"k{number}", publickey=pair()[1])
    first, second, third = (e["id"] for e in cloud.ask("listEvents", user="ann")["event"])
    cloud.ask("archiveEvents", user="ann", ids=first)
    assert [e["id"] for e in cloud.ask("listEvents", user="ann")["event"]] == [second, third]
    assert cloud.ask("listEvents", user="ann", archived=True)["count"] == 3
    bobs = cloud.ask("listEvents", user="bob")["event"][0]["id"]
    for command in ("archiveEvents", "deleteEvents"):
        for sent in ({"ids": bobs}, {"ids": f"{second},{bobs}"}, {}, {"type": "NO.SUCH"}, {"enddate": "2000-01-01"},
                     {"startdate": "2020-01-02", "enddate": "2020-01-01"}):  # fmt: skip
            with pytest.raises(Refused) as no:
                cloud.ask(command, user="ann", **sent)
            assert no.value.status == 431
    cloud.ask("deleteEvents", user="ann", ids=second)
    assert [e["id"] for e in cloud.ask("listEvents", user="ann")["event"]] == [third]
    cloud.ask("deleteEvents", user="ann", type="REGISTER.SSH.KEYPAIR")
    assert cloud.ask("listEvents", user="ann", archived=True) == {}
    assert cloud.ask("listEvents", user="bob")["count"] == 3


def test_old_events_go_after_the_days_of_the_setting(cloud):
    for number in range(3):
        cloud.ask("createZone", name=f"z{number}", **ZONE)

    def age(tx):
        ids = list(tx.scalars(select(Event.id).order_by(Event.id)))
        tx.execute(update(Event).where(Event.id.in_(ids[:-1])).values(created=now() - timedelta(days=16)))
        return len(ids)

    def left():
        with reading() as session:
            return session.scalar(select(func.count()).select_from(Event))

    count = write(age)
    cloud.ask("updateConfiguration", name="event.purge.delay", value="0")
    purge()
    assert left() == count + 1
    cloud.ask("updateConfiguration", name="event.purge.delay", value="15")
    purge()
    assert left() == 3


def test_the_purge_comes_as_often_as_its_setting_says(cloud):
    cloud.ask("updateConfiguration", name="event.purge.interval", value="1000")

    def due():
        with reading() as session:
            return session.scalar(select(Timer.due).where(Timer.name == "events.purge"))

    others = {name: periodic.pop(name) for name in list(periodic) if name != "events.purge"}
    try:
        run_due_timers()
        run_due_timers()
        assert now() + timedelta(seconds=900) < due() <= now() + timedelta(seconds=1000)
        cloud.ask("updateConfiguration", name="event.purge.interval", value="10")
        run_due_timers()
        assert due() <= now() + timedelta(seconds=10), "a shorter interval holds at once"
    finally:
        periodic.update(others)


# changing commands with an event in the protocol that none declares: they tell it in their body
TELLS_ITSELF = {
    "registerTemplate": "its answer is a list, and the event is the template's",
    "registerIso": "likewise",
    "getUploadParamsForTemplate": "its answer is a form's parameters, and the event is the template's",
    "getUploadParamsForIso": "likewise",
    "registerUserKeys": "its answer is no entity, and the event is the user's",
    "updateStoragePool": "which of three depends on what is changed",
}


def test_every_changing_command_tells_the_event_that_the_protocol_gives_it(loaded):
    silent, wrong = set(), []
    for name, command in registry.items():
        fact = of_command(name) or {}
        known = {e for key in ("events", "createEvents", "actionEvents") for e in fact.get(key, ())}
        if command.reads or not known:
            continue
        if command.event is None:
            silent.add(name)
        elif command.event not in known:
            wrong.append((name, command.event, known))
    assert not wrong
    assert silent == TELLS_ITSELF.keys() & registry.keys(), "declare event=, or say why not"


def test_a_pool_that_is_switched_off_tells_so(cloud):
    zone, pod = zone_with_pod(cloud)
    group = cluster(cloud, zone, pod)
    host(cloud, zone, pod, group)
    sent = {"zoneid": zone, "podid": pod, "clusterid": group, "name": "p", "url": "nfs://10.0.0.1/p"}
    pool = cloud.ask("createStoragePool", **sent)["storagepool"]["id"]
    for change in ({"enabled": False}, {"enabled": True}, {"tags": "fast"}):
        cloud.ask("updateStoragePool", id=pool, **change)
    told = [e["type"] for e in cloud.ask("listEvents", keyword=".PS")["event"] if e["resourceid"] == pool]
    assert told == ["UPDATE.PS", "ENABLE.PS", "DISABLE.PS"]
