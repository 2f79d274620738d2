"""`cloudwright setup`: a new server's configuration, key, database and administrator, and another key later."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["change-key"], help="change-key: seal all secrets anew")
    parser.add_argument("--database", help="mysql+pymysql://USER@HOST/DATABASE or sqlite:////PATH")
    parser.add_argument("--database-password-file", type=Path, help="file whose first line is the database's password")
    parser.add_argument("--data", type=Path, default=Path("/var/lib/cloudwright"))
    parser.add_argument("--listen", default="0.0.0.0:8080")  # noqa: S104  an API is there to be reached
    parser.add_argument("--agents-listen", default="0.0.0.0:8250")  # noqa: S104
    parser.add_argument("--tls-listen", default="", help="ADDRESS:PORT of the API with TLS, such as 0.0.0.0:8443")
    parser.add_argument("--tls-certificate", default="", help="PEM with its chain; one of the cloud's CA when left out")
    parser.add_argument("--tls-key", default="", help="its private key, PEM without a passphrase")
    parser.add_argument("--advertise", default="", help="name or address under which agents reach this server")
    parser.add_argument("--node", default="", help="this server's name in the cluster (default: the host's)")
    parser.add_argument(
        "--key", choices=["file", "env", "web"], default="file", help="where the encryption key comes from"
    )
    parser.add_argument("--key-file", type=Path, help="default: secret.key beside the configuration")
    parser.add_argument("--new-key-file", type=Path, help="with change-key: written if it is not there")
    parser.add_argument("--region-id", type=int, default=1)
    parser.add_argument(
        "--admin-password-file", type=Path, help="file whose first line is the administrator's password"
    )
    parser.add_argument("--credentials", type=Path, help="write the administrator's credentials there, as JSON")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Write the configuration, prepare database and administrator, as far as it is not done: what has changed."""
    from mgmt_server import config as bootstrap
    from mgmt_server import install
    from mgmt_server.logs import set_up
    from mgmt_server.web import certificate

    set_up(None, "WARNING")
    if options.action == "change-key":
        return {"changed": True, "secrets": _change_key(options)}
    if options.database is None:
        raise bootstrap.ConfigurationError("setup needs --database URL")
    database = options.database
    if options.database_password_file:
        database = install.with_password(database, _first_line(options.database_password_file))
    changed = False
    key = {"env": "env:CLOUDWRIGHT_KEY", "web": "web:127.0.0.1:8081"}.get(options.key)
    if key is None:
        key_file = options.key_file or options.config.parent / "secret.key"
        changed |= install.make_key(key_file)
        key = f"file:{key_file}"
    node = {"node": options.node} if options.node else {}
    found = bootstrap.Config(
        database=database,
        data=options.data,
        listen=options.listen,
        agents_listen=options.agents_listen,
        advertise=options.advertise,
        tls_listen=options.tls_listen,
        tls_certificate=options.tls_certificate,
        tls_key=options.tls_key,
        key=key,
        region_id=options.region_id,
        **node,
    )
    options.data.mkdir(parents=True, exist_ok=True)
    install.open_database(found, bootstrap.key_of(found))
    changed |= install.write_file(options.config, bootstrap.written(found), 0o640)
    changed |= install.prepare()
    changed |= certificate.prepare(found)
    given = _first_line(options.admin_password_file) if options.admin_password_file else None
    made = install.give_password(given)
    changed |= bool(made)
    if options.credentials:
        changed |= install.write_credentials(options.credentials, found, given or made)
    elif made:
        print(f"the administrator's password, shown this once: {made}", file=sys.stderr)
    return {"changed": changed}


def _change_key(options: argparse.Namespace) -> int:
    from mgmt_server import config as bootstrap
    from mgmt_server import install

    if options.new_key_file is None:
        raise bootstrap.ConfigurationError(
            "change-key needs --new-key-file F; a new key is written there if it is missing"
        )
    found = bootstrap.read(options.config)
    old = bootstrap.key_of(found)
    install.make_key(options.new_key_file)
    new = bootstrap.decoded(options.new_key_file.read_text(), str(options.new_key_file))
    install.open_database(found, old)
    count = install.change_key(found, old, new)
    found.key = f"file:{options.new_key_file}"
    install.write_file(options.config, bootstrap.written(found), 0o640)
    return count


def _first_line(path: Path) -> str:
    from mgmt_server.config import ConfigurationError

    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    if not lines or not lines[0].strip():
        raise ConfigurationError(f"{path} is empty: its first line should be the password")
    return lines[0].strip()
