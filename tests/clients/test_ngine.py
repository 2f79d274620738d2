"""The collection ngine_io.cloudstack of the `ansible` package, unmodified: a play run twice changes nothing the second
time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.server import Server, running

RELEASE = "ansible>=11,<12"  # the last ones that ran on the ansible-core of this project and hold the collection
CACHE = Path(os.environ.get("CLOUDWRIGHT_CACHE") or "/var/cache/cloudwright")
PLAYS = Path(__file__).parent
LIBRARIES = ("sshpubkeys", "ecdsa", "six")  # what its module of key pairs wants beside what is here
META = {"service-offering": "Small", "instance-id": "i-2-3-VM", "local-hostname": "vm", "availability-zone": "z"}


@pytest.fixture(scope="module")
def collections(tmp_path_factory) -> Path:
    """A folder of collections with this one in it, from the package index and kept in the cache."""
    folder = CACHE / "ngine" if os.access(CACHE.parent, os.W_OK) else tmp_path_factory.mktemp("ngine")
    done = folder / f"{re.sub(r'[^0-9]+', '-', RELEASE)}.{'-'.join(LIBRARIES)}.done"
    if not done.exists():
        wheels = tmp_path_factory.mktemp("wheel")
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", str(wheels)]
        subprocess.run([*pip, RELEASE], check=True, timeout=300)
        (wheel,) = wheels.glob("ansible-*.whl")
        with zipfile.ZipFile(wheel) as packed:
            mine = [n for n in packed.namelist() if n.startswith("ansible_collections/ngine_io/cloudstack/")]
            packed.extractall(folder, mine)
        target = ["--no-deps", "--only-binary", ":all:", "--target", str(folder / "python"), *LIBRARIES]
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", *target], check=True, timeout=300)
        done.touch()
    return folder


@pytest.fixture(scope="module")
def meta_data():
    """What a router tells a guest, on loopback: what cs_facts reads."""

    class Told(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = META.get(self.path.removeprefix("/latest/meta-data/").strip("/"), "")
            self.send_response(200)
            self.end_headers()
            self.wfile.write((known or "\n".join(META)).encode() if "meta-data" in self.path else b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Told) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_second_run_of_a_play_of_tenants_changes_nothing(tmp_path, collections, meta_data):
    with running(tmp_path / "cloud") as server:
        given = {"password": "Wq7-long-enough", "meta_data": meta_data}
        first, second = (played(collections, server, "ngine.yml", given) for _ in range(2))
    assert changed(first) >= 14, first
    assert changed(second) == 0, second


@pytest.mark.long
def test_second_runs_of_plays_of_a_zone_its_machines_and_their_end_change_nothing(tmp_path, collections):
    """Long only for these modules' habit of asking every two seconds."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(tmp_path / "key")], check=True)
    with running(tmp_path / "cloud") as server:
        given = {"public_key": (tmp_path / "key.pub").read_text().strip()}
        made = [played(collections, server, "ngine_compute.yml", given) for _ in range(2)]
        between = played(collections, server, "ngine_changes.yml", {})
        gone = [played(collections, server, "ngine_end.yml", {}) for _ in range(2)]
    assert changed(made[0]) >= 27, made[0]
    assert changed(made[1]) == 0, made[1]
    assert changed(between) >= 14, between
    assert changed(gone[0]) >= 9, gone[0]
    assert changed(gone[1]) == 0, gone[1]


def changed(told: str) -> int:
    """The number of changes of a play in which nothing failed."""
    assert "failed=0" in told, told
    found = re.search(r"changed=(\d+)", told)
    assert found, told
    return int(found[1])


def played(collections: Path, server: Server, play: str, given: dict[str, str]) -> str:
    """What a play told."""
    credentials = {name: server.credentials[name] for name in ("api_key", "api_secret")}
    options = json.dumps({"api_url": server.url, **credentials, **given})
    playbook = str(Path(sys.executable).parent / "ansible-playbook")
    command = [playbook, "-i", "localhost,", "-e", options, str(PLAYS / play)]
    environment = os.environ | {
        "ANSIBLE_COLLECTIONS_PATH": str(collections), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable, "PYTHONPATH": str(collections / "python"),
    }  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    return done.stdout + done.stderr
