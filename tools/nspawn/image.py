"""Root file systems for machines: built once by mmdebstrap, named by a hash of what is in them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from nspawn import proxy
from nspawn.processes import locked, run

CACHE = Path(os.environ.get("NSPAWN_CACHE") or proxy.CACHE.parent / "nspawn")

SPEC = json.loads(Path(__file__).with_name("images.json").read_text())
KINDS = {"base": SPEC["base"], "full": SPEC["base"] + SPEC["full"]}


def apt_sources(suite: str) -> str:
    """The machine's own apt sources, moved to another suite: no mirror is named here.

    On a machine of another family, point NSPAWN_SOURCES at a file with @SUITE@ where the suite goes.
    """
    if template := os.environ.get("NSPAWN_SOURCES"):
        return Path(template).read_text().replace("@SUITE@", suite)
    lines = Path("/etc/os-release").read_text().splitlines()
    own = dict(line.split("=", 1) for line in lines if "=" in line).get("VERSION_CODENAME", "")
    paths = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("debian*"))]
    text = "\n".join(path.read_text() for path in paths if path.is_file())
    if not text.strip() or not own:
        raise SystemExit("no Debian package source found on this machine; name one with NSPAWN_SOURCES=FILE")
    return text.replace(own, suite)


def name_of(suite: str, kind: str) -> str:
    """The image's name: its content is decided by suite, packages and `layout` (raise it when `configure` changes)."""
    if kind not in KINDS:
        raise SystemExit(f"no image kind {kind!r}: there are {', '.join(KINDS)}")
    told = "\n".join([suite, *sorted(KINDS[kind]), str(SPEC["layout"])])
    return f"{suite}-{kind}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"


def image(suite: str, kind: str) -> Path:
    """The image's folder, built if it is not there yet."""
    name = name_of(suite, kind)
    root = CACHE / name
    with locked(name):
        if root.exists():
            return root
        CACHE.mkdir(parents=True, exist_ok=True)
        print(f"building image {name}", file=sys.stderr, flush=True)
        building = CACHE / f"{name}.new"
        shutil.rmtree(building, ignore_errors=True)
        unpack(suite, kind, building)
        configure(building)
        building.rename(root)
    return root


def unpack(suite: str, kind: str, building: Path) -> None:
    sources, tar = building.with_suffix(".sources"), building.with_suffix(".tar")
    text = apt_sources(suite)
    # the one-line format is told by its first word, the other has its own suffix
    sources = sources.with_suffix(".sources" if "URIs:" in text else ".list")
    sources.write_text(text)
    with proxy.on_loopback() as url:
        environment = os.environ | {"http_proxy": url, "no_proxy": ""}
        command = ["mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join(KINDS[kind])}"]
        command += ["--skip=cleanup/apt/lists", '--aptopt=APT::Install-Recommends "false"']
        command += [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "locale", "info")]
        run(*command, suite, tar, sources, stdout=sys.stderr, env=environment)
    building.mkdir()
    run("tar", "-C", building, "-xf", tar)
    tar.unlink()
    sources.unlink()


def configure(root: Path) -> None:
    etc = root / "etc"
    for junk in [
        *etc.glob("ssh/ssh_host_*"),
        etc / "hostname",
        etc / "resolv.conf",
        etc / "apt/apt.conf.d/99mmdebstrap",
    ]:
        junk.unlink(missing_ok=True)
    (etc / "machine-id").write_text("")
    (etc / "resolv.conf").write_text("")
    (etc / "dpkg/dpkg.cfg.d/90unsafe-io").write_text("force-unsafe-io\n")
    # one host key for the image: generating keys at every boot costs about a second
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", etc / "ssh/ssh_host_ed25519_key")
    run("systemctl", f"--root={root}", "--quiet", "mask", *SPEC["masked"], stderr=sys.stderr)
    present = [
        unit for unit in SPEC["off"] if any((root / f"{top}/systemd/system" / unit).exists() for top in ("lib", "etc"))
    ]
    if present:
        run("systemctl", f"--root={root}", "--quiet", "disable", *present, stderr=sys.stderr)
    run(
        "systemctl", f"--root={root}", "--quiet", "enable", "systemd-networkd.service", "ssh.service", stderr=sys.stderr
    )
    # a certificate authority that this machine trusts in addition is trusted by its machines too
    anchors = list(Path("/usr/local/share/ca-certificates").glob("**/*.crt"))
    for anchor in anchors:
        shutil.copy(anchor, root / "usr/local/share/ca-certificates" / anchor.name)
    if anchors:
        run("chroot", root, "update-ca-certificates", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
