"""The collection ngine_io.cloudstack of the `ansible` package, unmodified: a play run twice changes nothing the second
time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.server import running

RELEASE = "ansible>=11,<12"  # the last ones that ran on the ansible-core of this project and hold the collection
CACHE = Path(os.environ.get("CLOUDWRIGHT_CACHE") or "/var/cache/cloudwright")
PLAY = Path(__file__).parent / "ngine.yml"
META = {"service-offering": "Small", "instance-id": "i-2-3-VM", "local-hostname": "vm", "availability-zone": "z"}


@pytest.fixture(scope="module")
def collections(tmp_path_factory) -> Path:
    """A folder of collections with this one in it, from the package index and kept in the cache."""
    folder = CACHE / "ngine" if os.access(CACHE.parent, os.W_OK) else tmp_path_factory.mktemp("ngine")
    done = folder / f"{re.sub(r'[^0-9]+', '-', RELEASE)}.done"
    if not done.exists():
        wheels = tmp_path_factory.mktemp("wheel")
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", str(wheels)]
        subprocess.run([*pip, RELEASE], check=True, timeout=300)
        (wheel,) = wheels.glob("ansible-*.whl")
        with zipfile.ZipFile(wheel) as packed:
            mine = [n for n in packed.namelist() if n.startswith("ansible_collections/ngine_io/cloudstack/")]
            packed.extractall(folder, mine)
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
        given = {
            "api_url": server.url, "api_key": server.credentials["api_key"], "password": "Wq7-long-enough",
            "api_secret": server.credentials["api_secret"], "meta_data": meta_data,
        }  # fmt: skip
        options = [f"-e{name}={value}" for name, value in given.items()]
        first, second = (played(collections, options) for _ in range(2))
    assert "failed=0" in first and int(re.search(r"changed=(\d+)", first)[1]) >= 14, first
    assert "failed=0" in second and "changed=0" in second, second


def played(collections: Path, options: list[str]) -> str:
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", *options, str(PLAY)]
    environment = os.environ | {
        "ANSIBLE_COLLECTIONS_PATH": str(collections), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    return done.stdout + done.stderr
