"""What `cloudwright setup` does: database, keys, administrator, configuration. Every step may be repeated."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path
from urllib.parse import quote

import orjson
from sqlalchemy import make_url, select, text, update
from sqlalchemy.orm import Session

from mgmt_server import config as bootstrap
from mgmt_server.api.passwords import generated, give, matches, new_key
from mgmt_server.config import Config, ConfigurationError
from mgmt_server.db import Base, connect, engine, reading, write
from mgmt_server.db.schema import migrate
from mgmt_server.db.secrets import Secret, key_id, seal, unlock
from mgmt_server.model import everything
from mgmt_server.model.account import ADMIN_USER, ROOT_DOMAIN, User
from mgmt_server.resources import load, seeds

OLDEST_MARIADB = (10, 6)


def open_database(config: Config, key: bytes, *, pool: int = 16) -> None:
    """Load all tables and commands, unlock the secrets, connect."""
    import mgmt_server.agents  # noqa: F401
    import mgmt_server.jobs.rows  # noqa: F401

    everything()
    load()
    unlock(key)
    connect(config.database, pool=pool, durable=config.durable)
    _check_database(config)


def _check_database(config: Config) -> None:
    try:
        with reading() as session:
            if engine().dialect.name == "sqlite":
                session.execute(text("SELECT 1"))
                return
            found = engine().dialect
            session.execute(text("SELECT 1"))
    except Exception as error:
        shown = make_url(config.database).render_as_string(hide_password=True)
        raise ConfigurationError(
            f"the database {shown} does not answer: {getattr(error, 'orig', error)}. "
            "Check that it runs, its address, and the user's name and password"
        ) from None
    version = tuple(getattr(found, "server_version_info", ()) or ())
    if getattr(found, "is_mariadb", False) and version[:2] < OLDEST_MARIADB:
        raise ConfigurationError(f"MariaDB {version} is too old: 10.6 or newer has the row locks that jobs need")


def prepare() -> bool:
    """Schema and seeds: whether something was done."""
    changed = migrate()
    for seed in seeds():
        write(seed)
    from mgmt_server.agents import ca

    return ca.create() or changed


def make_key(path: Path) -> bool:
    """Write a new encryption key where there is none. A key that exists is never touched."""
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    text = base64.b64encode(secrets.token_bytes(32)).decode() + "\n"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return True


def give_password(password: str | None) -> str | None:
    """Give the administrator a password: the one given, or a generated one where there is none yet (returned)."""

    def work(tx: Session) -> str | None:
        admin = tx.get_one(User, ADMIN_USER)
        if password:
            if not matches(password, admin.password):
                give(tx, ROOT_DOMAIN, admin, password, chosen_by_user=True)
            return None
        if admin.password:
            return None
        made = generated()
        give(tx, ROOT_DOMAIN, admin, made, chosen_by_user=False)
        return made

    return write(work)


def give_keys() -> tuple[str, str]:
    """The administrator's API key and secret key, made where there are none."""

    def work(tx: Session) -> tuple[str, str]:
        admin = tx.get_one(User, ADMIN_USER)
        if not admin.api_key or not admin.secret_key:
            admin.api_key, admin.secret_key = new_key(), new_key()
        return admin.api_key, admin.secret_key

    return write(work)


def with_password(database: str, password: str) -> str:
    """The database's URL with this password, whatever it had."""
    url = make_url(database)
    if url.username is None:
        raise ConfigurationError("the database's URL names no user: mysql+pymysql://USER@HOST/DATABASE")
    return url._replace(password=password).render_as_string(hide_password=False)


def write_file(path: Path, content: str, mode: int) -> bool:
    """Write a file unless it is so already, never readable for others in between: whether it was changed."""
    if path.exists() and path.read_text() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(path.name + ".new")
    staged.unlink(missing_ok=True)
    with open(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(content)
    if path.exists():
        known = path.stat()
        os.chown(staged, known.st_uid, known.st_gid)
    staged.rename(path)
    return True


def write_credentials(path: Path, config: Config, password: str | None) -> bool:
    """The administrator's credentials as JSON. A password that is not known any more is kept from the file before."""
    host, port = bootstrap.address(config.listen)
    shown = config.advertise or ("127.0.0.1" if host in ("0.0.0.0", "::") else host)  # noqa: S104  compared, not bound
    api_key, api_secret = give_keys()
    before = orjson.loads(path.read_bytes()) if path.exists() else {}
    content = {
        "api_url": f"http://{shown}:{port}/client/api",
        "username": "admin",
        "password": password or before.get("password", ""),
        "api_key": api_key,
        "api_secret": api_secret,
    }
    return write_file(path, orjson.dumps(content, option=orjson.OPT_INDENT_2).decode() + "\n", 0o600)


def change_key(config: Config, old: bytes, new: bytes) -> int:
    """Seal every secret of the database anew, in one transaction: how many."""
    unlock(new, old)

    def work(tx: Session) -> int:
        count = 0
        for table in Base.metadata.sorted_tables:
            for column in table.columns:
                if isinstance(column.type, Secret):
                    rows = tx.execute(select(table.c.id, column).where(column.is_not(None))).all()
                    for number, value in rows:
                        tx.execute(update(table).where(table.c.id == number).values({column.name: value}))
                    count += len(rows)
        return count

    return write(work)


def quoted(text: str) -> str:
    return quote(text, safe="")


__all__ = ["change_key", "give_keys", "give_password", "key_id", "make_key", "open_database", "prepare", "seal"]
