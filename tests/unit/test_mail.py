"""Mail goes out as one message; what cannot be an address, or an answer of the server, is told."""

import pytest

from mgmt_server.drivers.mail import Server, address, send
from mgmt_server.errors import Failed, InvalidValue
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
