"""The Go library that Terraform's provider stands on, unmodified: its answers are strictly typed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

GO = shutil.which("go", path=f"{os.environ['PATH']}:/usr/local/go/bin")
CACHE = Path(os.environ.get("CLOUDWRIGHT_CACHE") or "/var/cache/cloudwright")
SOURCE = Path(__file__).parent / "go"


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Path:
    """The program, built; the library itself takes a minute, once."""
    if GO is None:
        pytest.skip("no Go toolchain: apt install golang")
    folder = CACHE / "go" if os.access(CACHE, os.W_OK) else tmp_path_factory.mktemp("go")
    built = tmp_path_factory.mktemp("client") / "client"
    caches = {"GOCACHE": str(folder / "build"), "GOMODCACHE": str(folder / "modules"), "GOTOOLCHAIN": "local"}
    command = [GO, "build", "-p", "1", "-mod=readonly", "-o", str(built), "."]
    subprocess.run(command, cwd=SOURCE, env=os.environ | caches, check=True, timeout=1000)
    return built


@pytest.mark.long
def test_the_go_library_deploys_lists_snapshots_and_destroys(client, server, zone, template):
    found = server.credentials
    told = [server.url, found["api_key"], found["api_secret"], "Sandbox-simulator", template["name"], "Small Instance"]
    done = subprocess.run([str(client), *told], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "deployed 1 by-go Running 1 512 1 go",
        "volumes 1 ROOT Ready",
        "snapshots 1 BackedUp",
        "gone 0 true",
    ]
