"""Templates in folders as secondary storage holds them: template/tmpl/ACCOUNT/NUMBER/ with template.properties."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mgmt_server.drivers.image import nfs
from mgmt_server.errors import Failed

PROPERTIES = "template.properties"
TOP = "template/tmpl"
FORMATS = ("QCOW2", "RAW", "ISO", "VHD", "VHDX", "VMDK", "OVA")
DEEPEST = 6  # folders below the one that was named


@dataclass(frozen=True)
class Kept:
    """A template in such a folder. `store` is its URL, or empty for a folder of this server."""

    store: str
    folder: str  # below the store, or a path
    account: int | None  # as the layout has them
    number: int | None
    told: dict[str, str]

    @property
    def file_name(self) -> str:
        """Raises Failed for a name that is none."""
        name = self.told.get("filename", "")
        if not name or "/" in name or name in (".", "..") or any(ord(c) < 32 for c in name):
            raise Failed(f"{self.folder}/{PROPERTIES} names no file of its folder (filename={name[:100]!r})")
        return name

    @property
    def format(self) -> str:
        """Raises Failed where it is not told."""
        told = [f for f in FORMATS if self.told.get(f.lower(), "").lower() == "true"]
        ending = self.file_name.rpartition(".")[2].upper()
        if not told and ending in FORMATS:
            told = [ending]
        if len(told) != 1:
            raise Failed(
                f"{self.folder}/{PROPERTIES} does not tell the format: it needs one of qcow2=true, raw=true ..."
            )
        return told[0]

    @property
    def unique_name(self) -> str:
        return (self.told.get("uniquename") or f"{self.number}-{self.account}-{self.file_name}")[:255]

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.file_name}"

    def size(self) -> int | None:
        """Bytes of the image; None where there is none."""
        if self.store:
            return nfs.stat(self.store, self.path)
        file = Path(self.path)
        return file.stat().st_size if file.is_file() and not file.is_symlink() else None

    def fetch(self, target: Path) -> None:
        if self.store:
            nfs.get(self.store, self.path, target)
        else:
            shutil.copyfile(self.path, target, follow_symlinks=False)


def properties(content: bytes) -> dict[str, str]:
    """The pairs of a file of properties, as other programs write them."""
    found = {}
    for line in content.decode(errors="replace").splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith(("#", "!")):
            found[key.strip().lower()] = value.strip().replace("\\:", ":").replace("\\=", "=")
    return found


def in_folder(folder: Path) -> Iterator[Kept]:
    """The templates below a folder of this server. Raises Failed where there is none."""
    if not folder.is_dir():
        raise Failed(f"{folder} is no folder")
    folder = folder.resolve()
    files = [f for f in sorted(folder.rglob(PROPERTIES)) if len(f.relative_to(folder).parts) <= DEEPEST]
    if not files:
        raise Failed(
            f"there is no {PROPERTIES} below {folder}: name a folder in the layout {TOP}/ACCOUNT/NUMBER/, or one of "
            "these"
        )
    for file in files:
        if not file.is_symlink():
            account, number = (_number(part) for part in file.parts[-3:-1])
            yield Kept("", str(file.parent), account, number, properties(file.read_bytes()))


def on_store(url: str) -> Iterator[Kept]:
    """The templates on a secondary storage. Raises Failed where there is none."""
    count = 0
    for account in nfs.names(url, TOP):
        for number in nfs.names(url, f"{TOP}/{account}"):
            content = nfs.read(url, f"{TOP}/{account}/{number}/{PROPERTIES}")
            if content is not None:
                count += 1
                folder = f"{TOP}/{account}/{number}"
                yield Kept(url, folder, _number(account), _number(number), properties(content))
    if not count:
        raise Failed(f"there is no {TOP}/ACCOUNT/NUMBER/{PROPERTIES} on {url}")


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 10 else None
