"""A mail server on loopback that keeps what it is given: `with mailbox() as box: ... box.port, box.messages`."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.controller import Controller


class Box:
    """The messages so far."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.port = 0

    async def handle_DATA(self, server, session, envelope) -> str:
        self.messages.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"


@contextmanager
def mailbox(tls: ssl.SSLContext | None = None) -> Iterator[Box]:
    box = Box()
    with socket.create_server(("127.0.0.1", 0)) as free:
        box.port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=box.port, tls_context=tls)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
