"""agent.toml: who this agent is, whom it dials, and what its host lets it use."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mgmt_server.errors import ParameterError

ACCELERATORS = ("auto", "kvm", "qemu")
NFS = ("auto", "mount", "libnfs")


class ConfigError(ParameterError):
    """agent.toml cannot be used: the text names the file, the entry and what it may be."""


@dataclass(frozen=True)
class Config:
    servers: tuple[str, ...]  # host:port
    uuid: str
    name: str
    certificate: Path
    key: Path
    ca: Path
    kind: str = "host"
    address: str = ""  # of this host; empty: the one that reaches the first server
    accelerator: str = "auto"  # auto, kvm, qemu (emulation)
    bridges: dict[str, str] = field(default_factory=dict)  # traffic type -> bridge
    pool_path: str = "/var/lib/libvirt/images"
    nfs: str = "auto"  # auto, mount (the kernel's client), libnfs (QEMU's own)
    vnc_listen: str = ""  # empty: the address of this host
    unsafe_migration: bool = False
    unmounted_pools: bool = False  # use SharedMountPoint pools also where nothing is mounted
    maintenance_scripts: Path = Path("/etc/cloudwright/maintenance")  # of this host, for startRollingMaintenance
    libvirt: str = "qemu:///system"
    state: Path = Path("/var/lib/cloudwright-agent")  # the journal, mounts
    logs: Path = Path("/var/log/cloudwright")  # serial consoles of guests
    run: Path = Path("/run/cloudwright-agent")  # sockets of system VMs' agents


def load(path: str | Path) -> Config:
    """Raises ConfigError."""
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): run `cloudwright agent enroll` first") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    return _checked(path, content)


def _checked(path: Path, content: dict[str, Any]) -> Config:
    for name in ("servers", "uuid", "name", "certificate", "key", "ca"):
        if not content.get(name):
            raise ConfigError(f"{path} has no `{name}`: run `cloudwright agent enroll` again")
    known = Config.__dataclass_fields__
    values: dict[str, Any] = {}
    for name, value in content.items():
        if name not in known:
            raise ConfigError(f"{path}: `{name}` is no setting; those are {', '.join(known)}")
        values[name] = Path(value) if known[name].type == "Path" else value
    values["servers"] = tuple(values["servers"])
    for name, allowed in (("accelerator", ACCELERATORS), ("nfs", NFS)):
        if values.get(name, "auto") not in allowed:
            raise ConfigError(f"{path}: `{name}` is {values[name]!r}, and may be {', '.join(allowed)}")
    for server in values["servers"]:
        address_of(server, path)
    return Config(**values)


def address_of(server: str, where: object = "--server") -> tuple[str, int]:
    """("host", port) of "host:port", also of "[v6]:port"."""
    host, separator, port = server.rpartition(":")
    if not separator or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"{where}: {server!r} is not HOST:PORT, for example mgmt1:8250")
    return host.strip("[]"), int(port)


def store(path: Path, values: dict[str, Any]) -> None:
    """Write agent.toml (0640) with `values`; settings that an operator added and `values` does not name stay."""
    try:
        kept = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError):
        kept = {}
    kept |= values
    lines = [f"{name} = {_toml(value)}" for name, value in kept.items() if not isinstance(value, dict)]
    for name, table in kept.items():
        if isinstance(table, dict):
            lines += ["", f"[{name}]", *(f"{_toml(k)} = {_toml(v)}" for k, v in table.items())]
    replace(path, ("\n".join(lines) + "\n").encode(), 0o640)


def _toml(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, (bool, int, float)):
        return str(value).lower()
    return json.dumps(str(value), ensure_ascii=False)  # a basic string of TOML is written as JSON's


def replace(path: Path, data: bytes, mode: int) -> None:
    """Put `data` in place of the file at once: a crash leaves the old or the new one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
