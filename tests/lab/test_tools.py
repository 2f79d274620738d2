"""The tools under the lab, without a machine: the proxy that keeps packages, the steps of `make cloud`, wrong words."""

from __future__ import annotations

import http.client
import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import cloud  # noqa: E402
import lab  # noqa: E402
from nspawn import cli, image, network, processes, proxy  # noqa: E402


class Archive(http.server.BaseHTTPRequestHandler):
    """A package archive that counts what it is asked for."""

    asked: list[str] = []
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        Archive.asked.append(self.path)
        body = b"package " * 1000
        if self.path.endswith("absent.deb"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.path.endswith("broken.deb"):
            self.wfile.write(body[:100])
            self.close_connection = True
            return
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def archive() -> Iterator[str]:
    Archive.asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Archive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def through(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[http.client.HTTPConnection]:
    monkeypatch.setattr(proxy, "CACHE", tmp_path / "kept")
    with proxy.on_loopback() as url:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        yield connection
        connection.close()


def fetch(connection: http.client.HTTPConnection, url: str, **headers: str) -> tuple[int, bytes]:
    connection.request("GET", url, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def kept() -> list[Path]:
    return sorted(proxy.CACHE.iterdir()) if proxy.CACHE.exists() else []


def test_a_package_is_fetched_once(archive: str, through: http.client.HTTPConnection) -> None:
    first = fetch(through, f"{archive}/pool/a_1.deb")
    assert first == (200, b"package " * 1000)
    assert fetch(through, f"{archive}/pool/a_1.deb") == first
    assert Archive.asked == ["/pool/a_1.deb"]
    assert len(kept()) == 1


def test_an_index_is_fetched_every_time(archive: str, through: http.client.HTTPConnection) -> None:
    for _ in range(2):
        assert fetch(through, f"{archive}/dists/stable/InRelease")[0] == 200
    assert len(Archive.asked) == 2
    assert kept() == []


def test_what_is_absent_is_not_kept(archive: str, through: http.client.HTTPConnection) -> None:
    assert fetch(through, f"{archive}/pool/absent.deb")[0] == 404
    assert kept() == []


def test_half_a_package_is_not_kept(archive: str, through: http.client.HTTPConnection) -> None:
    with pytest.raises(http.client.IncompleteRead):
        fetch(through, f"{archive}/pool/broken.deb")
    assert kept() == []


def test_an_archive_out_of_reach_is_an_error_that_names_it(through: http.client.HTTPConnection) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        status, body = fetch(through, f"http://127.0.0.1:{closed.getsockname()[1]}/pool/a.deb")
    assert status == 502
    assert b"127.0.0.1" in body


def test_a_tunnel_carries_both_ways(archive: str, through: http.client.HTTPConnection) -> None:
    host, port = archive.removeprefix("http://").split(":")
    tunnel = http.client.HTTPConnection(through.host, through.port, timeout=10)
    tunnel.set_tunnel(host, int(port))
    assert fetch(tunnel, "/pool/b.deb")[0] == 200
    tunnel.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kvm1", "NAME=ADDRESS"),
        ("kvm1=", "NAME=ADDRESS"),
        ("kvm1=10.0.0.1,disk=5", "'disk=5' is none of image=, nic=, bind=, data=, shared="),
    ],
)
def test_a_machine_is_described_well_or_refused(text: str, message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        cli.parse_machine(text)


def test_options_of_a_machine() -> None:
    found = cli.parse_machine("a=10.0.0.1:trixie,image=full,nic=x,nic=y,data=/srv,shared=/mnt")
    assert (found.suite, found.image, found.nics, found.data) == ("trixie", "full", ["x", "y"], ["/srv"])
    assert found.shared == ["/mnt"] and found.binds == []
    assert cli.parse_machine("a=10.0.0.1").suite == "bookworm"


def test_an_image_is_named_after_what_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = image.name_of("bookworm", "full")
    monkeypatch.setitem(image.KINDS, "full", [*image.KINDS["full"], "another"])
    assert image.name_of("bookworm", "full") != before
    assert image.name_of("bookworm", "base") != image.name_of("trixie", "base")
    with pytest.raises(SystemExit, match="no image kind 'huge': there are base, full"):
        image.name_of("bookworm", "huge")


def test_labs_of_other_names_and_checkouts_share_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for name in ("lab", "other"):
        monkeypatch.setenv("CLOUDWRIGHT_LAB", name)
        found.add(network.namespace(lab.machine_state()))
    monkeypatch.setattr(lab, "ROOT", Path("/another/checkout"))
    found.add(network.namespace(lab.machine_state()))
    assert len(found) == 3


@pytest.mark.parametrize("name", ["../x", "a b", "-x", "x" * 42])
def test_a_lab_has_a_plain_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("CLOUDWRIGHT_LAB", name)
    with pytest.raises(SystemExit, match="CLOUDWRIGHT_LAB="):
        lab.lab_name()


@pytest.mark.skipif(os.geteuid() != 0 or not processes.CGROUPS, reason="needs root and cgroups")
def test_a_machine_enters_its_cgroup_while_other_runs_end() -> None:
    mine, over = f"test-{os.getpid()}", time.monotonic() + 1.5
    ends = os.fork()
    if not ends:
        while time.monotonic() < over:
            processes.kill_cgroup(f"{mine}-other")
            processes.removed(processes.CGROUPS[0] / processes.CGROUP_TOP / mine)
        os._exit(0)
    failed = 0
    while time.monotonic() < over:
        child = os.fork()
        if not child:
            try:
                processes.enter_cgroup(f"{mine}/machine")
            except BaseException:
                os._exit(1)
            os._exit(0)
        failed += os.waitpid(child, 0)[1] != 0
        processes.kill_cgroup(f"{mine}/machine")
    os.waitpid(ends, 0)
    processes.kill_cgroup(mine)
    assert failed == 0


def test_clients_are_told_where_the_api_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lab, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="has no cloud: `make cloud` makes it"):
        lab.client_environment()
    lab.folder().mkdir(parents=True)
    (lab.folder() / "credentials.json").write_text('{"api_key": "k", "api_secret": "a b\'c"}')
    (lab.folder() / "facts.json").write_text('{"url": "http://127.0.0.1:1/client/api"}')
    script = f'{lab.client_environment()}\nprintf \'%s|\' "$CLOUDSTACK_ENDPOINT" "$CLOUDSTACK_SECRET"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "http://127.0.0.1:1/client/api|a b'c|"


def test_a_pid_that_runs_something_else_is_not_ours(tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    pidfile.write_text(str(os.getpid()))
    assert processes.alive(pidfile, "no such word on the command line") == 0
    pidfile.write_text("")
    assert processes.alive(pidfile, "") == 0


def test_a_taken_port_is_passed_over() -> None:
    first = lab.free_port()
    with socket.create_server(("127.0.0.1", first)):
        assert lab.free_port() != first
    assert lab.free_port() == first


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list]:
    monkeypatch.setattr(cloud, "ROOT", tmp_path)
    monkeypatch.setattr(cloud, "summary", lambda: "the summary")
    listed: list = []
    monkeypatch.setattr(cloud, "STEPS", listed)
    yield listed


def test_steps_say_what_they_changed(steps: list, capsys: pytest.CaptureFixture[str]) -> None:
    steps += [("one", lambda log: "built"), ("two", lambda log: "")]
    assert cloud.up() == 0
    said = capsys.readouterr().out
    assert "[1/2] one" in said and "Changed: one." in said and said.rstrip().endswith("the summary")
    steps[:] = [("two", lambda log: log.run("true") and "")]
    assert cloud.up() == 0
    assert "Nothing changed: all was there." in capsys.readouterr().out


def test_a_step_that_fails_is_named_with_its_last_words(steps: list, capsys: pytest.CaptureFixture[str]) -> None:
    script = "for n in $(seq 1 60); do echo line $n; done; echo the disk is full >&2; exit 3"
    steps += [
        ("one", lambda log: log.run("sh", "-c", script)),
        ("two", lambda log: pytest.fail("goes on after a failure")),
    ]
    assert cloud.up() == 1
    said = capsys.readouterr().out
    assert "Step [1/2] one failed: sh ended with 3" in said
    assert "the disk is full" in said and "line 60" in said and "line 2\n" not in said
    log = cloud.ROOT / ".lab" / f"{lab.lab_name()}.log"
    assert str(log) in said
    assert "line 2\n" in log.read_text()


def test_changes_of_a_playbook_are_counted(steps: list, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cloud, "PLAYBOOK", ROOT / ".venv/bin/ansible-playbook")
    inventory = tmp_path / "inventories/lab"
    inventory.mkdir(parents=True)
    (inventory / "hosts").write_text("a ansible_connection=local\nb ansible_connection=local\n")
    playbook = tmp_path / "play.yml"
    playbook.write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n"
        "    - ansible.builtin.debug: {msg: x}\n      changed_when: item == 1\n      loop: [0, 1]\n"
    )
    log = cloud.Log(tmp_path / "log")
    assert cloud.play(log, playbook) == "changed=2"
    playbook.write_text("- hosts: all\n  gather_facts: false\n  tasks: [{ansible.builtin.debug: {msg: x}}]\n")
    assert cloud.play(log, playbook) == ""
    playbook.write_text("- hosts: all\n  gather_facts: false\n  tasks: [{ansible.builtin.fail: {msg: for a reason}}]\n")
    with pytest.raises(cloud.StepFailed, match="ansible-playbook ended with 2"):
        cloud.play(log, playbook)


def test_wheels_are_built_when_the_source_changed(steps: list, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cloud, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(cloud, "WHEELS", tmp_path / "kept/wheels")
    cloud.WHEELS.mkdir(parents=True)
    (tmp_path / "mgmt_server").mkdir()
    source, project = tmp_path / "mgmt_server/a.py", tmp_path / "pyproject.toml"
    source.write_text("1")
    project.write_text("[project]")
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(cloud.Log, "run", lambda self, *argv, **more: ran.append(tuple(map(str, argv))) or "")
    log = cloud.Log(tmp_path / "log")
    assert cloud.wheels(log)
    assert "--no-deps" not in ran[-1]
    assert cloud.wheels(log) == "" and len(ran) == 1
    source.write_text("2")
    assert cloud.wheels(log) == "1 wheel"
    assert "--no-deps" in ran[-1]
    project.write_text("[project] ")
    assert cloud.wheels(log)
    assert "--no-deps" not in ran[-1]


def test_wrong_words_are_answered_with_the_right_ones() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools/cloud.py", "away"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "tools/cloud.py down" in done.stderr
