"""Alerts over the wire, by mail, and as conditions that last."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from mgmt_server.db import now, reading, write
from mgmt_server.jobs.rows import Node
from mgmt_server.model.agent import Agent
from mgmt_server.model.event import Alert
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network
from mgmt_server.model.offering import NetworkOffering, ServiceOffering
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import PodAddress
from mgmt_server.resources.alert import timers
from mgmt_server.resources.alert.kinds import TYPES
from mgmt_server.resources.alert.telling import tell
from tests.api.infrastructure import cluster, host, zone_with_pod
from tests.cloud import Refused
from tests.mail import mailbox

ANOTHER = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(autouse=True)
def patience():
    timers.patience.worked()


def subjects(cloud, **sent):
    return [a["description"] for a in cloud.ask("listAlerts", **sent).get("alert", [])]


def certified(days_ago, days_left):
    values = {"certified": now() - timedelta(days=days_ago), "expires": now() + timedelta(days=days_left)}
    write(lambda tx: tx.execute(update(Agent).values(**values)) and None)
    timers.look_at_certificates()


def test_a_certificate_that_is_not_renewed_is_told_once_until_it_is(cloud):
    place = zone_with_pod(cloud)
    made = host(cloud, *place, cluster(cloud, *place))
    agent = write(lambda tx: (a := Agent(name="h", kind="host"), tx.add(a), tx.flush())[0].uuid)
    write(lambda tx: tx.execute(update(Host).where(Host.uuid == made["id"]).values(agent=agent)) and None)

    def told():
        return [a["description"] for a in cloud.ask("listAlerts", name="ALERT.CA.CERT").get("alert", [])]

    certified(300, 65)
    certified(25, 12)  # a short life: two thirds of it are just over
    assert told() == []
    for _ in range(2):
        certified(351, 14)
    (text,) = told()
    assert text.startswith(f"The certificate of host {made['name']} expires on") and "was not renewed" in text
    certified(0, 365)
    certified(351, 14)
    assert len(told()) == 2, "it was over, and came again"
    certified(0, 365)
    certified(1, 14)
    assert len(told()) == 2, "it is renewed in time"
    clusters = {"clusterid": made["clusterid"]}
    cloud.ask("updateConfiguration", name="ca.framework.cert.automatic.renewal", value="false", **clusters)
    timers.look_at_certificates()
    assert len(told()) == 3 and "is not renewed by itself (ca.framework.cert.automatic.renewal)" in told()[0]
    cloud.ask("updateConfiguration", name="ca.framework.cert.expiry.alert.period", value="13", **clusters)
    timers.look_at_certificates()
    certified(370, -2)
    assert len(told()) == 4 and "expired on" in told()[0]


def raise_one(subject="router r-4-VM fails", name="ALERT.SERVICE.DOMAINROUTER"):
    write(lambda tx: tell(tx, name, subject, "details of it"))


def test_alerts_are_listed_put_away_and_deleted(cloud):
    for number in range(3):
        raise_one(f"subject {number}")
    raise_one("memory", "ALERT.MEMORY")
    (seen,) = cloud.ask("listAlerts", type=0)["alert"]
    assert (seen["type"], seen["name"], seen["description"]) == (0, "ALERT.MEMORY", "memory") and seen["sent"]
    assert cloud.ask("listAlerts", type=1) == {}
    assert subjects(cloud, keyword="SUBJECT", name="ALERT.SERVICE.DOMAINROUTER") == [f"subject {n}" for n in (2, 1, 0)]
    assert cloud.ask("archiveAlerts", ids=seen["id"]) == {"success": True}
    assert subjects(cloud) == ["subject 2", "subject 1", "subject 0"]
    last = cloud.ask("listAlerts", pagesize=1, page=1)["alert"][0]["id"]
    cloud.ask("deleteAlerts", ids=last)
    assert subjects(cloud) == ["subject 1", "subject 0"]
    cloud.ask("deleteAlerts", type=9, startdate="2000-01-01")
    assert subjects(cloud) == []


@pytest.mark.parametrize("command", ["archiveAlerts", "deleteAlerts"])
@pytest.mark.parametrize(
    "sent",
    [{}, {"type": "x"}, {"type": 1}, {"ids": ANOTHER}, {"enddate": "2000-01-01"},
     {"startdate": "2020-01-02", "enddate": "2020-01-01"}],
)  # fmt: skip
def test_a_call_that_names_no_alert_is_refused(cloud, command, sent):
    raise_one()
    with pytest.raises(Refused) as no:
        cloud.ask(command, **sent)
    assert no.value.status == 431 and len(subjects(cloud)) == 1


def test_alerts_are_not_for_tenants(cloud):
    cloud.account("ann")
    for command in ("listAlerts", "listAlertTypes", "archiveAlerts", "deleteAlerts", "generateAlert"):
        with pytest.raises(Refused) as no:
            cloud.ask(command, user="ann")
        assert no.value.status == 432


def test_the_types_are_told_and_one_is_raised_by_hand(cloud):
    told = {t["name"]: t["alerttypeid"] for t in cloud.ask("listAlertTypes")["alerttype"]}
    assert told == TYPES and len(told) == 39
    zone, pod = zone_with_pod(cloud)
    assert cloud.job("generateAlert", type=8, name="ALERT.USERVM", description="by hand", zoneid=zone, podid=pod)
    assert cloud.job("generateAlert", type=1000, name="mine", description="by hand too")
    assert subjects(cloud) == ["by hand too", "by hand"]
    other, _ = zone_with_pod(cloud, "west")
    for wrong in ({"type": 8, "name": "mine"}, {"type": -1, "name": "mine"}, {"type": 40000, "name": "mine"},
                  {"type": 1000, "name": "m", "zoneid": other, "podid": pod}):  # fmt: skip
        with pytest.raises(Refused) as no:
            cloud.ask("generateAlert", description="d", **wrong)
        assert no.value.status == 431


def mailing(cloud, port):
    for name, value in {
        "alert.email.addresses": "ops@example.org, noc@example.org", "alert.email.sender": "cloud@example.org",
        "alert.smtp.host": "127.0.0.1", "alert.smtp.port": port,
    }.items():  # fmt: skip
        cloud.ask("updateConfiguration", name=name, value=value)


def test_an_alert_is_mailed_once(cloud):
    raise_one("before mail was set up")
    timers.post()
    with mailbox() as box:
        mailing(cloud, box.port)
        write(lambda tx: tx.execute(update(Alert).values(created=now() - timedelta(days=2))))
        raise_one()
        timers.post()
        timers.post()
    (message,) = box.messages
    assert message["Subject"] == "[ALERT.SERVICE.DOMAINROUTER] router r-4-VM fails"
    assert (message["From"], message["To"]) == ("cloud@example.org", "ops@example.org, noc@example.org")
    assert "details of it" in message.get_content()


def test_a_mail_server_that_fails_is_tried_again_later_and_later(cloud, caplog):
    raise_one()
    mailing(cloud, 1)  # nobody listens there
    timers.post()
    assert "next try in 30 s" in caplog.text and "mail server 127.0.0.1:1" in caplog.text
    timers.post()
    assert caplog.text.count("next try") == 1, "it waits"
    timers.patience._until = 0.0
    timers.post()
    assert "next try in 60 s" in caplog.text
    with mailbox() as box:
        mailing(cloud, box.port)
        timers.patience._until = 0.0
        timers.post()
    assert len(box.messages) == 1 and not timers.patience.waits()


def test_old_and_deleted_alerts_go(cloud):
    for subject in ("old", "new", "deleted"):
        raise_one(subject)
    write(lambda tx: tx.execute(update(Alert).where(Alert.subject == "old").values(created=now() - timedelta(days=9))))
    cloud.ask("deleteAlerts", ids=cloud.ask("listAlerts", keyword="deleted")["alert"][0]["id"])
    timers.purge()
    assert subjects(cloud) == ["new", "old"]
    cloud.ask("updateConfiguration", name="alert.purge.delay", value="7")
    timers.purge()
    assert subjects(cloud) == ["new"]
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Alert)) == 1


@pytest.fixture
def place(cloud):
    zone, pod = zone_with_pod(cloud)
    group = cluster(cloud, zone, pod)
    host(cloud, zone, pod, group)
    return zone, pod, group


def test_a_threshold_is_told_once_while_it_lasts_and_again_when_it_comes_back(cloud, place):
    def use(share):
        def change(tx):
            row = tx.scalar(select(Host))
            row.memory_used = int(row.memory_capacity * share)

        write(change)
        timers.look_at_capacity()

    use(0.74)
    assert subjects(cloud) == []
    use(0.76)
    use(0.80)
    assert len(subjects(cloud, type=0)) == 1 and "Memory of cluster c1 is 76% in use" in subjects(cloud)[0]
    cloud.ask("deleteAlerts", type=0)
    timers.purge()
    use(0.81)
    assert subjects(cloud) == [], "who deleted it knows"
    use(0.10)
    use(0.90)
    assert len(subjects(cloud)) == 1
    use(0.10)
    name = "cluster.memory.allocated.capacity.notificationthreshold"
    cloud.ask("updateConfiguration", name=name, value="0.95", clusterid=place[2])
    use(0.90)
    assert len(subjects(cloud)) == 1, "this cluster may be fuller"


def test_what_fills_up_is_told_each_under_its_name(cloud, place):
    def fill(tx):
        row = tx.scalar(select(Host))
        row.cpu_used = row.cpu_capacity
        shared = {"zone_id": row.zone_id, "scope": "CLUSTER", "cluster_id": row.cluster_id, "type": "NetworkFilesystem"}
        tx.add(Pool(name="nfs", path="/p", capacity=100, used=90, allocated=190, **shared))
        tx.add(Pool(name="local", path="/l", capacity=100, allocated=190, zone_id=row.zone_id, scope="HOST",
                    type="Filesystem", host_id=row.id))  # fmt: skip
        tx.add(Pool(name="off", path="/o", capacity=100, used=99, state="Maintenance", **shared))
        vm = Vm(
            name="v",
            zone_id=row.zone_id,
            service_offering_id=tx.scalar(select(ServiceOffering.id)),
            hypervisor="Simulator",
            account_id=1,
            domain_id=1,
        )
        tx.add(vm)
        tx.flush()
        tx.execute(update(PodAddress).values(vm_id=vm.id))

    write(fill)
    timers.look_at_capacity()
    names = sorted(a["name"] for a in cloud.ask("listAlerts")["alert"])
    assert names == ["ALERT.CPU", "ALERT.NETWORK.PRIVATEIP", "ALERT.STORAGE", "ALERT.STORAGE.ALLOCATED",
                     "ALERT.STORAGE.LOCAL"]  # fmt: skip


def test_hosts_servers_and_routers_that_fail_are_told_until_they_are_back(cloud, place):
    def fail(tx):
        row = tx.scalar(select(Host))
        row.state = "Down"
        node = Node(name="mgmt2", epoch=1, heartbeat=now() - timedelta(minutes=5))
        net = Network(
            name="n",
            zone_id=row.zone_id,
            offering_id=tx.scalar(select(NetworkOffering.id)),
            account_id=2,
            domain_id=1,
            state="Implemented",
        )
        tx.add_all([node, net])
        tx.flush()
        size = tx.scalar(select(ServiceOffering.id))
        tx.add(Vm(name="r-9-VM", kind="DomainRouter", state="Error", zone_id=row.zone_id, service_offering_id=size,
                  hypervisor="Simulator", account_id=2, domain_id=1, network_id=net.id))  # fmt: skip

    write(fail)
    timers.look()
    timers.look()
    assert sorted(a["name"] for a in cloud.ask("listAlerts")["alert"]) == [
        "ALERT.COMPUTE.HOST", "ALERT.MANAGEMENT", "ALERT.SERVICE.DOMAINROUTER"]  # fmt: skip
    write(lambda tx: tx.execute(update(Host).values(state="Up")))
    timers.look()
    write(lambda tx: tx.execute(update(Host).values(state="Alert")))
    timers.look()
    assert len(subjects(cloud, type=7)) == 2
