"""The API with TLS: its certificate, made and given."""

import socket
import ssl

import pytest
import requests
from cryptography import x509

from mgmt_server.agents import ca
from mgmt_server.config import ConfigurationError
from mgmt_server.db import write
from mgmt_server.resources.setting.values import keep
from mgmt_server.web import certificate
from tests.certificates import authority, serving
from tests.mariadb import free_port
from tests.server import running
from tests.web.conftest import URL


@pytest.fixture
def secure(database, config):
    ca.create()
    config.tls_listen, config.advertise, config.node = "0.0.0.0:8443", "cloud.example.org", "n1"
    return config


def named(config):
    found = x509.load_pem_x509_certificate(certificate.files(config)[0].read_bytes())
    alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(getattr(n, "value", "")) for n in alternatives}, found.serial_number


def test_a_certificate_is_made_once_and_for_the_names(secure):
    assert certificate.prepare(secure) and not certificate.prepare(secure)
    names, serial = named(secure)
    assert {"cloud.example.org", "n1", "localhost", "127.0.0.1"} <= names
    secure.advertise = "192.0.2.7"
    assert certificate.prepare(secure) and not certificate.prepare(secure)
    assert "192.0.2.7" in named(secure)[0] and named(secure)[1] != serial
    assert certificate.files(secure)[1].stat().st_mode & 0o777 == 0o600
    certificate.files(secure)[0].write_text("nonsense")
    assert certificate.prepare(secure)
    write(lambda tx: keep(tx, ca.SAN, None, "api.example.org"))
    assert certificate.prepare(secure) and "api.example.org" in named(secure)[0]


def test_what_the_operator_gave_is_left_alone_and_told_when_it_is_wrong(secure, tmp_path):
    secure.tls_certificate = str(tmp_path / "c.pem")
    with pytest.raises(ConfigurationError, match="go together"):
        certificate.files(secure)
    secure.tls_key = str(tmp_path / "k.pem")
    assert not certificate.prepare(secure)
    with pytest.raises(ConfigurationError, match=r"c.pem with the key .*k.pem cannot be used"):
        certificate.load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), secure)


def test_a_server_answers_on_both_ports(tmp_path):
    port = free_port()
    with running(tmp_path / "cloud", "--tls-listen", f"127.0.0.1:{port}") as server:
        authority = server.data / "ca.pem"
        authority.write_text(
            "-----BEGIN" + (server.data / "tls/certificate.pem").read_text().rpartition("-----BEGIN")[2]
        )
        there = f"https://localhost:{port}"
        assert requests.get(f"{there}/healthz", verify=str(authority), timeout=20).json()["healthy"]
        assert requests.get(f"http://127.0.0.1:{server.port}/healthz", timeout=20).json()["healthy"]
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"{there}/healthz", timeout=20)  # nobody else's CA knows it
        known = server.credentials
        sent = {"command": "login", "username": "admin", "password": known["password"], "response": "json"}
        answered = requests.post(there + URL, data=sent, verify=str(authority), timeout=20)
        assert answered.status_code == 200 and "; Secure" in answered.headers["set-cookie"]


def test_clients_get_the_operators_own_certificate(tmp_path):
    own, signer = authority()
    serving(signer, tmp_path)
    both, mark = (tmp_path / "server.pem").read_text(), "-----BEGIN PRIVATE KEY"
    given, key = tmp_path / "given.pem", tmp_path / "given.key"
    given.write_text(both.partition(mark)[0])
    key.write_text(mark + both.partition(mark)[2])
    with running(tmp_path / "cloud") as server:
        server.stop()
        port = free_port()
        with (server.data / "cloudwright.toml").open("a") as file:
            file.write(f'tls_listen = "127.0.0.1:{port}"\ntls_certificate = "{given}"\ntls_key = "{key}"\n')
        server.by_file = True
        server.start()
        trusting = ssl.create_default_context(cadata=own)  # that CA and no other
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as link,
            trusting.wrap_socket(link, server_hostname="127.0.0.1") as secure,
        ):
            assert secure.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(given.read_text())
            secure.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert secure.recv(64).startswith(b"HTTP/1.1 200 ")
        assert not (server.data / "tls").exists(), "none is made beside it"
