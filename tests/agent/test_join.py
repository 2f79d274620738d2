"""Who may link: certificates, tokens, roles, and how certificates are renewed and revoked."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from conftest import Enrol, FakeHost, eventually
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from talking import hello, talk
from websockets.asyncio.client import connect

from mgmt_server import db
from mgmt_server.agent import certificate, config
from mgmt_server.agent.certificate import make_csr
from mgmt_server.agent.client import Refused, check_server, client_context, trusting
from mgmt_server.agent.enroll import enroll
from mgmt_server.agents import ca, directory, tokens
from mgmt_server.agents.server import Link
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.hypervisor.kvm import Kvm
from mgmt_server.errors import Failed, NotPermitted, ParameterError, Unavailable
from mgmt_server.model.agent import Agent, AgentToken
from mgmt_server.protocol import link as wire
from mgmt_server.protocol.link import Welcome
from mgmt_server.resources.setting import values

# the agent is stopped while it waits to dial again
DIALLING = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


def context_of(authority: ca.Authority, role: str, uuid: str, folder: Path, validity: timedelta = timedelta(days=365)):
    """What somebody with a certificate of that role would use."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate, serial = authority.sign(make_csr(key, "x"), role, uuid, "kvm1", validity)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / f"{uuid4()}.pem"
    path.write_bytes(private + certificate.encode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(path)
    return context, serial


def test_enrolled_agent_is_welcome(link: Link, enrolled: config.Config) -> None:
    answer = talk(link, client_context(enrolled), hello(enrolled.uuid))
    assert isinstance(answer, Welcome) and answer.epoch == 1
    assert (enrolled.key.stat().st_mode & 0o777, enrolled.name) == (0o600, "kvm1")


def test_without_certificate(link: Link) -> None:
    code, text = talk(link, trusting(pem=link.authority.pem), hello(str(uuid4())))
    assert code == 401 and "enrol" in text


def test_foreign_certificate_is_refused_by_tls(link: Link, enrolled: config.Config, tmp_path: Path) -> None:
    context, _ = context_of(ca.generate(), "host", enrolled.uuid, tmp_path)
    assert "tls" in str(talk(link, context, hello(enrolled.uuid)))
    assert link.connected() == []


def test_expired_certificate_is_refused(link: Link, enrolled: config.Config, tmp_path: Path) -> None:
    context, serial = context_of(link.authority, "host", enrolled.uuid, tmp_path, timedelta(seconds=-60))
    db.write(lambda tx: tx.execute(update(Agent).values(serial=serial)))
    assert "tls" in str(talk(link, context, hello(enrolled.uuid)))
    with pytest.raises(NotPermitted, match="was valid until"):
        der = ssl.PEM_cert_to_DER_cert(enrolled.certificate.read_text())
        link.authority.identify(der, datetime.now(UTC) + timedelta(days=400))


@pytest.mark.parametrize(("role", "kind"), [("server", "server"), ("server", "host"), ("systemvm", "host")])
def test_no_role_passes_for_another(link: Link, enrolled: config.Config, tmp_path: Path, role: str, kind: str) -> None:
    context, serial = context_of(link.authority, role, enrolled.uuid, tmp_path)
    db.write(lambda tx: tx.execute(update(Agent).values(serial=serial)))
    answer = talk(link, context, hello(enrolled.uuid, kind))
    assert isinstance(answer, tuple) and answer[0] in (403, wire.REFUSED)


def test_one_host_cannot_be_another(link: Link, enrolled: config.Config, enrol: Enrol) -> None:
    other = config.load(enrol("kvm2") / "agent.toml")
    answer = talk(link, client_context(enrolled), hello(other.uuid))
    assert answer == (wire.REFUSED, "The hello names another agent than the certificate")


def test_an_agent_refuses_a_server_that_is_a_host(link: Link, enrolled: config.Config, tmp_path: Path) -> None:
    """Another host's certificate, used as a server's."""

    async def impostor() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pem = tmp_path / "host.pem"
        pem.write_text(enrolled.certificate.read_text() + enrolled.key.read_text())
        context.load_cert_chain(pem)
        from websockets.asyncio.server import serve

        async with serve(lambda c: c.wait_closed(), "127.0.0.1", 0, ssl=context) as server:
            port = server.sockets[0].getsockname()[1]
            async with connect(f"wss://127.0.0.1:{port}/agent", ssl=client_context(enrolled), proxy=None) as c:
                check_server(c)

    with pytest.raises(Refused, match="not a management server's"):
        asyncio.run(impostor())


def test_token_is_spent_once(link: Link, tmp_path: Path) -> None:
    token, servers = tokens.issue("kvm1"), [f"127.0.0.1:{link.port}"]
    path = str(tmp_path / "a" / "agent.toml")
    assert enroll(servers, token, link.authority.fingerprint, path) is True
    assert enroll(servers, "whatever", link.authority.fingerprint, path) is False  # a valid certificate is there
    with pytest.raises(NotPermitted, match="enroll-token"):
        enroll(servers, token, link.authority.fingerprint, path, force=True)


def test_token_expires_and_is_bound(link: Link, tmp_path: Path) -> None:
    servers, path = [f"127.0.0.1:{link.port}"], str(tmp_path / "agent.toml")
    token = tokens.issue("kvm1")
    for wrong in ({"name": "kvm2"}, {"kind": "systemvm"}):
        with pytest.raises(NotPermitted):
            enroll(servers, token, link.authority.fingerprint, path, **wrong)
    db.write(lambda tx: tx.execute(update(AgentToken).values(expires=db.now() - timedelta(seconds=1))))
    with pytest.raises(NotPermitted, match="older than an hour"):
        enroll(servers, token, link.authority.fingerprint, path)
    assert not Path(path).exists()
    with db.reading() as session:
        assert token not in str(session.query(AgentToken.digest).all())


def test_the_token_goes_to_the_right_cloud_only(link: Link, tmp_path: Path) -> None:
    token = tokens.issue("kvm1")
    with pytest.raises(Failed, match="The token was not sent"):
        enroll([f"127.0.0.1:{link.port}"], token, "0" * 64, str(tmp_path / "agent.toml"))
    assert len(tokens.open_tokens()) == 1


def test_enrol_says_what_is_wrong(link: Link, tmp_path: Path) -> None:
    path, good = str(tmp_path / "agent.toml"), link.authority.fingerprint
    with pytest.raises(ParameterError, match="SHA-256 in hex"):
        enroll(["mgmt:8250"], "t", "abc", path)
    with pytest.raises(ParameterError, match="HOST:PORT"):
        enroll(["mgmt"], "t", good, path)
    with pytest.raises(ParameterError, match="--accelerator"):
        enroll(["mgmt:8250"], "t", good, path, accelerator="xen")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match="port 8250 is reachable"):
            enroll([f"127.0.0.1:{closed.getsockname()[1]}"], "t", good, path)


def test_enrolling_again_keeps_the_uuid_and_ends_the_old_certificate(link: Link, enrol: Enrol) -> None:
    first = config.load(enrol(folder="first") / "agent.toml")
    second = config.load(enrol(folder="second") / "agent.toml")
    assert first.uuid == second.uuid
    code, reason = talk(link, client_context(first), hello(first.uuid))
    assert code == wire.REFUSED and "replaced by a newer one" in reason
    assert isinstance(talk(link, client_context(second), hello(second.uuid)), Welcome)


def test_removed_agent_is_refused(link: Link, enrolled: config.Config) -> None:
    directory.remove(enrolled.uuid)
    assert talk(link, client_context(enrolled), hello(enrolled.uuid))[0] == wire.REFUSED


@DIALLING
def test_a_revoked_certificate_is_cut_refused_and_not_renewed(link: Link, host: FakeHost) -> None:
    eventually(link.connected)
    identity = link.authority.identify(ssl.PEM_cert_to_DER_cert(host.config.certificate.read_text()))
    key = serialization.load_pem_private_key(host.config.key.read_bytes(), None)
    with db.reading() as session:
        number = directory.holder(session, identity.serial).id
    directory.cut(db.write(directory.revoke, number, identity.serial))
    eventually(lambda: not link.connected())
    code, reason = talk(link, client_context(host.config), hello(host.uuid))
    assert code == wire.REFUSED and "replaced by a newer one" in reason
    with pytest.raises(NotPermitted, match="enrol it again"):  # over a link from before
        directory.renew(link.authority, identity, make_csr(key, "x"))
    with db.reading() as session:
        row = session.scalars(select(Agent)).one()
    assert (row.serial, row.next_serial, row.node) == ("", "", "")


@DIALLING
def test_a_link_on_another_node_ends_when_its_certificate_is_revoked(link: Link, host: FakeHost) -> None:
    """Nobody tells that node: it looks by itself."""
    eventually(link.connected)
    identity = link.authority.identify(ssl.PEM_cert_to_DER_cert(host.config.certificate.read_text()))
    with db.reading() as session:
        number = directory.holder(session, identity.serial).id
    db.write(directory.revoke, number, identity.serial)
    eventually(lambda: not link.connected())


def test_renewal(link: Link, enrol: Enrol) -> None:
    folder = enrol()
    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
    uuid = config.load(folder / "agent.toml").uuid
    # a certificate near its end: its life began five minutes ago and ends in one
    old, serial = link.authority.sign(make_csr(key, "x"), "host", uuid, "kvm1", timedelta(minutes=1))
    (folder / "certificate.pem").write_text(old)
    db.write(lambda tx: tx.execute(update(Agent).values(serial=serial)))
    host = FakeHost(folder)
    new = eventually(lambda: (t := (folder / "certificate.pem").read_text()) != old and t)
    host.stop()
    left = x509.load_pem_x509_certificate(new.encode()).not_valid_after_utc - datetime.now(UTC)
    assert left > timedelta(days=300)
    host.start()
    eventually(lambda: link.connected())
    with db.reading() as session:
        row = session.query(Agent).one()
    assert (row.serial, row.next_serial) == (f"{x509.load_pem_x509_certificate(new.encode()).serial_number:x}", "")
    host.stop()
    # the old one is worth nothing from now on
    (folder / "certificate.pem").write_text(old)
    assert talk(link, client_context(host.config), hello(uuid))[0] == wire.REFUSED


def test_where_renewal_is_switched_off_the_agent_is_told_so(link: Link, enrolled: config.Config) -> None:
    identity = link.authority.identify(ssl.PEM_cert_to_DER_cert(enrolled.certificate.read_text()))
    key = serialization.load_pem_private_key(enrolled.key.read_bytes(), None)
    with db.reading() as session:
        before = session.scalars(select(Agent)).one()
    assert before.expires == identity.not_after.replace(tzinfo=None) and before.certified < db.now()
    db.write(values.keep, ca.AUTOMATIC, None, "false")
    with pytest.raises(NotPermitted, match="ca.framework.cert.automatic.renewal.*enrol kvm1 again"):
        directory.renew(link.authority, identity, make_csr(key, "x"))
    db.write(values.keep, ca.AUTOMATIC, None, "true")
    db.write(values.keep, ca.PERIOD, None, "1000")
    directory.renew(link.authority, identity, make_csr(key, "x"))
    with db.reading() as session:
        after = session.scalars(select(Agent)).one()
    assert after.expires - before.expires > timedelta(days=600) and after.next_serial


def test_a_server_gives_a_new_certificate_and_the_agent_dials_anew_with_it(link: Link, host: FakeHost) -> None:
    host.work.commands |= certificate.commands(host.config, host.client.relink)
    kvm, at = Kvm(link), HostRef(str(uuid4()), "kvm1", "KVM", host.uuid)
    wanted = kvm.certificate_request(at)
    new = directory.provide(link.authority, host.uuid, wanted.csr, wanted.serial)
    epoch = link.connected()[0].epoch
    kvm.take_certificate(uuid4(), at, new, True)
    assert host.config.certificate.read_text() == new
    eventually(lambda: [c for c in link.connected() if c.epoch > epoch])
    serial = f"{x509.load_pem_x509_certificate(new.encode()).serial_number:x}"
    with db.reading() as session:
        row = session.scalars(select(Agent)).one()
    assert (row.serial, row.next_serial) == (serial, "") and wanted.serial != serial
    stranger = make_csr(ec.generate_private_key(ec.SECP256R1()), "x")
    other = directory.provide(link.authority, host.uuid, stranger, serial)
    with pytest.raises(Failed, match="for another key"):
        kvm.take_certificate(uuid4(), at, other, True)
    assert host.config.certificate.read_text() == new


def test_a_certificate_is_good_for_as_long_as_the_setting_says(enrol: Enrol) -> None:
    def keep(tx: Session) -> None:
        values.keep(tx, ca.PERIOD, None, "30")

    db.write(keep)
    made = x509.load_pem_x509_certificate((enrol() / "certificate.pem").read_bytes())
    assert timedelta(days=29) < made.not_valid_after_utc - datetime.now(UTC) <= timedelta(days=30)
