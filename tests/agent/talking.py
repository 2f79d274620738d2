"""What agents say to a link by hand, and what they are answered."""

from __future__ import annotations

import asyncio
import ssl

from conftest import FACTS
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from mgmt_server.agents.server import Link
from mgmt_server.protocol.link import Hello, pack, unpack


def talk(link: Link, context: ssl.SSLContext, *messages: str | bytes, path: str = "/agent") -> object:
    """Say these things; the first answer, or how the connection ended."""

    async def conversation() -> object:
        try:
            async with connect(
                f"wss://127.0.0.1:{link.port}{path}", ssl=context, proxy=None, compression=None, max_size=None
            ) as c:
                for message in messages:
                    await c.send(message)
                return unpack(await asyncio.wait_for(c.recv(), 15))
        except InvalidStatus as error:
            return error.response.status_code, (error.response.body or b"").decode()
        except ConnectionClosed as error:
            return (error.rcvd.code, error.rcvd.reason) if error.rcvd else "cut"
        except (InvalidHandshake, OSError) as error:
            return f"tls: {error!r} {error.__cause__!r}"

    return asyncio.run(conversation())


def hello(uuid: str, kind: str = "host", **more: object) -> str:
    return pack(Hello(uuid, "boot", "1", kind, FACTS, **more))
