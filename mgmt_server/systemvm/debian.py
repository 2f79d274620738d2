"""Debian 12 packages as files: root file systems and a kernel, without installing anything on this machine.

Everything fetched is kept in a cache folder under a name that is a hash of what was asked for.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SUITE = "bookworm"
KERNEL = "linux-image-cloud-amd64"

# command: the Debian package that has it
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "mcopy": "mtools",
    "mformat": "mtools",
    "syslinux": "syslinux",
    "qemu-img": "qemu-utils",
    "cpio": "cpio",
    "mke2fs": "e2fsprogs",
    "sfdisk": "fdisk",
    "depmod": "kmod",
    "modprobe": "kmod",
    "tar": "tar",
}
MBR = "/usr/lib/SYSLINUX/mbr.bin"  # in syslinux too

COMMON = ("mmdebstrap", "--quiet", '--aptopt=APT::Install-Recommends "false"')
NO_DOCUMENTATION = ("doc", "man", "locale", "info", "lintian", "bug")


class BuildError(Exception):
    """An image could not be built; the text says why and what to do."""


def say(text: str) -> None:
    """A line of progress for whoever waits."""
    print(text, file=sys.stderr, flush=True)


def check_tools() -> None:
    """Raises BuildError that names what to install, or that this must run as root."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = {package for command, package in TOOLS.items() if not shutil.which(command, path=path)}
    if not Path(MBR).is_file():
        missing.add("syslinux")
    if missing:
        names = " ".join(sorted(missing))
        raise BuildError(f"missing Debian packages: {names}. Install them: apt-get install {names}")
    if os.geteuid() != 0:
        raise BuildError("building an image makes files that belong to root: run it as root")


def run(*argv: str | Path, env: Mapping[str, str] | None = None, data: bytes | None = None) -> bytes:
    """Output of a command. Raises BuildError with the end of what it said when it fails."""
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC", **(env or {})}
    environment["PATH"] = f"{environment.get('PATH', '')}:/usr/sbin:/sbin"
    words = [str(word) for word in argv]
    done = subprocess.run(words, capture_output=True, env=environment, input=data, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()[-2000:]
        raise BuildError(f"{words[0]} failed with status {done.returncode}: {said or 'it said nothing'}")
    return done.stdout


def digest(parts: Iterable[str | bytes | Path]) -> str:
    """Hash of texts, bytes and files (a folder: all files below it with their names), in the order given."""
    whole = hashlib.sha256()
    for part in parts:
        files = [part]
        if isinstance(part, Path) and part.is_dir():
            files = sorted(p for p in part.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        for item in files:
            if isinstance(item, Path):
                whole.update(f"{item.relative_to(part) if item != part else item.name}\0".encode())
                content = item.read_bytes()
            else:
                content = item.encode() if isinstance(item, str) else item
            whole.update(f"{len(content)}\0".encode() + content)
    return whole.hexdigest()[:16]


@contextmanager
def locked(cache: Path) -> Iterator[None]:
    """One build at a time in a cache; a second one waits, and finds what the first has made."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sources_text(sources: Path | None) -> str:
    return sources.read_text() if sources else ""


def extracted(packages: tuple[str, ...], cache: Path, sources: Path | None = None) -> Path:
    """Folder with the files of the packages and of what they depend on, unpacked but not configured."""
    options = ("--variant=extract", f"--include={','.join(packages)}", "--dpkgopt=path-exclude=/usr/share/*")
    folder = cache / f"parts-{digest([*COMMON, *options, sources_text(sources)])}"
    if not folder.is_dir():
        say(f"fetching {', '.join(packages)}")
        made = _fresh(cache, folder.name)
        run(*COMMON, *options, SUITE, made, *([sources] if sources else []))
        made.rename(folder)
    return folder


def root_archive(packages: tuple[str, ...], cache: Path, epoch: int, sources: Path | None = None) -> Path:
    """Tar file of a root file system with the packages installed; Python's byte code in it knows no date."""
    compile_all = "python3 -m compileall -q -f --invalidation-mode unchecked-hash /usr/lib/python3 /usr/lib/python3.11"
    options = (
        *("--variant=essential", "--format=tar", f"--include={','.join(packages)}"),
        *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in NO_DOCUMENTATION),
        f'--customize-hook=PYTHONHASHSEED=0 chroot "$1" {compile_all}',
    )
    archive = cache / f"root-{digest([*COMMON, *options, str(epoch), sources_text(sources)])}.tar"
    if not archive.is_file():
        say(f"installing {len(packages)} packages and what they depend on (about a minute)")
        made = _fresh(cache, archive.name)
        where = [sources] if sources else []
        run(*COMMON, *options, SUITE, made, *where, env={"SOURCE_DATE_EPOCH": str(epoch)})
        made.rename(archive)
    return archive


def kernel_release(parts: Path) -> str:
    """Release of the one kernel in a folder made by `extracted`, e.g. 6.1.0-56-cloud-amd64."""
    found = sorted(p.name for p in (parts / "lib/modules").iterdir())
    if len(found) != 1:
        raise BuildError(f"expected one kernel in {parts}, found {found or 'none'}: remove that folder and build again")
    return found[0]


def kernel_image(parts: Path) -> Path:
    return parts / "boot" / f"vmlinuz-{kernel_release(parts)}"


def kernel_date(parts: Path) -> int:
    """Seconds since 1970 of the kernel's package: the date that everything in an image is given at most."""
    return int(kernel_image(parts).stat().st_mtime)


def modules_for(parts: Path, names: Iterable[str]) -> list[Path]:
    """Files of kernel modules and of those they need, in loading order; a name built into the kernel has none."""
    release = kernel_release(parts)
    if not (parts / "lib/modules" / release / "modules.dep").is_file():
        run("depmod", "-b", parts, release)
    files: dict[Path, None] = {}
    for name in names:
        for line in run("modprobe", "-d", parts, "-S", release, "--show-depends", name).decode().splitlines():
            word, _, rest = line.partition(" ")
            if word == "insmod":
                files[Path(rest.split()[0])] = None
    return list(files)


def _fresh(cache: Path, name: str) -> Path:
    """A name to build under, which nothing takes for finished; what an interrupted build left there goes."""
    cache.mkdir(parents=True, exist_ok=True)
    made = cache / f"{name}.new"
    if made.is_dir():
        shutil.rmtree(made)
    else:
        made.unlink(missing_ok=True)
    return made
