# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server in memory as requests meet it: what may be asked, signatures, forms with images, answers and refusals.

It stands in for ``Request.open``, so signing and encoding are under test with the modules.  Signatures are checked with
code of its own.  ``writable = False`` makes every command that could change something an AssertionError.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import re
from urllib.error import HTTPError
from urllib.parse import parse_qsl, quote_plus, urlsplit

KEY, SECRET = "the-key", "the-secret"
URL = "http://cloud.test:8080/client/api"
READS = re.compile("^(list|get(?!UploadParams)|query|find)")


class Refused(Exception):
    """An error answer: code and text."""


class FakeWire:
    """Takes requests and gives answers; what they mean is in ``commands``."""

    def __init__(self):
        self.commands = {}
        self.calls = []
        self.images = {}  # what forms sent, by the id of what it is for
        self.writable = True
        self.failures = []  # what the next requests meet instead of an answer

    def open(self, method, url, data=None, headers=None, **_other):
        """Stands in for Request.open."""
        if urlsplit(url).path.startswith("/upload/"):
            sent = b"".join(iter(lambda: data.read(4096), b""))
            return self.take(urlsplit(url).path.rpartition("/")[2], sent, headers)
        if urlsplit(url).path.startswith("/userdata/"):
            return io.BytesIO(self.images[urlsplit(url).path.rpartition("/")[2]])
        query = data.decode() if data else urlsplit(url).query
        status, body = self.answer(method, query)
        if status >= 400:
            raise HTTPError(url, status, "refused", {}, io.BytesIO(body))
        return io.BytesIO(body)

    def take(self, ident, body, headers):
        """A form with an image."""
        assert self.writable and headers["X-signature"] == f"signed {ident}", "a form is signed, and not for check mode"
        assert int(headers["Content-Length"]) == len(body)
        head, _sep, rest = body.partition(b"\r\n\r\n")
        assert b'filename="' in head
        self.images[ident] = rest.rpartition(b"\r\n--")[0]
        if self.images[ident] == b"not an image":
            body = json.dumps({"errortext": "its content is raw"}).encode()
            raise HTTPError("upload", 422, "refused", {}, io.BytesIO(body))
        return io.BytesIO(b"{}")

    def answer(self, method, query):
        """One request; returns the HTTP status and the body."""
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return failure, b"busy"
        pairs = dict(parse_qsl(query, keep_blank_values=True))
        command = pairs["command"]
        self.calls.append(command)
        write = not READS.match(command)
        assert self.writable or not write, f"{command} was sent in check mode"
        assert method == ("POST" if write else "GET"), f"{command} by {method}"
        name = f"{command.lower()}response"
        if pairs.pop("signature") != signature(pairs, SECRET) or pairs["apiKey"] != KEY:
            return 401, json.dumps(
                {name: {"errorcode": 401, "errortext": "unable to verify user credentials"}}
            ).encode()
        try:
            handler = self.commands.get(command)
            if handler is None:
                raise Refused(432, f"no command {command}")
            params = {key.lower(): value for key, value in pairs.items()}
            return 200, json.dumps({name: handler(nested(params))}).encode()
        except Refused as refusal:
            code, text = refusal.args
            return code, json.dumps({name: {"errorcode": code, "errortext": text}}).encode()


def signature(pairs, secret):
    """The signature of parameters, as the protocol's description has it and not as the client computes it."""
    lines = []
    for name, value in sorted(pairs.items()):
        coded = quote_plus(value).replace("+", "%20").replace("%2A", "*").replace("~", "%7E")
        lines.append(f"{name}={coded}".lower())
    return base64.b64encode(hmac.digest(secret.encode(), "&".join(lines).encode(), hashlib.sha1)).decode()


def nested(params):
    """``name[i].key`` parameters as lists of dictionaries."""
    plain_ones, maps = {}, {}
    for name, value in params.items():
        match = re.match(r"^(\w+)\[(\d+)\]\.(.+)$", name)
        if match:
            maps.setdefault(match.group(1), {}).setdefault(int(match.group(2)), {})[match.group(3)] = value
        else:
            plain_ones[name] = value
    return {**plain_ones, **{name: list(entries.values()) for name, entries in maps.items()}}
