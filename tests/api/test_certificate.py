"""The cloud's certificate authority over the wire, and new certificates for hosts."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from sqlalchemy import select, text, update

from mgmt_server.agent.certificate import make_csr
from mgmt_server.agents import ca, directory
from mgmt_server.db import Base, new_uuid, reading, write
from mgmt_server.drivers.hypervisor import dispatch
from mgmt_server.errors import NotPermitted
from mgmt_server.model.agent import Agent
from mgmt_server.model.host import Host
from mgmt_server.protocol.identity import CertificateRequest, role_of, uri_of
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


# --- certificates for services of the operator's own ---


def issued(cloud, **sent):
    found = cloud.job("issueCertificate", **sent)["certificates"]
    assert found["cacertificates"] == ca.load().pem
    made = x509.load_pem_x509_certificate(found["certificate"].encode())
    made.verify_directly_issued_by(ca.load().certificate)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return made, names, found


def test_a_service_gets_a_certificate_with_a_key_that_is_told_once(cloud):
    made, names, found = issued(cloud, domain="db.example.org, *.example.org", ipaddress="192.0.2.9", duration=30)
    key = serialization.load_pem_private_key(found["privatekey"].encode(), None)
    assert key.public_key() == made.public_key()
    assert names.get_values_for_type(x509.DNSName) == ["db.example.org", "*.example.org"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.9"]
    assert made.not_valid_after_utc - made.not_valid_before_utc == timedelta(days=30) + ca.BACKDATE
    usages = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.SERVER_AUTH], "a client could act as a host's towards libvirt"
    assert "CA.CERTIFICATE.ISSUE" in [e["type"] for e in cloud.ask("listEvents", listall=True)["event"]]
    secret = found["privatekey"].split("\n")[1]
    with reading() as session:
        for table in Base.metadata.sorted_tables:
            kept = session.execute(select(text("*")).select_from(table)).all()  # as it stands there, nothing deciphered
            assert secret not in str(kept), table.name


def test_a_request_keeps_its_key_and_gives_its_names_and_nothing_else(cloud):
    key = rsa.generate_private_key(65537, 2048)
    san = [x509.DNSName("lb.example.org"), x509.UniformResourceIdentifier(uri_of("server", new_uuid()))]
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = request.add_extension(x509.SubjectAlternativeName(san), critical=False)
    request = request.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    made, names, found = issued(cloud, csr=pem)
    assert "privatekey" not in found and made.public_key() == key.public_key()
    assert names.get_values_for_type(x509.DNSName) == ["lb.example.org"]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [] and role_of(made) is None
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    with pytest.raises(NotPermitted, match="names no role"):
        ca.load().identify(made.public_bytes(serialization.Encoding.DER))
    _, names, _ = issued(cloud, csr=pem, domain="other.example.org")
    assert names.get_values_for_type(x509.DNSName) == ["other.example.org"]


def weak():
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505  it shall be refused
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({}, "send domain, or a csr"),
        ({"csr": "x"}, "no PEM of PKCS#10"),
        ({"csr": weak, "domain": "a"}, "RSA with 2048"),
        ({"domain": "a b"}, "no name of a host"),
        ({"domain": "-o"}, "no name of a host"),
        ({"ipaddress": "192.0.2.999"}, "no IP address"),
        ({"domain": "a", "duration": 0}, "send days from 1"),
        ({"domain": "a", "duration": 3651}, "send days from 1"),
        ({"domain": "a", "provider": "other"}, "root"),
    ],
)
def test_what_cannot_be_certified_is_refused(cloud, sent, told):
    with pytest.raises(Refused) as no:
        cloud.ask("issueCertificate", **{k: v() if callable(v) else v for k, v in sent.items()})
    assert no.value.status == 431 and told in no.value.text


# --- certificates that end ---


@pytest.mark.parametrize(("serial", "left"), [("5", ("", "6")), ("0x06", ("5", ""))])
def test_a_revoked_certificate_is_no_agents_any_more(cloud, kvm, serial, left):
    cut = []
    end = cut.append
    write(lambda tx: tx.execute(update(Agent).values(node="n1")))
    directory.links.append(end)
    try:
        assert cloud.job("revokeCertificate", serial=serial, cn="kvm1.example.org") == {"success": True}
    finally:
        directory.links.remove(end)
    row = agent_row()
    assert (row.serial, row.next_serial) == left and row.node == "" and cut == [kvm["agent"]]
    assert "CA.CERTIFICATE.REVOKE" in [e["type"] for e in cloud.ask("listEvents", listall=True)["event"]]
    with pytest.raises(Refused, match="no agent is let in with a certificate of this serial"):
        cloud.ask("revokeCertificate", serial=serial)


@pytest.mark.parametrize("sent", [{"serial": "7"}, {"serial": "x"}, {"serial": "5", "cn": "other"}, {"serial": ""}])
def test_what_is_no_certificate_of_an_agent_is_not_revoked(cloud, kvm, sent):
    with pytest.raises(Refused) as no:
        cloud.ask("revokeCertificate", **sent)
    assert no.value.status == 431 and agent_row().serial == "5"
