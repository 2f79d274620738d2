"""Signed calls, pages, and jobs until they end."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx

from mgmt_server.errors import Failed
from mgmt_server.shell.profiles import Profile

PAGE = 500
SIGNED_FOR = timedelta(minutes=10)
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 3.0  # seconds between two looks at a job
LONG = 2000  # characters of parameters that go into a URL; more go into a body


class Refused(Failed):
    """The server said no, or cannot be reached."""


class Unfinished(Failed):
    """A job did not end in the time that was given; it goes on."""


class Client:
    """One server and one key."""

    def __init__(self, profile: Profile, transport: httpx.BaseTransport | None = None) -> None:
        self.profile = profile
        agent = {"User-Agent": "cloudwright"}
        try:
            self._http = httpx.Client(
                timeout=profile.timeout, verify=profile.verify, transport=transport, headers=agent
            )
        except OSError as error:  # an SSLError is one too
            raise Refused(
                f"verify of the profile {profile.name} is {profile.verify}, and no file of certificates: "
                f"{error.strerror or error}"
            ) from None

    def call(self, command: str, sent: Mapping[str, str]) -> dict[str, Any]:
        """What stands under the response's name. Raises Refused."""
        expires = f"{datetime.now(UTC) + SIGNED_FOR:%Y-%m-%dT%H:%M:%S}+0000"
        pairs = {
            **sent, "command": command, "response": "json", "apiKey": self.profile.key,
            "signatureVersion": "3", "expires": expires,
        }  # fmt: skip
        pairs["signature"] = signature(pairs, self.profile.secret)
        try:
            if sum(len(v) for v in pairs.values()) > LONG:
                answer = self._http.post(self.profile.endpoint, data=pairs)
            else:
                answer = self._http.get(self.profile.endpoint, params=pairs)
            (content,) = answer.json().values()
        except httpx.HTTPError as error:
            raise Refused(f"{self.profile.endpoint}: {error or type(error).__name__}{_remedy(error)}") from None
        except (ValueError, AttributeError):
            raise Refused(
                f"{self.profile.endpoint} answered {answer.status_code} and not as an API does: is the path right?"
            ) from None
        if not isinstance(content, dict) or "errortext" in content or answer.status_code >= 400:
            told = content.get("errortext") if isinstance(content, dict) else content
            raise Refused(f"{command}: {told or answer.reason_phrase} ({answer.status_code})")
        return content

    def pages(self, command: str, sent: Mapping[str, str]) -> dict[str, Any]:
        """All rows of a list, page after page."""
        found: dict[str, Any] = {}
        number = 1
        while True:
            page = self.call(command, {**sent, "page": str(number), "pagesize": str(PAGE)})
            rows = next((v for v in page.values() if isinstance(v, list)), [])
            for key, value in page.items():
                if isinstance(value, list):
                    found.setdefault(key, []).extend(value)
                else:
                    found[key] = value
            if len(rows) < PAGE:
                return found
            number += 1

    def wait(self, job: str, seconds: float, look: Callable[[float], None] = lambda elapsed: None) -> dict[str, Any]:
        """What a job answers. `look(seconds so far)` is called between two looks. Raises Refused, Unfinished."""
        began, pause = time.monotonic(), FIRST_PAUSE
        while True:
            told = self.call("queryAsyncJobResult", {"jobid": job})
            if told["jobstatus"] != 0:
                break
            elapsed = time.monotonic() - began
            if elapsed > seconds:
                raise Unfinished(
                    f"job {job} goes on after {seconds:g} s: cloudwright api queryAsyncJobResult jobid={job}"
                )
            look(elapsed)
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
        result: dict[str, Any] = told.get("jobresult") or {}
        if told["jobstatus"] != 1:
            raise Refused(f"job {job} failed: {result.get('errortext', result)} ({told.get('jobresultcode')})")
        return result


def signature(pairs: Mapping[str, str], secret: str) -> str:
    """HMAC-SHA1 over the sorted, encoded, lower-cased pairs, in Base64: the protocol's own."""
    found = "&".join(f"{n.lower()}={quote(pairs[n], safe='*').lower()}" for n in sorted(pairs, key=str.lower))
    return base64.b64encode(hmac.new(secret.encode(), found.encode(), hashlib.sha1).digest()).decode()


def _remedy(error: httpx.HTTPError) -> str:
    if "CERTIFICATE_VERIFY_FAILED" not in str(error):
        return ""
    return (
        ". This machine does not trust the authority of the server's certificate: have the profile name a file with it "
        "(verify = FILE, or CLOUDSTACK_VERIFY)"
    )
