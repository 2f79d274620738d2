"""The doctor sees what is wrong, says what to do, and changes nothing."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from sqlalchemy import select, update

from mgmt_server import config as bootstrap
from mgmt_server import db, doctor, install
from mgmt_server.agents import ca
from mgmt_server.api.passwords import hashed
from mgmt_server.doctor import hosts, server, zones
from mgmt_server.model.account import User
from mgmt_server.model.agent import Agent
from mgmt_server.model.event import SettingValue
from mgmt_server.model.host import Host
from mgmt_server.model.storage import ImageStore, Pool
from mgmt_server.model.zone import Cluster, PhysicalNetwork, Pod, TrafficType, Zone
from mgmt_server.protocol.codec import dump
from mgmt_server.protocol.machine import HostFacts
from mgmt_server.web import certificate


@pytest.fixture
def built(database):
    """A zone with one KVM host whose agent is connected."""

    def make(tx):
        zone = Zone(name="east", network_type="Advanced", dns1="192.0.2.1", internal_dns1="192.0.2.1")
        tx.add(zone)
        tx.flush()
        pod = Pod(name="p", zone_id=zone.id, gateway="192.0.2.1", netmask="255.255.255.0")
        network = PhysicalNetwork(name="n", zone_id=zone.id)
        tx.add_all([pod, network])
        tx.flush()
        tx.add(TrafficType(physical_network_id=network.id, type="Guest", labels={"KVM": "cloudbr0"}))
        cluster = Cluster(name="c", zone_id=zone.id, pod_id=pod.id, hypervisor="KVM")
        tx.add(cluster)
        tx.flush()
        facts = HostFacts("kvm1", "192.0.2.11", "KVM", "8.2", 4, 1, 2400, 16 << 30, bridges=("cloudbr0",), clock=_at(0))
        agent = Agent(name="kvm1", kind="host", node="n1", seen=db.now(), facts=dump(facts).decode())
        tx.add(agent)
        tx.flush()
        where = {"zone_id": zone.id, "pod_id": pod.id, "cluster_id": cluster.id}
        tx.add(Host(name="kvm1", hypervisor="KVM", url="x", address="192.0.2.11", guid="g", agent=agent.uuid, **where))
        tx.add(Pool(name="ps", scope="CLUSTER", type="NetworkFilesystem", path="/x", capacity=100, used=10, **where))

    db.write(make)


def _at(seconds):
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def statuses(check, config=None):
    return {(f.status, f.name) for f in check(config)}


def change(table, **values):
    db.write(lambda tx: tx.execute(update(table).values(**values)))


def test_a_healthy_zone_is_told_so(built):
    assert statuses(hosts.agents) == {("ok", "agents")}
    assert statuses(hosts.states) == {("ok", "hosts")}
    assert statuses(hosts.bridges) == {("ok", "bridges")}
    assert statuses(hosts.clocks) == {("ok", "host clocks")}
    assert statuses(zones.pools) == {("ok", "primary storage")}
    assert {f.status for f in zones.addresses(None)} == {"fail"}  # it has no ranges at all


def test_hosts_that_are_wrong_are_told_with_the_reason(built):
    change(Host, state="Alert", details={"reason": "pool /x: no space"})
    (found,) = hosts.states(None)
    assert found.status == "fail" and "kvm1 is Alert: pool /x: no space" in found.evidence
    change(Agent, node="")
    assert statuses(hosts.agents) == {("fail", "agents")}
    facts = HostFacts("kvm1", "192.0.2.11", "KVM", "8.2", 4, 1, 2400, 1, bridges=("br9",), clock=_at(-90))
    change(Agent, node="n1", seen=db.now(), facts=dump(facts).decode())
    (found,) = hosts.bridges(None)
    assert found.status == "fail" and "kvm1 has no cloudbr0, which carries Guest of n; it has br9" in found.evidence
    (found,) = hosts.clocks(None)
    assert found.status == "fail" and "-90 s off" in found.evidence
    db.write(lambda tx: tx.add(Agent(name="kvm2", kind="host", node="n1")))
    assert ("warn", "agents without a host") in statuses(hosts.agents)


def test_a_host_that_cannot_limit_nics_is_told(built):
    assert statuses(hosts.nic_limits) == {("ok", "NIC limits")}
    facts = HostFacts("kvm1", "192.0.2.11", "KVM", "8.2", 4, 1, 2400, 16 << 30, limits_nics=False)
    change(Agent, facts=dump(facts).decode())
    (found,) = hosts.nic_limits(None)
    assert found.status == "warn" and "kvm1 cannot limit" in found.evidence and "sch_htb" in found.remedy


def test_the_certificates_of_hosts_are_looked_at(built):
    assert statuses(hosts.certificates) == {("skipped", "host certificates")}
    begun = db.now() - timedelta(days=300)
    for days, status in ((65, "ok"), (5, "warn"), (-1, "fail")):
        change(Agent, certified=begun, expires=db.now() + timedelta(days=days))
        (found,) = hosts.certificates(None)
        assert found.status == status and ("kvm1" in found.evidence) is (status != "ok")
    assert "agent enroll --force" in found.remedy


def test_storage_is_looked_at(built, tmp_path):
    change(Pool, used=97)
    assert statuses(zones.pools) == {("fail", "primary storage")}
    change(Pool, used=90)
    assert statuses(zones.pools) == {("warn", "primary storage")}
    change(Pool, used=0, state="Maintenance")
    assert statuses(zones.pools) == {("warn", "primary storage")}
    store = {"name": "s", "url": f"file://{tmp_path}", "protocol": "file"}
    db.write(lambda tx: tx.add(ImageStore(zone_id=tx.scalar(select(Zone.id)), **store)))
    assert {f.name for f in zones.stores(None) if f.status != "fail"} == {"secondary storage"}
    assert statuses(zones.system_templates) == {("fail", "system VM image")}
    change(ImageStore, url="nfs://127.0.0.1/nowhere")
    assert statuses(zones.stores) == {("fail", "secondary storage")}


def test_the_server_is_looked_at(database, tmp_path, config):
    assert statuses(server.administrator) == {("ok", "administrator")}
    change(User, password=hashed("password"))
    assert statuses(server.administrator) == {("fail", "administrator")}
    config.advertise = "192.0.2.5"
    assert statuses(server.settings, config) == {("ok", "address"), ("ok", "management network")}
    db.write(lambda tx: tx.add(SettingValue(name="management.network.cidr", value="10.0.0.0/8")))
    assert ("fail", "management network") in statuses(server.settings, config)
    change(SettingValue, value="nonsense")
    assert ("fail", "management network") in statuses(server.settings, config)
    assert statuses(server.nodes) == {("fail", "servers")}
    config.integration_port, config.integration_address, config.listen = 8096, "192.0.2.5", "127.0.0.1:1"
    found = statuses(server.ports, config)
    assert {("fail", "integration port"), ("fail", "API port"), ("skipped", "agents port")} == found
    config.integration_address = "127.0.0.1"
    assert ("warn", "integration port") in statuses(server.ports, config)


def test_the_certificate_of_the_api_is_looked_at(database, monkeypatch, config):
    assert statuses(server.certificate, config) == {("skipped", "API certificate")}
    config.tls_listen = "127.0.0.1:8443"
    assert statuses(server.certificate, config) == {("fail", "API certificate")}  # there is none
    ca.create()
    assert certificate.prepare(config) and statuses(server.certificate, config) == {("ok", "API certificate")}
    for days, status in ((340, "warn"), (400, "fail")):
        monkeypatch.setattr(certificate, "expires", lambda _, at=days: datetime.now(UTC) + timedelta(days=365 - at))
        assert statuses(server.certificate, config) == {(status, "API certificate")}


def test_files_that_others_may_read_are_told(tmp_path):
    key, file = tmp_path / "secret.key", tmp_path / "c.toml"
    install.make_key(key)
    config = bootstrap.Config(database="sqlite://", data=tmp_path, key=f"file:{key}", source=str(file))
    file.write_text("x")
    file.chmod(0o644)
    key.chmod(0o640)
    found = {f.name: f for f in server.files(config)}
    assert found["configuration file"].status == "fail" and "chmod 0640" in found["configuration file"].remedy
    assert found["encryption key"].status == "ok"
    key.unlink()
    assert ("fail", "encryption key") in statuses(server.files, config)


def test_the_report_ends_with_one_when_something_fails(tmp_path, capsys):
    assert doctor.report(tmp_path / "missing.toml", True) == 1
    told = orjson.loads(capsys.readouterr().out)
    assert told["ok"] is False and told["checks"][0]["name"] == "configuration"
    (tmp_path / "c.toml").write_text(
        f'database = "mysql://x@127.0.0.1:1/x"\ndata = "{tmp_path}"\nkey = "env:NOTHING"\n'
    )
    assert doctor.report(tmp_path / "c.toml", False) == 1
    assert "the encryption key is expected" in capsys.readouterr().out
