"""Domains, accounts, users, roles, projects, and the sessions of users."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ColumnElement, Index, String, UniqueConstraint, select, true
from sqlalchemy.orm import Mapped, mapped_column

from mgmt_server.db import Base, States, refers
from mgmt_server.db.secrets import Secret
from mgmt_server.model.tenancy import ADMIN, ADMINS, Caller, Internal, Offered

ROOT_DOMAIN, SYSTEM_ACCOUNT, ADMIN_ACCOUNT, SYSTEM_USER, ADMIN_USER = 1, 1, 2, 1, 2
ACCOUNT_TYPES = {"User": 0, "Admin": 1, "DomainAdmin": 2, "ResourceAdmin": 3, "Project": 5}


class Domain(Base):
    __tablename__ = "domain"
    __table_args__ = (Index("ix_domain_path", "path", unique=True), Base.__table_args__)

    name: Mapped[str]
    # "/" for ROOT, "/a/b/": the path of a child starts with its parent's. One that is gone has a path that no other
    # can have, so that a new domain of its name inherits nothing.
    path: Mapped[str] = mapped_column(String(700))
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
    state: Mapped[str] = mapped_column(default="enabled")  # disabled: nobody who has it may call anything

    @classmethod
    def visible_to(cls, caller: Caller) -> ColumnElement[bool]:
        return cls.public & (cls.type != ADMIN)


class RolePermission(Internal, Base):
    """A rule of a role that somebody made. The first that fits a command decides; none: denied. The roles that come
    with the installation have none: for them each command's own declaration decides."""

    __tablename__ = "role_permission"
    __table_args__ = (UniqueConstraint("role_id", "rule"), Base.__table_args__)

    role_id: Mapped[int] = refers("role", index=False)
    position: Mapped[int]
    rule: Mapped[str]  # listVirtualMachines, list*
    permission: Mapped[str] = mapped_column(String(10))  # allow, deny
    description: Mapped[str | None]


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
    api_key_access: Mapped[bool | None]  # empty: what holds for the domain (setting api.key.access)
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)

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
    api_key_access: Mapped[bool | None]  # empty: what holds for the account
    failures: Mapped[int] = mapped_column(default=0)  # log-ins with a wrong password since the last right one
    password_set: Mapped[datetime | None]
    must_change_password: Mapped[bool] = mapped_column(default=False)
    two_factor_secret: Mapped[str | None] = mapped_column(Secret)
    two_factor_provider: Mapped[str | None] = mapped_column(String(20))  # totp, staticpin
    two_factor: Mapped[bool] = mapped_column(default=False)  # set up and proven with a first code
    two_factor_mandated: Mapped[bool] = mapped_column(default=False)
    two_factor_used: Mapped[int] = mapped_column(default=0)  # time step of the last code: none is taken twice
    reset_hash: Mapped[str | None] = mapped_column(String(64))  # of the token of a mail that lets set a new password
    reset_until: Mapped[datetime | None]

    @classmethod
    def operable_by(cls, caller: Caller) -> ColumnElement[bool]:
        if caller.is_root:
            return true()
        mine = select(Account.id).where(Account.operable_by(caller))
        return cls.account_id.in_(mine)

    usable_by = operable_by


class Project(Base):
    """A project owns through an account of its own, so that nothing else needs to know about projects.

    Its members and the administrators of its domain use it; its own administrators and those of the domain change it.
    """

    __tablename__ = "project"

    name: Mapped[str]
    display_text: Mapped[str | None]
    state: Mapped[str] = mapped_column(default="Active")  # see PROJECT_STATES
    account_id: Mapped[int] = refers("account")
    domain_id: Mapped[int] = refers("domain")

    @classmethod
    def usable_by(cls, caller: Caller) -> ColumnElement[bool]:
        return caller.within(cls.account_id, cls.domain_id)

    @classmethod
    def operable_by(cls, caller: Caller) -> ColumnElement[bool]:
        if caller.is_root:
            return true()
        administered = select(ProjectMember.project_id).where(
            ProjectMember.role == "Admin", ProjectMember.means(caller.account_id, caller.user_id)
        )
        return replace(caller, projects=()).within(cls.account_id, cls.domain_id) | cls.id.in_(administered)


# Disabled: it is being deleted
PROJECT_STATES = States(
    Project.state,
    Active=["Active", "Suspended", "Disabled"],
    Suspended=["Active", "Suspended", "Disabled"],
    Disabled=["Disabled"],
)


class OfProject:
    """What belongs to a project: its members see it, its administrators change it."""

    @classmethod
    def usable_by(cls, caller: Caller) -> ColumnElement[bool]:
        return cls._of(Project.usable_by(caller), caller)

    @classmethod
    def operable_by(cls, caller: Caller) -> ColumnElement[bool]:
        return cls._of(Project.operable_by(caller), caller)

    @classmethod
    def _of(cls, projects: ColumnElement[bool], caller: Caller) -> ColumnElement[bool]:
        if caller.is_root:
            return true()
        found: ColumnElement[bool] = cls.project_id.in_(select(Project.id).where(projects))  # type: ignore[attr-defined]
        return found


class ProjectMember(OfProject, Base):
    """An account with all its users, or one user of it alone. What says something of the user goes before the rest."""

    __tablename__ = "project_member"
    __table_args__ = (UniqueConstraint("project_id", "account_id", "user_id"), Base.__table_args__)

    project_id: Mapped[int] = refers("project")
    account_id: Mapped[int] = refers("account")
    user_id: Mapped[int | None] = refers("user")  # empty: all users of the account
    role: Mapped[str] = mapped_column(default="Regular")  # Admin
    project_role_id: Mapped[int | None] = refers("project_role")

    @classmethod
    def means(cls, account_id: int, user_id: int) -> ColumnElement[bool]:
        """The rows that make a user a member."""
        return (cls.account_id == account_id) & (cls.user_id.is_(None) | (cls.user_id == user_id))


class ProjectRole(OfProject, Base):
    __tablename__ = "project_role"
    __table_args__ = (UniqueConstraint("project_id", "name", "removed"), Base.__table_args__)

    project_id: Mapped[int] = refers("project", index=False)
    name: Mapped[str]
    description: Mapped[str | None]


class ProjectRolePermission(OfProject, Base):
    __tablename__ = "project_role_permission"
    __table_args__ = (UniqueConstraint("project_role_id", "rule"), Base.__table_args__)

    project_id: Mapped[int] = refers("project")
    project_role_id: Mapped[int] = refers("project_role", index=False)
    position: Mapped[int]
    rule: Mapped[str]
    permission: Mapped[str] = mapped_column(String(10))
    description: Mapped[str | None]


class ProjectInvitation(Base):
    """An offer to an account, to one user of it, or to whoever holds the token that was mailed."""

    __tablename__ = "project_invitation"

    project_id: Mapped[int] = refers("project")
    domain_id: Mapped[int] = refers("domain")
    account_id: Mapped[int | None] = refers("account")
    user_id: Mapped[int | None] = refers("user")
    email: Mapped[str | None]
    token_hash: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(20), default="Pending")  # Completed, Expired, Declined
    role: Mapped[str] = mapped_column(default="Regular")
    project_role_id: Mapped[int | None] = refers("project_role")

    @classmethod
    def operable_by(cls, caller: Caller) -> ColumnElement[bool]:
        """Who runs the project."""
        if caller.is_root:
            return true()
        return cls.project_id.in_(select(Project.id).where(Project.operable_by(caller)))

    @classmethod
    def usable_by(cls, caller: Caller) -> ColumnElement[bool]:
        """Who was invited too."""
        if caller.is_root:
            return true()
        return cls.invited(caller.account_id, caller.user_id) | cls.operable_by(caller)

    @classmethod
    def invited(cls, account_id: int, user_id: int) -> ColumnElement[bool]:
        """The rows that ask a user in."""
        return (cls.account_id == account_id) & (cls.user_id.is_(None) | (cls.user_id == user_id))


class LdapServer(Offered, Base):
    """A server of a directory: those of a domain and those for all are told to whoever may be in it."""

    __tablename__ = "ldap_server"

    hostname: Mapped[str]
    port: Mapped[int]
    domain_id: Mapped[int | None] = refers("domain")  # empty: for all


class LdapLink(Internal, Base):
    """Who is in a group or an organisational unit of the directory is a user of the domain, or of the account."""

    __tablename__ = "ldap_link"

    domain_id: Mapped[int] = refers("domain")
    account_id: Mapped[int | None] = refers("account")
    kind: Mapped[str] = mapped_column(String(10))  # GROUP, OU
    name: Mapped[str]  # its distinguished name
    account_type: Mapped[int] = mapped_column(default=0)


class Login(Base):
    """A session: its id is stored as a hash, so that the table opens no session."""

    __tablename__ = "login"

    id_hash: Mapped[str] = mapped_column(String(64), unique=True)
    session_key: Mapped[str]
    user_id: Mapped[int] = refers("user")
    last_used: Mapped[datetime]
    address: Mapped[str | None]
    pending: Mapped[str] = mapped_column(String(20), default="")  # what it is for alone: two_factor, password
