"""The agent on a real libvirtd with a real (emulated) guest, in namespaces of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.guests
@pytest.mark.timeout(300)
@pytest.mark.parametrize("pool", ["directory", "nfs"])
def test_life_of_a_guest(tmp_path: Path, pool: str) -> None:
    """`nfs`: a pool that QEMU reaches by itself, without the kernel's client."""
    if pool == "nfs" and shutil.which("ganesha.nfsd") is None:
        pytest.skip("needs nfs-ganesha and nfs-ganesha-vfs")
    script = Path(__file__).with_name("real_host.py")
    # bash is the first process there: it reaps what QEMU leaves when it becomes a daemon
    words = f"{sys.executable} {script} {tmp_path} {pool}; exit $?"
    argv = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child"]
    argv += ["bash", "-c", words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=280, check=False)
    log = tmp_path / "agent.log"
    assert done.returncode == 0, done.stdout + done.stderr + (log.read_text() if log.exists() else "")
    assert done.stdout.endswith("done\n")


@pytest.fixture(scope="module")
def tiny() -> Path:
    """The tiny guest's image; made once, and kept outside of the tree."""
    root = Path(__file__).parents[2]
    built = root / ".lab/cache/images"
    command = ["/usr/bin/python3", root / "tools/tiny_guest/build.py", "--output", built]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return built / "tiny-guest.qcow2"


@pytest.mark.guests
@pytest.mark.timeout(1500)  # the image with it, once
@pytest.mark.parametrize(
    ("story", "pool"),
    [(s, p) for s in ("changes", "keeps", "moves", "fetches") for p in ("directory", "nfs")]
    + [("leftovers", "directory"), ("firmwares", "directory"), ("breaks", "directory")]
    + [pytest.param("breaks_often", "directory", marks=pytest.mark.long)],
)
def test_two_hosts(tmp_path: Path, tiny: Path, story: str, pool: str) -> None:
    if pool == "nfs" and shutil.which("ganesha.nfsd") is None:
        pytest.skip("needs nfs-ganesha and nfs-ganesha-vfs")
    if story == "firmwares" and not Path("/usr/share/OVMF/OVMF_CODE_4M.fd").exists():
        pytest.skip("needs ovmf")
    words = f"{sys.executable} {Path(__file__).with_name('two_hosts.py')} {tmp_path} {tiny} {story} {pool}; exit $?"
    argv = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child"]
    argv += ["bash", "-c", words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=580, check=False)
    logs = "".join(f"--- {p}\n{p.read_text()[-6000:]}" for p in sorted(tmp_path.glob("kvm?/*.log")))
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr + logs
    assert done.stdout.endswith("done\n")
