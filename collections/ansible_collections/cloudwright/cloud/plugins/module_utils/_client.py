# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CloudStack protocol: signing, retries, paging and jobs.  Private to this collection."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import os
import random
import secrets
import shutil
import ssl
import time
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit

from ansible.module_utils.urls import Request, make_context

API_SPEC = {
    "api_url": {"type": "str"},
    "api_key": {"type": "str", "no_log": False},
    "api_secret": {"type": "str", "no_log": True},
    "api_credentials_file": {"type": "path"},
    "api_timeout": {"type": "int", "default": 60},
    "api_retries": {"type": "int", "default": 5},
    "validate_certs": {"type": "bool", "default": True},
}
WAIT_SPEC = {"wait": {"type": "bool", "default": True}, "wait_timeout": {"type": "int", "default": 300}}
CREDENTIALS = ("api_url", "api_key", "api_secret")
READS = ("list", "get", "query", "find")
TRY_AGAIN = (429, 502, 503, 504)
PAGE = 500
SIGNED_FOR = timedelta(minutes=10)


class ApiError(Exception):
    """The server refused, could not be reached, or what was asked for makes no sense.

    ``code`` is the API's errorcode where there is one, ``job_id`` the job that failed or did not end in time.
    """

    def __init__(self, message, code=None, job_id=None):
        super().__init__(message)
        self.code = code
        self.job_id = job_id

    def result(self):
        """What the task returns."""
        more = {"errorcode": self.code, "job_id": self.job_id}
        return {"failed": True, "msg": str(self), **{k: v for k, v in more.items() if v is not None}}


class NotFound(ApiError):
    """A name or id that the task refers to does not exist."""


def is_read(command):
    """Whether the command leaves the server as it is."""
    return command.startswith(READS) and not command.startswith("getUploadParams")  # which makes what it tells of


def encode(value):
    """Percent-encode as the signature wants it: all but letters, digits and ``-_.*``."""
    return quote(str(value), safe="*").replace("~", "%7E")


def sign(params, secret):
    """The signature of flat parameters: HMAC-SHA1 over the sorted, encoded, lower-cased pairs, in Base64."""
    text = "&".join(f"{name}={encode(params[name])}" for name in sorted(params)).lower()
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()


@lru_cache(maxsize=None)
def tls(needed, validate):
    """The TLS context of all calls of a process: to load the system's certificates takes longer than a call."""
    return make_context(validate_certs=validate) if needed else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def flatten(params):
    """Values as the wire has them: true/false, comma lists, ``name[0].key=value`` maps.  None is left out."""
    flat = {}
    for name, value in params.items():
        if value is None:
            continue
        maps = [value] if isinstance(value, dict) else value
        if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
            for index, entries in enumerate(maps):
                flat.update({f"{name}[{index}].{key}": plain(entry) for key, entry in entries.items()})
        elif isinstance(value, (list, tuple)):
            flat[name] = ",".join(plain(item) for item in value)
        else:
            flat[name] = plain(value)
    return flat


def plain(value):
    """A scalar as text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def credentials(params):
    """The three credentials, each from the first that has it: option, the option's file, environment, its file."""
    named = os.environ.get("CLOUDWRIGHT_API_CREDENTIALS_FILE")
    sources = [
        lambda: params,
        lambda: stored(params.get("api_credentials_file")),
        lambda: {name: os.environ.get(f"CLOUDWRIGHT_{name.upper()}") for name in CREDENTIALS},
        lambda: stored(named),
    ]
    found = dict.fromkeys(CREDENTIALS)
    for source in sources:
        if not all(found.values()):
            values = source()
            found = {name: found[name] or values.get(name) for name in CREDENTIALS}
    missing = [name for name in CREDENTIALS if not found[name]]
    if missing:
        raise ApiError(
            f"{', '.join(missing)} missing: give the option, api_credentials_file, "
            f"or the environment variable CLOUDWRIGHT_{missing[0].upper()}"
        )
    return found


def stored(path):
    """The content of a credentials file; of no file, nothing."""
    if not path:
        return {}
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError) as exc:
        raise ApiError(f"api_credentials_file {path}: {exc}; the file is read where the task runs") from exc
    if not isinstance(found, dict):
        raise ApiError(f"api_credentials_file {path}: not a JSON object with {', '.join(CREDENTIALS)}")
    return found


class Client:
    """The only place that knows HTTP.  ``read_only`` refuses every command that could change something."""

    def __init__(self, params, read_only=False):
        given = credentials(params)
        url = given["api_url"].rstrip("/")
        self.url = url if urlsplit(url).path else f"{url}/client/api"
        self.key = given["api_key"]
        self.secret = given["api_secret"]
        self.read_only = read_only
        self.retries = params.get("api_retries") or 0
        self.request = Request(
            timeout=params.get("api_timeout") or 60,
            context=tls(self.url.startswith("https:"), params.get("validate_certs") is not False),
            follow_redirects="none",  # a signature is for one address
            http_agent="cloudwright.cloud",
        )

    def signed(self, command, params):
        """The query of one call."""
        expires = (datetime.now(timezone.utc) + SIGNED_FOR).strftime("%Y-%m-%dT%H:%M:%S+0000")
        full = {
            **flatten(params),
            "command": command,
            "response": "json",
            "apiKey": self.key,
            "signatureVersion": "3",
            "expires": expires,
        }
        full["signature"] = sign(full, self.secret)
        return "&".join(f"{name}={encode(value)}" for name, value in full.items())

    def call(self, command, **params):
        """One command; returns what stands under the answer's outer key.  Reads are tried again, writes never."""
        if self.read_only and not is_read(command):
            raise ApiError(f"{command} would change something, and this is check mode")
        tries = self.retries if is_read(command) else 0
        for left in range(tries, -1, -1):
            try:
                return self.once(command, params)
            except ApiError as exc:
                if not left or exc.code not in (None, *TRY_AGAIN):
                    raise
                # full jitter: many forks that failed together shall not come back together
                time.sleep(random.uniform(0.05, min(8, 0.4 * 2 ** (tries - left))))  # noqa: S311
        raise ApiError(f"{command}: api_retries is negative")

    def once(self, command, params):
        """One HTTP request.  An ApiError without code means that no answer came."""
        query = self.signed(command, params)
        try:
            if is_read(command):
                body = self.request.open("GET", f"{self.url}?{query}").read()
            else:
                form = {"Content-Type": "application/x-www-form-urlencoded"}
                body = self.request.open("POST", self.url, data=query.encode(), headers=form).read()
        except HTTPError as exc:
            hint = f"; or the server has no command {command}" if exc.code == 401 else ""
            raise ApiError(f"{command}: {error_text(exc.read(), exc.reason)} ({exc.code}){hint}", exc.code) from exc
        except (OSError, HTTPException) as exc:
            raise ApiError(f"{command}: no answer from {self.url}: {getattr(exc, 'reason', exc)}") from exc
        try:
            return next(iter(json.loads(body).values()))
        except (ValueError, AttributeError, StopIteration) as exc:
            raise ApiError(f"{command}: {self.url} does not answer as an API: {body[:80]!r}", 200) from exc

    def list(self, command, most=None, **params):
        """All pages of a list command, or its first entries up to ``most``."""
        found, page, size = [], 1, min(PAGE, most or PAGE)
        while True:
            answer = self.call(command, **params, page=page, pagesize=size)
            items = next((value for value in answer.values() if isinstance(value, list)), [])
            found += items
            if not items or len(found) >= min(answer.get("count", 0), most or len(found) + 1):
                return found[:most]
            page += 1

    def run(self, command, params, wait=True, timeout=300):
        """Any command with its job; returns (object or None, job id or None).  Without ``wait`` the job goes on."""
        answer = self.call(command, **params)
        job_id = answer.get("jobid")
        if not job_id:
            return entity_of(answer), None
        if not wait:
            return None, job_id
        return entity_of(self.wait(job_id, command, timeout)), job_id

    def upload(self, ticket, path, timeout):
        """Send a local file to where the answer of a command getUploadParams... says."""
        try:
            with open(path, "rb") as file:
                form = Form(file, "image")
                told = {f"X-{name}": ticket[name] for name in ("signature", "expires", "metadata")}
                self.request.open(
                    "POST", ticket["postURL"], data=form, headers={**form.headers, **told}, timeout=timeout
                ).read()
        except HTTPError as exc:
            raise ApiError(f"{path}: {error_text(exc.read(), exc.reason)} ({exc.code})", exc.code) from exc
        except (OSError, HTTPException) as exc:
            raise ApiError(f"{path} was not sent to {ticket['postURL']}: {getattr(exc, 'reason', exc)}") from exc

    def download(self, url, path, timeout):
        """Fetch a link into a local file, which is there only when it is whole."""
        part = f"{path}.part"
        try:
            with open(part, "wb") as file:
                shutil.copyfileobj(self.request.open("GET", url, timeout=timeout), file)
            os.replace(part, path)
        except (OSError, HTTPException) as exc:
            if os.path.exists(part):
                os.unlink(part)
            raise ApiError(f"{path} was not fetched from {url}: {getattr(exc, 'reason', exc)}") from exc

    def wait(self, job_id, command, timeout):
        """Follow a job to its end; returns its result.  Its failure carries the server's own text."""
        for pause in pauses(timeout):
            job = self.call("queryAsyncJobResult", jobid=job_id)
            status = job.get("jobstatus")
            result = job.get("jobresult") or {}
            if status == 1:
                return result
            if status in (2, 3):
                text = result.get("errortext") if isinstance(result, dict) else result
                code = result.get("errorcode") if isinstance(result, dict) else job.get("jobresultcode")
                raise ApiError(f"{command}: {text or 'the job failed without a word'} ({code})", code, job_id)
            time.sleep(pause)
        raise ApiError(
            f"{command}: job {job_id} still runs after wait_timeout={timeout} s; it was not stopped", job_id=job_id
        )


class Form:
    """A file as the only part of a form, read piece by piece: images are larger than memory."""

    def __init__(self, file, name):
        self.boundary = secrets.token_hex(16)
        head = f'--{self.boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        head += "Content-Type: application/octet-stream\r\n\r\n"
        size = os.fstat(file.fileno()).st_size
        self.parts = [io.BytesIO(head.encode()), file, io.BytesIO(f"\r\n--{self.boundary}--\r\n".encode())]
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={self.boundary}",
            "Content-Length": str(size + sum(len(part.getvalue()) for part in self.parts[::2])),
        }

    def read(self, size=-1):
        """The next piece."""
        while self.parts:
            piece = self.parts[0].read(size)
            if piece:
                return piece
            del self.parts[0]
        return b""


def pauses(timeout):
    """Seconds to sleep between polls, from 0.1 growing to 2, until ``timeout`` seconds have passed."""
    end = time.monotonic() + timeout
    pause = 0.1
    while True:
        left = end - time.monotonic()
        yield max(0.0, min(pause, left))
        if left <= 0:
            return
        pause = min(2, pause * 1.5)


def entity_of(answer):
    """The object in an answer or a job's result: {kind: {...}} or, for some verbs, {count, kind: [{...}]}."""
    for value in answer.values() if isinstance(answer, dict) else ():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return value[0]
        if isinstance(value, dict):
            return value
    return None


def error_text(body, reason):
    """The server's own words in an error answer."""
    try:
        told = json.loads(body)
        return told["errortext"] if "errortext" in told else next(iter(told.values()))["errortext"]
    except (ValueError, AttributeError, StopIteration, KeyError, TypeError):
        return reason
