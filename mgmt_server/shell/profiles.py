"""Where the server is and who calls: named profiles in the file that other clients of the protocol read too.

[production]
endpoint = https://cloud.example.org/client/api
key = ...
secret = ...
"""

from __future__ import annotations

import configparser
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mgmt_server.errors import Failed

FALLBACK = Path("/etc/cloudwright/credentials.json")  # what `cloudwright setup --credentials` writes
NAMES = ("endpoint", "key", "secret")


class ConfigurationError(Failed):
    """No profile, or half of one; the text says how to make one."""


@dataclass(frozen=True)
class Profile:
    name: str
    endpoint: str
    key: str
    secret: str
    verify: str | bool = True  # or a file of certificates
    timeout: float = 60.0  # seconds of one call


def file_of(environment: Mapping[str, str]) -> Path:
    """CLOUDSTACK_CONFIG, else cloudstack.ini here, else ~/.cloudstack.ini."""
    if named := environment.get("CLOUDSTACK_CONFIG"):
        return Path(named)
    here = Path("cloudstack.ini")
    return here if here.is_file() else Path(environment.get("HOME") or "~").expanduser() / ".cloudstack.ini"


def load(name: str | None, environment: Mapping[str, str] = os.environ) -> Profile:
    """The profile of that name; without one: CLOUDSTACK_REGION, else the environment, else the file's only or
    first one, else the server's own credentials where they can be read. Raises ConfigurationError."""
    name = name or environment.get("CLOUDSTACK_REGION")
    if name is None and all(environment.get(f"CLOUDSTACK_{n.upper()}") for n in NAMES):
        return _profile(
            "environment", {k[11:].lower(): v for k, v in environment.items() if k.startswith("CLOUDSTACK_")}
        )
    file = file_of(environment)
    stored = _read(file)
    if name is None and stored.sections():
        name = "cloudstack" if stored.has_section("cloudstack") else stored.sections()[0]
    if name is not None:
        if not stored.has_section(name):
            there = ", ".join(stored.sections()) or "none"
            raise ConfigurationError(f"there is no profile {name} in {file} (there: {there}): make it with --save")
        return _profile(name, dict(stored[name]))
    try:
        own = json.loads(FALLBACK.read_text())
    except (OSError, ValueError):
        raise ConfigurationError(
            f"no server is known: `cloudwright api --save NAME --endpoint URL --key KEY` writes a profile to {file} "
            "(the secret key is asked for), or set CLOUDSTACK_ENDPOINT, CLOUDSTACK_KEY and CLOUDSTACK_SECRET"
        ) from None
    return _profile("server", {"endpoint": own["api_url"], "key": own["api_key"], "secret": own["api_secret"]})


def _read(file: Path) -> configparser.ConfigParser:
    stored = configparser.ConfigParser(interpolation=None)
    try:
        stored.read(file)
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from None
    return stored


def _profile(name: str, found: Mapping[str, str]) -> Profile:
    missing = [n for n in NAMES if not found.get(n)]
    if missing:
        raise ConfigurationError(f"the profile {name} has no {' and no '.join(missing)}")
    verify: str | bool = found.get("verify", "true")
    if str(verify).lower() in ("true", "false", "1", "0"):
        verify = str(verify).lower() in ("true", "1")
    if found.get("dangerous_no_tls_verify", "").lower() == "true":
        verify = False
    try:
        timeout = float(found.get("timeout") or 60)
    except ValueError:
        raise ConfigurationError(f"timeout of the profile {name} is no number of seconds") from None
    return Profile(name, found["endpoint"], found["key"], found["secret"], verify, timeout)


def save(name: str, endpoint: str, key: str, secret: str, environment: Mapping[str, str] = os.environ) -> Path:
    """Write a profile, readable by its owner alone; the others of the file stay. The file."""
    file = file_of(environment)
    stored = _read(file)
    stored[name] = {"endpoint": endpoint, "key": key, "secret": secret}
    made = file.with_name(f".{file.name}.{os.getpid()}")
    handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(handle, "w") as sink:
            stored.write(sink)
        made.replace(file)
    finally:
        made.unlink(missing_ok=True)
    return file
