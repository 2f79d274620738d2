"""The cloud's certificate authority over the wire, and new certificates for hosts."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select, update

from mgmt_server.agent.certificate import make_csr
from mgmt_server.agents import ca
from mgmt_server.db import reading, write
from mgmt_server.drivers.hypervisor import dispatch
from mgmt_server.model.agent import Agent
from mgmt_server.model.host import Host
from mgmt_server.protocol.identity import CertificateRequest
from tests.api.infrastructure import cluster, host, zone_with_pod
from tests.cloud import Refused


@pytest.fixture
def kvm(cloud):
    """A host with an agent."""
    place = zone_with_pod(cloud)
    made = host(cloud, *place, cluster(cloud, *place))

    def join(tx):
        agent = Agent(name="kvm1.example.org", kind="host", address="192.0.2.11", serial="5", next_serial="6")
        tx.add(agent)
        tx.flush()
        tx.execute(update(Host).where(Host.uuid == made["id"]).values(agent=agent.uuid, hypervisor="KVM"))
        return agent.uuid

    return made | {"agent": write(join)}


def agent_row():
    with reading() as session:
        return session.scalars(select(Agent)).one()


def test_everybody_reads_the_authoritys_certificate_and_nobody_its_key(cloud):
    cloud.account("ann")
    told = cloud.ask("listCaCertificate", user="ann", provider="root")["cacertificates"]
    assert told == {"certificate": ca.load().pem}
    (provider,) = cloud.ask("listCAProviders", name="root")["caprovider"]
    assert provider["name"] == "root" and cloud.ask("listCAProviders", name="other") == {}
    with pytest.raises(Refused, match="root"):
        cloud.ask("listCaCertificate", provider="other")


@pytest.mark.parametrize("held", ["5", "6", "7"])
def test_a_host_gets_a_new_certificate_and_the_one_that_it_has_stays_good(cloud, kvm, monkeypatch, held):
    key, taken = ec.generate_private_key(ec.SECP256R1()), []

    class Driver:
        def certificate_request(self, host):
            return CertificateRequest(make_csr(key, "x"), held)

        def take_certificate(self, call, host, pem, relink):
            taken.append((pem, relink))

    monkeypatch.setitem(dispatch._drivers, "KVM", Driver())
    if held == "7":
        with pytest.raises(Refused, match="its certificate was replaced: enrol it again"):
            cloud.job("provisionCertificate", hostid=kvm["id"])
        assert not taken and agent_row().next_serial == "6"
        return
    # also where agents get none by themselves
    cloud.ask("updateConfiguration", name="ca.framework.cert.automatic.renewal", value="false")
    assert cloud.job("provisionCertificate", hostid=kvm["id"], reconnect=True) == {"success": True}
    ((pem, relink),) = taken
    made = x509.load_pem_x509_certificate(pem.encode())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert relink is True and made.public_key() == key.public_key()
    assert f"urn:cloudwright:host:{kvm['agent']}" in names.get_values_for_type(x509.UniformResourceIdentifier)
    assert "kvm1" in names.get_values_for_type(x509.DNSName)
    row = agent_row()
    assert (row.serial, row.next_serial) == (held, f"{made.serial_number:x}")
    assert row.expires == made.not_valid_after_utc.replace(tzinfo=None)
    events = [e["type"] for e in cloud.ask("listEvents", listall=True)["event"]]
    assert "CA.CERTIFICATE.PROVISION" in events


def test_a_host_without_an_agent_has_none(cloud):
    place = zone_with_pod(cloud)
    made = host(cloud, *place, cluster(cloud, *place))
    with pytest.raises(Refused, match="has no certificate"):
        cloud.ask("provisionCertificate", hostid=made["id"])
