"""Every command as the OpenAPI document tells it, with values that schemathesis makes up: answered, never broken."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mgmt_server.api.command import registry
from mgmt_server.api.describe import openapi
from mgmt_server.web.front import Asked
from mgmt_server.web.signature import digest
from tests.access.world import nothing_kept
from tests.cloud import Cloud
from tests.contract.whole import filled
from tests.fuzz.walk import NOT_EMPTY

ODD = ("", " ", "0", "-1", "1e400", "9" * 40, "\x00", "é\U0001f600", "' OR 1=1", "%", "../x", "a,b,,c", "true", "null")


@pytest.fixture
def cloud(database):
    made = Cloud()
    made.known = [v for v in filled(made).values() if isinstance(v, str)]
    return made


def inside(name: str) -> bool:
    """Commands that ask hosts and stores outside: not with made-up addresses."""
    command = registry[name]
    return not command.reads or name.startswith(("list", "get", "query", "find"))


def broken(cloud: Cloud, name: str, sent: dict[str, str]) -> str:
    """Why an answer is none of the protocol's, empty for a good one."""
    import base64

    key, secret = cloud.keys
    pairs = sent | {"command": name, "response": "json", "apiKey": key}
    pairs["signature"] = base64.b64encode(digest(pairs, secret)).decode()
    done = cloud.front.serve(Asked("POST", pairs))
    text = done.body.decode()
    wrong = done.status >= 540 or 500 <= done.status < 530 or (done.status == 530 and name not in NOT_EMPTY)
    if wrong or "internal error" in text or "Traceback" in text:
        return f"{name} { ({k: v[:60] for k, v in sent.items()}) }: {done.status} {text[:300]}"
    return ""


def fuzz(cloud: Cloud, examples: int) -> list[str]:
    import schemathesis

    from mgmt_server import install

    cloud.keys = install.give_keys()
    schemathesis.openapi.format("uuid", st.sampled_from(cloud.known) | st.uuids().map(str) | st.sampled_from(ODD))
    schema = schemathesis.openapi.from_dict(openapi("test"))
    found: list[str] = []
    for operation in (o.ok() for o in schema.get_all_operations()):
        name = operation.path.partition("command=")[2]
        if operation.method.upper() != "GET" or not inside(name):
            continue

        tried(cloud, name, operation.as_strategy(), examples, found)
    return found


def tried(cloud: Cloud, name: str, cases: st.SearchStrategy, examples: int, found: list[str]) -> None:
    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(cases, st.data())
    def ask(case, data):
        sent = {k: str(v) for k, v in (case.query or {}).items() if k != "command"}
        for k in data.draw(st.sets(st.sampled_from(sorted(sent)), max_size=2)) if sent else ():
            sent[k] = data.draw(st.sampled_from(ODD))
        wrong = broken(cloud, name, sent)
        if wrong:
            found.append(wrong)

    ask()


def told(found: list[str]) -> str:
    firsts = {line.split(" ", 1)[0]: line for line in reversed(found)}
    return "\n".join(firsts.values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("examples", [2, pytest.param(60, marks=pytest.mark.long)])
def test_made_up_calls_are_answered_in_the_protocols_words(cloud, examples):
    with nothing_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = fuzz(cloud, examples)
    assert not found, told(found)


def test_the_document_is_one(cloud):
    """It can be loaded, and says of every command how it is asked and answered."""
    import schemathesis

    document = openapi("test")
    operations = [o.ok() for o in schemathesis.openapi.from_dict(document).get_all_operations()]
    assert len(operations) == 2 * len(registry)
    for path, both in document["paths"].items():
        name = path.partition("command=")[2]
        form = both["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
        assert form["required"][0] == "command" and form["properties"]["command"]["const"] == name
        answer = both["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert list(answer["properties"]) == [registry[name].response_name]


def test_a_call_that_breaks_is_told(cloud, monkeypatch):
    """The check itself: an exception inside is seen as one."""
    from mgmt_server import install
    from mgmt_server.web import front

    cloud.keys = install.give_keys()
    assert not broken(cloud, "listZones", {})

    def breaks(*_):
        raise KeyError("inside")

    monkeypatch.setattr(front, "answer", breaks)
    assert "530" in broken(cloud, "listZones", {})
