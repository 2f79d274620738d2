"""Domains, accounts, users, roles, projects, and the sessions of users."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Index, String, UniqueConstraint, select, true
from sqlalchemy.orm import Mapped, mapped_column

from mgmt_server.db import Base, refers
from mgmt_server.db.secrets import Secret
from mgmt_server.model.tenancy import ADMINS, Caller, Offered

ROOT_DOMAIN, SYSTEM_ACCOUNT, ADMIN_ACCOUNT, SYSTEM_USER, ADMIN_USER = 1, 1, 2, 1, 2
ACCOUNT_TYPES = {"User": 0, "Admin": 1, "DomainAdmin": 2, "ResourceAdmin": 3, "Project": 5}


class Domain(Base):
    __tablename__ = "domain"
    __table_args__ = (UniqueConstraint("parent_id", "name"), Index("ix_domain_path", "path"), Base.__table_args__)

    name: Mapped[str]
    path: Mapped[str] = mapped_column(
        String(700)
    )  # "/" for ROOT, "/a/b/": the path of a child starts with its parent's
    level: Mapped[int] = mapped_column(default=0)
    parent_id: Mapped[int | None] = refers("domain")
    network_domain: Mapped[str | None]
    state: Mapped[str] = mapped_column(default="Active")

    @classmethod
    def operable_by(cls, caller: Caller) -> ColumnElement[bool]:
        if caller.is_root:
            return true()
        if caller.role in ADMINS:
            return cls.path.startswith(caller.domain_path, autoescape=True)
        return cls.id == -1

    @classmethod
    def usable_by(cls, caller: Caller) -> ColumnElement[bool]:
        own: ColumnElement[bool] = cls.id == caller.domain_id
        return own | cls.operable_by(caller)


class Role(Offered, Base):
    __tablename__ = "role"

    name: Mapped[str]
    type: Mapped[str]  # Admin, ResourceAdmin, DomainAdmin, User
    description: Mapped[str | None]
    is_default: Mapped[bool] = mapped_column(default=False)
    public: Mapped[bool] = mapped_column(default=True)


class Account(Base):
    __tablename__ = "account"
    __table_args__ = (Index("ix_account_domain_name", "domain_id", "name"), Base.__table_args__)

    name: Mapped[str]
    type: Mapped[int]  # see ACCOUNT_TYPES
    state: Mapped[str] = mapped_column(default="enabled")  # disabled, locked
    domain_id: Mapped[int] = refers("domain", index=False)
    role_id: Mapped[int | None] = refers("role")
    network_domain: Mapped[str | None]
    default_zone_id: Mapped[int | None] = refers("zone")

    @classmethod
    def operable_by(cls, caller: Caller) -> ColumnElement[bool]:
        return caller.within(cls.id, cls.domain_id)

    usable_by = operable_by


class User(Base):
    __tablename__ = "user"
    __table_args__ = (Index("ix_user_username", "username"), Base.__table_args__)

    username: Mapped[str]
    password: Mapped[str | None] = mapped_column(String(400))  # a hash, see api/passwords.py
    firstname: Mapped[str | None]
    lastname: Mapped[str | None]
    email: Mapped[str | None]
    timezone: Mapped[str | None]
    state: Mapped[str] = mapped_column(default="enabled")
    source: Mapped[str] = mapped_column(default="native")
    account_id: Mapped[int] = refers("account")
    api_key: Mapped[str | None] = mapped_column(unique=True)
    secret_key: Mapped[str | None] = mapped_column(Secret)

    @classmethod
    def operable_by(cls, caller: Caller) -> ColumnElement[bool]:
        if caller.is_root:
            return true()
        mine = select(Account.id).where(Account.operable_by(caller))
        return cls.account_id.in_(mine)

    usable_by = operable_by


class Project(Base):
    """A project owns through an account of its own, so that nothing else needs to know about projects."""

    __tablename__ = "project"

    name: Mapped[str]
    display_text: Mapped[str | None]
    state: Mapped[str] = mapped_column(default="Active")
    account_id: Mapped[int] = refers("account")
    domain_id: Mapped[int] = refers("domain")

    @classmethod
    def operable_by(cls, caller: Caller) -> ColumnElement[bool]:
        return caller.within(cls.account_id, cls.domain_id)

    usable_by = operable_by


class ProjectMember(Base):
    __tablename__ = "project_member"
    __table_args__ = (UniqueConstraint("project_id", "account_id", "user_id"), Base.__table_args__)

    project_id: Mapped[int] = refers("project")
    account_id: Mapped[int] = refers("account")
    user_id: Mapped[int | None] = refers("user")
    role: Mapped[str] = mapped_column(default="Regular")  # Admin


class Login(Base):
    """A session: its id is stored as a hash, so that the table opens no session."""

    __tablename__ = "login"

    id_hash: Mapped[str] = mapped_column(String(64), unique=True)
    session_key: Mapped[str]
    user_id: Mapped[int] = refers("user")
    last_used: Mapped[datetime]
    address: Mapped[str | None]
