"""Where this installation's things are: the file that is read before there is a database."""

from __future__ import annotations

import base64
import os
import socket
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path


class ConfigurationError(Exception):
    """Something outside the database is missing or wrong; the text says what to do."""


@dataclass
class Config:
    database: str
    data: Path
    listen: str = "127.0.0.1:8080"
    agents_listen: str = ""  # empty: no agents
    advertise: str = ""  # address under which agents reach this node
    integration_port: int = 0
    integration_address: str = "127.0.0.1"
    key: str = ""  # file:PATH, env:NAME, web:HOST:PORT
    node: str = field(default_factory=socket.gethostname)
    region_id: int = 1
    tls_certificate: str = ""
    tls_key: str = ""
    tls_listen: str = ""
    simulator: bool = False
    durable: bool = True
    workers: int = 12
    source: str = ""

    @property
    def log_file(self) -> Path:
        return self.data / "cloudwright.log"


def read(path: Path) -> Config:
    try:
        found = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigurationError(f"{path} is missing: `cloudwright setup --config {path} ...` writes it") from None
    except PermissionError:
        raise ConfigurationError(
            f"{path} is not readable for this user: run as root or as the service's user"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from None
    known = {f.name for f in fields(Config)} - {"source"}
    unknown = sorted(found.keys() - known)
    if unknown:
        raise ConfigurationError(f"{path}: unknown key {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    missing = sorted({"database", "data"} - found.keys())
    if missing:
        raise ConfigurationError(f"{path}: {', '.join(missing)} is missing")
    found["data"] = Path(found["data"])
    return Config(**found, source=str(path))


def written(config: Config) -> str:
    """The file's text. Defaults are left out."""
    lines = []
    for f in fields(config):
        value = getattr(config, f.name)
        if f.name in ("source",) or (value == f.default and f.name not in ("database", "data")):
            continue
        if isinstance(value, bool):
            text = str(value).lower()
        elif isinstance(value, int):
            text = str(value)
        else:
            text = '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
        lines.append(f"{f.name} = {text}")
    return "\n".join(lines) + "\n"


def address(listen: str) -> tuple[str, int]:
    """Split host:port."""
    host, _, port = listen.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(f"{listen} is no address: write HOST:PORT")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104  an empty host means all addresses, as everywhere


def key_of(config: Config) -> bytes:
    """The encryption key from where the configuration says it is. 32 bytes."""
    kind, _, rest = config.key.partition(":")
    if kind == "file":
        try:
            return decoded(Path(rest).read_text(), rest)
        except FileNotFoundError:
            raise ConfigurationError(f"the encryption key {rest} is missing: restore it from your backup") from None
    if kind == "env":
        if rest not in os.environ:
            raise ConfigurationError(f"the encryption key is expected in the environment variable {rest}")
        return decoded(os.environ[rest], rest)
    if kind == "web":
        from mgmt_server.web.unlock import ask_for_key

        return decoded(ask_for_key(*address(rest)), "the key that was sent")
    raise ConfigurationError('the configuration does not say where the encryption key is: key = "file:PATH"')


def decoded(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ConfigurationError(f"{where} holds no encryption key: 32 bytes in base64 are expected")
    return key
