"""Requests whose status, codes and outer key were recorded from the original: the same here, or different as said."""

import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from sqlalchemy import update

from mgmt_server import db
from mgmt_server.api import callers
from mgmt_server.model import settings
from mgmt_server.model.account import User
from tests.cloud import Cloud
from tests.contract.test_registry import ALL
from tests.contract.whole import filled, raw

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())
FOREIGN = "what is foreign looks like what is missing: 431 instead of 531"
DIFFERENT = {  # (who, command): status, errorcode, cserrorcode here, and why
    ("user", "startVirtualMachine"): (431, 431, 9999, FOREIGN),
    ("user", "destroyVirtualMachine"): (431, 431, 9999, FOREIGN),
    ("user", "deleteNetwork"): (431, 431, 9999, FOREIGN),
    ("user", "registerUserKeys"): (431, 431, 9999, FOREIGN),
    ("user", "listVirtualMachines", "id"): (431, 431, 9999, "as the original answers a missing id"),
    ("user", "listVirtualMachines", "account"): (431, 431, 4350, "an account of no concern is as good as none"),
    ("user", "listNetworks", "id"): (431, 431, 9999, "as the original answers a missing id"),
}


@pytest.fixture(scope="module")
def cloud(fresh_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    shutil.copyfile(fresh_file, folder / "cloud.db")
    db.connect(f"sqlite:///{folder}/cloud.db")
    callers.forget()
    settings.forget()
    try:
        made = Cloud()
        made.names = filled(made)
        made.account("disabled")
        db.write(_disable)
        callers.forget()
        yield made
    finally:
        db.disconnect()


def _disable(tx):
    tx.execute(update(User).where(User.username == "disabled").values(state="disabled"))


def asked(cloud, case):
    later = (datetime.now(UTC) + timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%S+0000")
    names = {**cloud.names, "later": later, "apikey": "x"}
    sent = {k: re.sub(r"\{(\w+)\}", lambda m: names[m[1]], str(v)) for k, v in case["request"].items()}
    user = {"admin": "admin", "wrong secret": "admin", "user": "ann", "disabled": "disabled"}.get(case["as"])
    if case["as"] == "unknown key":
        sent |= {"apiKey": "x" * 86, "signature": "eHg="}
    secret = "wrong" if case["as"] == "wrong secret" else ""
    return raw(cloud, user, sent, secret, method=case["method"])


def named(case):
    request = case["request"]
    return f"{case['as']}-{request.get('command', 'none')}-{case['note'] or case['status']}-{case['format']}".replace(
        " ", "_"
    )


@pytest.mark.parametrize("case", GOLDEN, ids=named)
def test_a_recorded_request(cloud, case):
    command = case["request"].get("command", "")
    if case["status"] not in (401, 432) and command not in ALL:
        pytest.skip(f"{command} is not in this version")
    wanted = (case["status"], case["errorcode"], case["cserrorcode"])
    keys = [(case["as"], command), *((case["as"], command, name) for name in case["request"])]
    for key in keys:
        if key in DIFFERENT:
            wanted = DIFFERENT[key][:3]
    status, body, media = asked(cloud, case)
    text = body.decode()
    if case["format"] == "json":
        assert media.startswith("application/json")
        ((outer, content),) = orjson.loads(body).items()
        told = (status, content.get("errorcode"), content.get("cserrorcode"))
        if status >= 400:
            assert content["uuidList"] == [] and content["errortext"]
    else:
        assert media.startswith("text/xml")
        outer = re.search(r"\?><(\w+)", text)[1]
        codes = [re.search(rf"<{n}>(\d+)", text) for n in ("errorcode", "cserrorcode")]
        told = (status, *(int(c[1]) if c else None for c in codes))
        assert status < 400 or "<uuidList" not in text
    assert (outer, *told) == (case["outer"], *wanted), text[:300]
