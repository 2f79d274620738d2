"""From what was asked to the bytes of the answer. Knows no server: tests ask it directly."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from mgmt_server.api import sessions
from mgmt_server.api.callers import Known, by_user
from mgmt_server.api.command import Command, find, registry
from mgmt_server.api.execute import answer
from mgmt_server.api.facts import response_name
from mgmt_server.db import Conflict, Uncertain, away, new_uuid
from mgmt_server.errors import ApiError, NotPermitted, ParameterError, Unauthenticated, Unavailable
from mgmt_server.model.account import SYSTEM_USER
from mgmt_server.protocol.correlation import correlated
from mgmt_server.resources.apilimit.limits import count_call, count_log_in
from mgmt_server.web import enforce, origin, session, wire
from mgmt_server.web.metrics import Metrics
from mgmt_server.web.signature import REFUSED, verified

log = logging.getLogger("cloudwright.api")


@dataclass
class Asked:
    """A request, as far as commands care."""

    method: str
    sent: dict[str, str]  # names as they came
    cookie: str = ""
    key_cookie: str | None = None
    address: str = ""  # of the peer, which may be a proxy
    open: bool = False  # came by the integration port
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    secure: bool = False  # came by TLS


@dataclass
class Answered:
    status: int
    body: bytes
    media: str
    headers: dict[str, str]
    cookies: list[str]


class Front:
    """Takes what was asked to the command and brings the answer back."""

    def __init__(self, *, simulator: bool, metrics: Metrics) -> None:
        self.simulator, self.metrics = simulator, metrics
        self._json = wire.JSON  # as it was told last: failures are answered while the database is away too

    def serve(self, asked: Asked) -> Answered:
        lower = {name.lower(): value for name, value in asked.sent.items()}
        correlation = new_uuid()
        began = time.perf_counter()
        sessions.here.set("")
        with correlated(correlation):
            done = self._serve(asked, lower, correlation)
            seconds = time.perf_counter() - began
            name = lower.get("command", "")
            self.metrics.call(name if name in registry else "unknown", done.status, seconds)
            if log.isEnabledFor(logging.INFO):
                log.info("%s %s", name[:100], done.status, extra={"address": asked.address, "ms": int(1000 * seconds)})
        return done

    def _serve(self, asked: Asked, lower: Mapping[str, str], correlation: str) -> Answered:
        json = wire.wants_json(lower.get("response"))
        name = lower.get("command", "")
        version = False
        try:
            peer = asked.address
            if not asked.open:
                asked.address = origin.caller(peer, asked.headers)
            if name in ("login", "logout"):
                asked.secure = asked.secure or origin.by_tls(peer, asked.headers)
                return self._session(name, asked, lower, json)
            known = self._who(asked, lower)
            version = not asked.open and wire.EXPOSED.flag()
            self._json = wire.header(wire.JSON_TYPE.text()) or wire.JSON
            command = self._command(known, name, asked)
            # maps keep the case of their field names; everything else is found in any case
            sent = _canonical(asked.sent, lower)
            content = answer(known.caller, command, sent, correlation, self.simulator)
            if wire.ENCODED.flag():
                content = wire.in_url_words(content)
            return Answered(200, wire.body(command.response_name, content, json, version), self._media(json), {}, [])
        except ApiError as failure:
            return self._failed(failure, name, json, version, asked)
        except Conflict as conflict:
            text = f"{conflict}: something else changed it meanwhile; look at its state and try again"
            return self._failed(ApiError(text, cs_code=4300), name, json, version, asked)
        except SQLAlchemyError as error:
            return self._failed(_of_the_database(error, name, correlation), name, json, version, asked)
        except Exception:
            log.exception("%s failed", name[:100])
            text = f"internal error; the log has the details under {correlation}"
            return self._failed(ApiError(text), name, json, version, asked)

    def _who(self, asked: Asked, lower: Mapping[str, str]) -> Known:
        if asked.open:
            return system()
        command = registry.get(lower.get("command", ""))
        if command is not None and command.anonymous:
            return self._nobody(asked)
        if asked.cookie:
            if "sessionkey" not in lower and "sessionkey" in asked.headers:
                lower = {**lower, "sessionkey": asked.headers["sessionkey"]}
            known = session.of_request(asked.cookie, lower, asked.key_cookie, asked.address)
        else:
            known = verified(asked.sent, lower)
            enforce.check_age(lower)
        origin.check_address(known.caller.account_id, asked.address)
        count_call(known.caller)
        return known

    def _nobody(self, asked: Asked) -> Known:
        """For commands of people who cannot log in: they run as the system, as often as one may log in."""
        if asked.method != "POST":
            raise enforce.BadRequest("send this by POST, so that it stands in no log")
        origin.check_page(asked.headers)
        count_log_in(asked.address)
        return system()

    def _command(self, known: Known, name: str, asked: Asked) -> Command:
        if name not in registry and not asked.open:
            raise Unauthenticated(REFUSED)
        command = find(known.caller, name)
        if command.simulator_only and not self.simulator:
            raise NotPermitted(f"{name} is there only on a simulator")
        if not asked.open:
            enforce.check_method(command, asked.method, bool(asked.cookie), asked.headers)
        return command

    def _session(self, name: str, asked: Asked, lower: Mapping[str, str], json: bool) -> Answered:
        if name == "logout":
            origin.check_page(asked.headers)  # the key is not asked for: who has lost it ends the session all the same
            if not asked.cookie or not session.log_out(asked.cookie, asked.address):
                failure = ParameterError("no session to log out of")
                return Answered(431, wire.error("logoutresponse", failure, json), self._media(json), {}, [])
            cookies = [enforce.cookie(n, "", asked.secure, 0) for n in ("JSESSIONID", "sessionkey")]
            return Answered(
                200, wire.body("logoutresponse", {"description": "success"}, json), self._media(json), {}, cookies
            )
        if asked.method != "POST":
            return Answered(405, b"Please use HTTP POST to authenticate using this API", self._media(json), {}, [])
        origin.check_page(asked.headers)
        count_log_in(asked.address)
        if asked.cookie:
            sessions.end(asked.cookie)
        greeting, number, key = session.log_in(lower, asked.address)
        cookies = [enforce.cookie(n, v, asked.secure) for n, v in (("JSESSIONID", number), ("sessionkey", key))]
        return Answered(200, wire.body("loginresponse", greeting, json), self._media(json), {}, cookies)

    def _media(self, json: bool) -> str:
        return self._json if json else wire.XML

    def _failed(self, failure: ApiError, name: str, json: bool, version: bool, asked: Asked) -> Answered:
        known = name in registry or name in ("login", "logout")
        if failure.code == 432 or not known:
            named = name or any(key.lower() == "command" for key in asked.sent)
            outer = "errorresponse" if named or asked.open or failure.code not in (401, 432) else "null"
        else:
            outer = response_name(name)
        body = wire.error(outer, failure, json, version)
        return Answered(failure.code, body, self._media(json), {"X-Description": wire.header(str(failure))}, [])


def _of_the_database(error: SQLAlchemyError, name: str, correlation: str) -> ApiError:
    if not away(error):
        log.error("%s failed", name[:100], exc_info=error)
        return ApiError(f"internal error; the log has the details under {correlation}")
    log.error("%s failed, for the database is away: %s", name[:100], str(error).splitlines()[0])
    if isinstance(error, Uncertain):
        return Unavailable(
            "the database went away while it was told to keep the change: look whether it was made before asking again"
        )
    return Unavailable("the database does not answer: nothing was changed; try again in a while")


def system() -> Known:
    known = by_user(SYSTEM_USER)
    if known is None:
        raise ApiError("the system user is missing: run cloudwright setup")
    return known


def _canonical(sent: Mapping[str, str], lower: Mapping[str, str]) -> Mapping[str, str]:
    if not any("[" in name for name in sent):
        return lower
    found = {}
    for name, value in sent.items():
        outer, bracket, rest = name.partition("[")
        found[outer.lower() + bracket + rest] = value
    return found


__all__ = ["Answered", "Asked", "Front"]
