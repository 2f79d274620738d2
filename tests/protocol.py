"""Answers beside the protocol's facts: names, types, shapes, and that XML says what JSON does."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import orjson

from mgmt_server.api.command import registry
from mgmt_server.api.facts import facts, of_command
from mgmt_server.web import front, wire

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}")
NUMBERS = {"int", "long", "short"}
FRACTIONS = {"float", "double", "decimal"}
ERRORS = {"errorcode": "int", "cserrorcode": "int", "errortext": "string", "uuidList": "list<map>"}
ACKNOWLEDGED = {"id": "string", "jobid": "string"}
# answers that are other than their command's facts
KEYS_HERE = {
    "listCaCertificate": "cacertificates",  # as it was recorded
    "configureSimulator": "mock",  # without a name in the original, which is no name
    "querySimulatorMock": "mock",
}
BARE = {"listTemplatePermissions", "listIsoPermissions"}  # one object, without a count, as the protocol's text says


def wrong_in(value: Any, kind: str, where: str) -> list[str]:
    """What in `value` is not of the type `kind` of the facts."""
    kind = kind.split(":")[0]
    inner = re.fullmatch(r"(list|object|map)<(.+)>", kind)
    if inner and inner[1] == "list":
        if not isinstance(value, list):
            return [f"{where} is {type(value).__name__}, not a list"]
        return [w for n, item in enumerate(value) for w in wrong_in(item, inner[2], f"{where}[{n}]")]
    if inner and inner[1] == "object":
        fields = facts()["responses"].get(inner[2])
        return wrong_object(value, fields, where) if fields else []
    if kind.startswith("map"):
        return [] if isinstance(value, dict) else [f"{where} is {type(value).__name__}, not a map"]
    good = True
    if kind == "bool":
        good = isinstance(value, bool)
    elif kind in NUMBERS:
        good = isinstance(value, int) and not isinstance(value, bool)
    elif kind in FRACTIONS:
        good = isinstance(value, int | float) and not isinstance(value, bool)
    elif kind == "date":
        good = isinstance(value, str) and bool(DATE.fullmatch(value))
    elif kind == "string" or kind.startswith("enum"):
        good = isinstance(value, str)
    return [] if good else [f"{where} is {value!r}, not {kind}"]


def wrong_object(value: Any, fields: dict[str, Any], where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where} is {type(value).__name__}, not an object"]
    found = []
    for name, item in value.items():
        kind = fields.get(name)
        if kind is None:
            found.append(f"{where}.{name} is no field")
            continue
        found += wrong_in(item, kind if isinstance(kind, str) else kind["type"], f"{where}.{name}")
    return found


def objects(name: str, content: dict[str, Any]) -> list[Any]:
    """What an answer of this shape has under its key, or itself."""
    command = registry[name]
    if not command.key:
        fact = of_command(name) or {}
        lists = [v for v in content.values() if isinstance(v, list)]
        return lists[0] if fact.get("jsonKind") == "list" and lists else [content]
    value = content.get(command.key, [])
    return value if isinstance(value, list) else [value]


def wrong_answer(name: str, content: Any, *, ended: bool = False) -> list[str]:
    """What in the answer of a command, or with `ended` in that of its job, is not as the facts say."""
    fact, where = of_command(name), f"job {name}" if ended else name
    if fact is None:
        return []
    if not isinstance(content, dict):
        return [f"{where} answers {type(content).__name__}"]
    if fact.get("async") and not ended:
        wanted = ACKNOWLEDGED if fact.get("asyncCreate") else {"jobid": "string"}
        missing = [f"{where}.{field} is missing" for field in wanted.keys() - content.keys()]
        return missing + wrong_object(content, wanted, where)
    kind = fact["jsonKind"]
    if kind == "success":
        wanted = {"success": "bool", "details" if ended else "displaytext": "string"}
        missing = [] if "success" in content else [f"{where}.success is missing"]
        return missing + wrong_object(content, wanted, where)
    fields = facts()["responses"][fact["response"]] | fact.get("fields", {})
    if kind == "plain":
        return wrong_object(content, fields, where)
    names = KEYS_HERE.get(name) or fact.get("objectName") or "null"
    names = names if isinstance(names, list) else [names, *str(fact.get("altObjectName", "")).split()[:1]]
    keys = content.keys() - {"count"}
    if kind == "list" and not keys:  # nothing, or a page after the last
        return wrong_object(content, {"count": "int"}, where)
    if len(keys) != 1 or not keys <= set(names):
        return [f"{where} answers {sorted(content)} instead of {names[0]}"]
    value = content[keys.pop()]
    if kind == "list" and name not in BARE:
        if not isinstance(value, list):
            return [f"{where} answers an object instead of a list"]
        found = [] if "count" in content else [f"{where}.count is missing"]
        found += wrong_in(content.get("count", 0), "int", f"{where}.count")
        return found + [w for n, one in enumerate(value) for w in wrong_object(one, fields, f"{where}[{n}]")]
    return ([f"{where} answers a count"] if "count" in content else []) + wrong_object(value, fields, where)


def shape(element: ElementTree.Element) -> Any:
    """An XML element as JSON would say it, lists as repeated names."""
    children = list(element)
    if not children:
        return element.text or ""
    found: dict[str, list[Any]] = {}
    for child in children:
        found.setdefault(child.tag, []).append(shape(child))
    return found


def flat(value: Any) -> Any:
    """A JSON value in the same terms: texts, and each name with a list of what it has."""
    if isinstance(value, dict):
        found = {}
        for name, item in value.items():
            items = item if isinstance(item, list) else [item]
            if items:
                found[name] = [flat(i) for i in items]
        return found or ""
    return str(value).lower() if isinstance(value, bool) else str(value)


class Witness:
    """Holds every answer that is given meanwhile against the facts, in both formats."""

    def __init__(self) -> None:
        self.wrong: Counter[str] = Counter()
        self.met: set[str] = set()  # commands that have answered whole: those of jobs when the job has ended well
        self._commands: dict[str, str] = {}  # of jobs
        self._answer, self._body = front.answer, wire.body

    def answer(self, caller: Any, asked: Any, *rest: Any) -> dict[str, Any]:
        content = self._answer(caller, asked, *rest)
        self._note(wrong_answer(asked.name, content))
        if asked.is_async:
            self._commands[content.get("jobid", "")] = asked.name
        else:
            self.met.add(asked.name)
        if asked.name == "queryAsyncJobResult" and content.get("jobstatus") == 1:
            name = self._commands.get(content["jobid"]) or content["cmd"]
            self._note(wrong_answer(name, content.get("jobresult"), ended=True))
            self.met.add(name)
        return content

    def body(self, name: str, content: dict[str, Any], json: bool, version: bool = True) -> bytes:
        told = orjson.loads(self._body(name, content, True, version))
        xml = self._body(name, content, False, version)
        root = ElementTree.fromstring(xml)  # noqa: S314  our own answer
        if root.tag != name or shape(root) != flat(told[name]):
            self._note([f"{name} in XML says {xml!r} and in JSON {told}"])
        return self._body(name, content, json, version)

    def _note(self, found: list[str]) -> None:
        self.wrong.update(re.sub(r"\[\d+\]", "[]", one) for one in found)


@contextmanager
def witnessed() -> Iterator[Witness]:
    seen = Witness()
    front.answer, wire.body = seen.answer, seen.body  # type: ignore[assignment]
    try:
        yield seen
    finally:
        front.answer, wire.body = seen._answer, seen._body
