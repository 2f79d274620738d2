"""`cloudwright api` against a cloud in this process: what it sends, what it prints, how it fails."""

import io
import json
import stat
from urllib.parse import parse_qsl

import httpx
import pytest
import yaml

from mgmt_server import cli
from mgmt_server.errors import InvalidValue
from mgmt_server.shell import client as wire
from mgmt_server.shell import profiles
from mgmt_server.shell.output import chosen_columns, show
from mgmt_server.shell.words import completions, parameters
from mgmt_server.web.app import Asked
from tests.api.conftest import cloud as cloud
from tests.api.infrastructure import cluster, host, zone_with_pod

TOLD = {
    "name": "deployVirtualMachine",
    "params": [
        {"name": "zoneid", "type": "uuid", "required": True},
        {"name": "details", "type": "map", "required": False},
        {"name": "tags", "type": "map", "required": False},
        {"name": "startvm", "type": "boolean", "required": False},
        {"name": "userdata", "type": "string", "required": False},
    ],
}


@pytest.fixture
def api(cloud, tmp_path, monkeypatch, capsys):
    """Runs `cloudwright api WORDS`: exit code, standard output and error. Jobs run while they are waited for."""
    keys = cloud.ask("registerUserKeys", id=cloud.ask("listUsers", username="admin")["user"][0]["id"])["userkeys"]
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("CLOUDSTACK_CONFIG", "CLOUDSTACK_REGION", "CLOUDSTACK_ENDPOINT", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    profiles.save("test", "http://cloud.example/client/api", keys["apikey"], keys["secretkey"])
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent = dict(parse_qsl(request.url.query.decode() or request.content.decode(), keep_blank_values=True))
        asked.append((request.method, sent))
        if sent["command"] == "queryAsyncJobResult":
            cloud.work()
        done = cloud.front.serve(Asked(request.method, sent))
        return httpx.Response(done.status, content=done.body)

    real = httpx.Client
    monkeypatch.setattr(wire.httpx, "Client", lambda **o: real(**o | {"transport": httpx.MockTransport(answer)}))

    def run(*words):
        code = cli.main(["api", *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    run.asked = asked
    return run


def test_a_list_as_table_json_yaml_and_text(api):
    code, out, _ = api("listserviceofferings", "--columns", "name,memory")
    assert code == 0 and out.split() == ["name", "memory", "Small", "Instance", "512", "Medium", "Instance", "1024"]
    assert not [line for line in out.splitlines() if line != line.rstrip()], "a pipe gets no blanks that fill up"
    assert json.loads(api("listServiceOfferings", "-o", "json")[1])["count"] == 2
    assert yaml.safe_load(api("listServiceOfferings", "-o", "yaml", "--columns", "name")[1])[0] == {
        "name": "Small Instance"
    }
    assert (
        api("listServiceOfferings", "-o", "text", "--columns", "name,memory")[1].splitlines()[0]
        == "Small Instance\t512"
    )
    assert api("listZones")[1] == "{}\n" or "none" in api("listZones")[1] or api("listZones")[1].strip() == ""


def test_a_job_is_waited_for_and_its_answer_shown(api, cloud):
    zone, pod = zone_with_pod(cloud)
    made = host(cloud, zone, pod, cluster(cloud, zone, pod))
    code, out, _ = api("listHosts", "-o", "json")
    assert code == 0 and json.loads(out)["host"][0]["id"] == made["id"]
    code, out, _ = api("prepareHostForMaintenance", f"id={made['id']}", "-o", "json")
    assert code == 0 and json.loads(out)["host"]["resourcestate"] in ("Maintenance", "PrepareForMaintenance")
    code, out, _ = api("cancelHostMaintenance", f"id={made['id']}", "--no-wait", "-o", "json")
    assert code == 0 and set(json.loads(out)) == {"jobid"}


def test_what_is_wrong_is_told_before_anything_is_sent(api):
    code, _, told = api("createZone", "name=z")
    assert code == 2 and "createZone needs networktype" in told
    code, _, told = api("createZone", "nam=z")
    assert code == 2 and "no parameter nam: did you mean name" in told
    code, _, told = api("lstZones")
    assert code == 2 and "did you mean listZones" in told
    assert {sent["command"] for _, sent in api.asked} == {"listApis"}


def test_a_refusal_is_the_servers_own(api):
    code, out, told = api("deleteZone", "id=9c1b8d2e-0000-0000-0000-000000000000")
    assert code == 2 and out == "" and "deleteZone: " in told and "(431)" in told


def test_help_after_a_command_is_the_commands(api):
    code, out, _ = api("createSSHKeyPair", "--help")
    assert code == 0 and out.startswith("createSSHKeyPair") and "name, string" in out


def test_completion_knows_commands_parameters_and_booleans(api):
    assert api("--complete", "createZo")[1] == "createZone\n"
    assert "networktype=\n" in api("--complete", "createZone", "name=x", "n")[1]
    assert "name=" not in api("--complete", "createZone", "name=x", "na")[1]
    assert api("--complete", "createZone", "localstorageenabled=t")[1] == "true\n"
    assert "complete -F" in api("--completion", "bash")[1]
    assert completions({}, ["--pro"]) == ["--profile"]


def test_maps_tags_and_files_are_written_short(tmp_path):
    (tmp_path / "data").write_text("#!/bin/sh\n")
    words = ["zoneid=1", "details.cpu=2", "tags.env=prod", "tags.team=a=b", f"userdata=@{tmp_path}/data"]
    assert parameters(words, TOLD) == {
        "zoneid": "1", "details[0].cpu": "2", "tags[0].key": "env", "tags[0].value": "prod", "tags[1].key": "team",
        "tags[1].value": "a=b", "userdata": "#!/bin/sh\n",
    }  # fmt: skip
    assert parameters(["zoneid=1", "details[3].a=b", "userdata=\\@x"], TOLD)["userdata"] == "@x"
    with pytest.raises(InvalidValue, match="cannot be read"):
        parameters(["zoneid=1", "userdata=@/nowhere"], TOLD)
    with pytest.raises(InvalidValue, match="write name=value"):
        parameters(["zoneid"], TOLD)


def test_a_profile_is_its_owners_alone_and_the_others_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDSTACK_CONFIG", str(tmp_path / "c.ini"))
    for name in ("a", "b"):
        file = profiles.save(name, f"http://{name}/client/api", "k", "s%")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert profiles.load("b").endpoint == "http://b/client/api" and profiles.load("a").secret == "s%"
    assert profiles.load(None).name == "a"
    with pytest.raises(profiles.ConfigurationError, match=r"no profile c .*there: a, b"):
        profiles.load("c")


def test_without_any_profile_the_way_to_one_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(profiles, "FALLBACK", tmp_path / "none")
    with pytest.raises(profiles.ConfigurationError, match="--save NAME"):
        profiles.load(None, {"HOME": str(tmp_path)})


def test_all_pages_of_a_list_are_one(monkeypatch):
    rows = [{"id": str(n)} for n in range(1201)]
    client = wire.Client(profiles.Profile("x", "http://x", "k", "s"))

    def call(command, sent):
        first = (int(sent["page"]) - 1) * wire.PAGE
        return {"count": len(rows), "thing": rows[first : first + wire.PAGE]}

    monkeypatch.setattr(client, "call", call)
    assert client.pages("listThings", {})["thing"] == rows


def test_an_answer_that_is_no_apis_is_told(monkeypatch):
    transport = httpx.MockTransport(lambda request: httpx.Response(404, text="<html>"))
    client = wire.Client(profiles.Profile("x", "http://x/ui", "k", "s"), transport)
    with pytest.raises(wire.Refused, match="answered 404 and not as an API does"):
        client.call("listZones", {})


def test_a_certificate_that_is_not_trusted_is_told_with_the_way_out():
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")

    client = wire.Client(profiles.Profile("x", "https://x/client/api", "k", "s"), httpx.MockTransport(refuse))
    with pytest.raises(wire.Refused, match=r"does not trust .*\(verify = FILE"):
        client.call("listZones", {})


def test_a_file_of_certificates_that_is_none_is_told(tmp_path):
    (tmp_path / "empty.pem").write_text("")
    for wrong in ("none.pem", "empty.pem"):
        with pytest.raises(wire.Refused, match=f"verify of the profile x is .*{wrong}, and no file of certificates"):
            wire.Client(profiles.Profile("x", "https://x/client/api", "k", "s", str(tmp_path / wrong)))


def test_columns_are_what_tells_rows_apart():
    rows = [{"id": "1", "same": 1, "name": "a", "cpu": 1, "zoneid": "x", "nested": []},
            {"id": "2", "same": 1, "name": "b", "cpu": 2, "zoneid": "y", "nested": []}]  # fmt: skip
    assert chosen_columns(rows) == ["id", "name", "cpu"]


def test_markup_in_names_is_shown_as_it_is():
    to = io.StringIO()
    show({"count": 1, "vm": [{"name": "[red]x[/red]", "up": True}]}, "table", (), to)
    assert "[red]x[/red]" in to.getvalue() and "true" in to.getvalue()
