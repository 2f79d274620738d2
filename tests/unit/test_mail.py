"""Mail goes out as one message; what cannot be an address, or an answer of the server, is told."""

import socket
import ssl

import pytest

from mgmt_server.drivers.mail import Server, address, send
from mgmt_server.errors import Failed, InvalidValue
from tests.certificates import authority, serving
from tests.mail import mailbox


def test_a_message_arrives():
    with mailbox() as box:
        send(Server("127.0.0.1", box.port), "cloud@example.org", ["ann@example.org"], "two\nlines", "Grüezi\n")
    (message,) = box.messages
    assert message["Subject"] == "two lines" and message["To"] == "ann@example.org"
    assert message.get_content().strip() == "Grüezi"


@pytest.mark.parametrize("text", ["", "ann", "ann@example.org\r\nBcc: eve@example.org", "@"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(InvalidValue, match="is no mail address"):
        address(text)


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(Failed, match=r"mail server 127\.0\.0\.1:9"):
        send(Server("127.0.0.1", 9, timeout=2), "a@example.org", ["b@example.org"], "s", "t")


def test_a_server_that_says_nothing_is_given_up_after_the_time_for_a_connection():
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Failed, match="timed out"):
        send(Server("127.0.0.1", silent.getsockname()[1], dial=0.1), "a@example.org", ["b@example.org"], "s", "t")


@pytest.mark.parametrize(
    ("server", "allowed", "arrives"),
    [
        (ssl.TLSVersion.TLSv1_2, ("TLSv1.2",), True),
        (ssl.TLSVersion.TLSv1_2, (), True),
        (ssl.TLSVersion.TLSv1_2, ("TLSv1.3",), False),
        (ssl.TLSVersion.TLSv1_2, ("TLSv1.1", "TLSv1.3"), False),
        (ssl.TLSVersion.TLSv1_3, ("TLSv1.2", "TLSv1.3"), True),
        (ssl.TLSVersion.TLSv1_3, ("TLSv1", "TLSv1.1", "TLSv1.2"), False),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning", "ignore:ssl.OP_NO:DeprecationWarning")
def test_tls_is_of_a_version_that_is_allowed(tmp_path, monkeypatch, server, allowed, arrives):
    certificate, key = authority()
    (tmp_path / "ca.pem").write_text(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = serving(key, tmp_path)
    context.minimum_version = context.maximum_version = server
    with mailbox(context) as box:
        at = Server("127.0.0.1", box.port, start_tls=True, protocols=allowed)
        if arrives:
            send(at, "a@example.org", ["b@example.org"], "s", "t")
        else:
            with pytest.raises(Failed, match="mail server 127.0.0.1"):
                send(at, "a@example.org", ["b@example.org"], "s", "t")
    assert len(box.messages) == arrives
