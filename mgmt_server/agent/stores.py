"""Secondary storage as this host reaches it: files fetched from it, and put onto it whole."""

from __future__ import annotations

import shutil
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from uuid import uuid4

from mgmt_server.agent import libnfs
from mgmt_server.agent.config import Config
from mgmt_server.agent.places import mounted, nfs_mode, safe_path, store_parts
from mgmt_server.agent.run import run
from mgmt_server.errors import Failed, InvalidValue, Unavailable
from mgmt_server.protocol import download
from mgmt_server.protocol.checksum import checked
from mgmt_server.protocol.download import Limits
from mgmt_server.protocol.machine import Direct, File, Image, Store

TRIES, PAUSE = 3, 5.0  # of what comes from outside; seconds between them
COPYING = 6 * 3600.0  # seconds for one image or disk
CHUNK = 1 << 20


@contextmanager
def scratch(config: Config, suffix: str = "") -> Iterator[Path]:
    """The name of a file of this host's own, gone at the end."""
    folder = config.state / "scratch"
    folder.mkdir(parents=True, exist_ok=True, mode=0o711)
    path = folder / f"{uuid4().hex}{suffix}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def fetch(config: Config, image: Image, target: str) -> None:
    """Copy an image to a local file. Its content is not looked at, but that its checksum is right if it comes from
    outside."""
    if image.direct is not None:
        _from_outside(config, image.direct, target)
        if image.checksum:
            checked(Path(target), image.checksum)
        return
    scheme, host, base = store_parts(image.store.url)
    path = safe_path(f"{base.rstrip('/')}/{image.path}")
    if scheme == "nfs" and nfs_mode(config) == "libnfs":
        run(["nfs-cp", f"nfs://{host}{path}", target], COPYING)
    elif scheme == "nfs":
        folder = _folder(config, image.store)
        _copy(folder / image.path, target, folder)
    elif scheme == "file":
        _copy(Path(path), target, Path(safe_path(base)))
    else:
        _download(f"{scheme}://{host}{path}", target, image.size)


@contextmanager
def appearing(config: Config, file: File) -> Iterator[tuple[str, dict[str, int]]]:
    """A local path to write to; what stands there at the end appears on the store under its name, whole.

    The dictionary has the `size` of the file afterwards.
    """
    scheme, host, base = store_parts(file.store.url)
    path = safe_path(f"{base.rstrip('/')}/{file.path}")
    told: dict[str, int] = {}
    if scheme in ("http", "https"):
        raise Failed(f"nothing can be written to {scheme}:// stores: nfs and file work")
    if scheme == "nfs" and nfs_mode(config) == "libnfs":
        with scratch(config) as local:
            yield str(local), told
            told["size"] = local.stat().st_size
            _put_remote(host, safe_path(base), file.path, local)
        return
    folder = _folder(config, file.store) if scheme == "nfs" else Path(safe_path(base))
    if not folder.is_dir():
        raise Unavailable(f"{file.store.url} is not there on this host")
    target = folder / file.path if scheme == "nfs" else Path(path)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise Failed(f"{file.path} leads out of its store")
    for old in target.parent.glob(f".{target.name}.*.part"):
        old.unlink(missing_ok=True)  # of a try that was killed
    aside = target.with_name(f".{target.name}.{uuid4().hex[:8]}.part")
    try:
        yield str(aside), told
        told["size"] = aside.stat().st_size
        aside.rename(target)
    finally:
        aside.unlink(missing_ok=True)


def _folder(config: Config, store: Store) -> Path:
    _, host, base = store_parts(store.url)
    return mounted(config, host, safe_path(base), store.details.get("nfsmountopts", ""))


def _put_remote(host: str, base: str, path: str, local: Path) -> None:
    path = path.strip("/")
    with libnfs.export(host, base) as export:
        folder = PurePosixPath(path).parent
        for each in (*reversed(folder.parents), folder):
            if str(each) != ".":
                export.mkdir(str(each))
        aside = f"{path}.{uuid4().hex[:8]}.part"
        try:
            run(["nfs-cp", str(local), f"{export.url}/{aside}"], COPYING)
            there = export.size(aside)
            if there is None or there[0] != local.stat().st_size:
                raise Failed(f"{export.url}/{path}: it was written in part only; is the store full?")
            export.rename(aside, path)
        finally:
            export.unlink(aside)


def _copy(source: Path, target: str, root: Path) -> None:
    # a symbolic link on the store must not lead out of it
    if not source.resolve().is_relative_to(root.resolve()):
        raise Failed(f"{source} leads out of its store")
    if not source.is_file():
        raise Failed(f"{source.relative_to(root)} is not on the store")
    run(["cp", "--sparse=always", "--reflink=auto", "--", str(source), target], COPYING)


def _from_outside(config: Config, direct: Direct, target: str) -> None:
    """From where it was registered. What may pass is tried again; a try that was cut off begins anew."""
    room = shutil.disk_usage(Path(target).parent).free
    trusted = (a.certificate for a in direct.authorities if not a.agents or config.uuid in a.agents)
    end = time.monotonic() + COPYING
    limits = Limits(
        direct.allowed,
        min(direct.largest, room),
        COPYING,
        tuple(trusted),
        direct.redirects,
        direct.dial,
        direct.silence,
    )
    for left in reversed(range(TRIES)):
        try:
            download.fetch(direct.url, Path(target), replace(limits, seconds=end - time.monotonic()))
            return
        except InvalidValue as error:
            raise Failed(f"this host does not fetch the image: {error}") from None
        except Unavailable as error:
            if not left:
                raise Failed(f"this host cannot fetch the image: {error} (tried {TRIES} times)") from None
        time.sleep(PAUSE)


def _download(url: str, target: str, size: int) -> None:
    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    opener = urllib.request.build_opener(NoRedirect, urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=60) as answer, open(target, "wb") as file:
            left = size or shutil.disk_usage(Path(target).parent).free // 2
            while chunk := answer.read(CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise Failed(f"{url} is larger than registered")
                file.write(chunk)
    except OSError as error:
        raise Unavailable(f"{url} cannot be fetched by this host: {error}") from None
