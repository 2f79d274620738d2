"""Whose things are whose. The tenant's scope is written here and nowhere else; a list only ever narrows it.

Every table that a parameter may refer to says two things: which of its rows a caller may refer to (`usable_by`) and
which the caller may change (`operable_by`). A row outside is answered exactly like one that does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, false, select, true
from sqlalchemy.orm import Mapped, declared_attr
from sqlalchemy.sql.elements import False_

from mgmt_server.db import refers

ADMIN, RESOURCE_ADMIN, DOMAIN_ADMIN, USER = "Admin", "ResourceAdmin", "DomainAdmin", "User"
EVERYONE = (ADMIN, RESOURCE_ADMIN, DOMAIN_ADMIN, USER)
ADMINS = (ADMIN, RESOURCE_ADMIN, DOMAIN_ADMIN)
ROOT = (ADMIN,)


@dataclass(frozen=True)
class Caller:
    """Who calls: a user, in an account, in a domain, with a role."""

    user_id: int
    user_uuid: str
    username: str
    account_id: int
    account_uuid: str
    account_name: str
    account_type: int  # 0 user, 1 root admin, 2 domain admin, 3 resource admin
    domain_id: int
    domain_uuid: str
    domain_path: str  # "/" or "/a/b/"
    role: str  # role type
    projects: tuple[int, ...] = ()  # accounts of the projects that the user is a member of
    # rules of the user's project roles, by the account of the project: they narrow what the user may call there
    project_rules: Mapping[int, Callable[[str], bool]] = field(default_factory=dict, compare=False)
    role_id: int | None = None
    may: Callable[[str, tuple[str, ...]], bool] | None = None  # a role that somebody made: (command, its roles)
    # statements that were built for the caller, whose scope stands in them
    statements: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_root(self) -> bool:
        return self.role == ADMIN

    def may_call(self, command: str, roles: tuple[str, ...]) -> bool:
        """Whether the caller may use a command that is declared for `roles`. A role that somebody made only narrows."""
        return self.role in roles and (self.may is None or self.may(command, roles))

    def forbidden(self, command: str) -> tuple[int, ...]:
        """Accounts of the projects in which the caller's project role denies a command."""
        return tuple(account for account, allows in self.project_rules.items() if not allows(command))

    def within(self, account: Any, domain: Any) -> ColumnElement[bool]:
        """Rows of the caller's tenancy, by the columns that hold their account and domain."""
        if self.role == ADMIN:
            return true()
        mine: ColumnElement[bool] = (
            account.in_((self.account_id, *self.projects)) if self.projects else account == self.account_id
        )
        if self.role in (DOMAIN_ADMIN, RESOURCE_ADMIN):
            from mgmt_server.model.account import Domain

            below = select(Domain.id).where(Domain.path.startswith(self.domain_path, autoescape=True))
            return mine | domain.in_(below)
        return mine


class Owned:
    """What belongs to an account. `offered` adds rows that others may refer to, never change."""

    @declared_attr
    def account_id(cls) -> Mapped[int]:
        return refers("account")

    @declared_attr
    def domain_id(cls) -> Mapped[int]:
        return refers("domain")

    @classmethod
    def offered(cls, caller: Caller) -> ColumnElement[bool]:
        return false()

    @classmethod
    def operable_by(cls, caller: Caller) -> ColumnElement[bool]:
        return caller.within(cls.account_id, cls.domain_id)

    @classmethod
    def usable_by(cls, caller: Caller) -> ColumnElement[bool]:
        if caller.is_root:
            return true()
        offered = cls.offered(caller)
        own = cls.operable_by(caller)
        return own if isinstance(offered, False_) else own | offered


class Internal:
    """What only root administrators see and change: hosts, pools, pods."""

    @classmethod
    def operable_by(cls, caller: Caller) -> ColumnElement[bool]:
        return true() if caller.is_root else false()

    usable_by = operable_by


class Offered:
    """What root administrators make and everybody may use: offerings, zones, guest OS types.

    A table with a `domain_id` offers a row with one only to that domain and those below.
    """

    hidden_when: ClassVar[Any] = None

    @classmethod
    def operable_by(cls, caller: Caller) -> ColumnElement[bool]:
        return true() if caller.is_root else false()

    @classmethod
    def usable_by(cls, caller: Caller) -> ColumnElement[bool]:
        if caller.is_root:
            return true()
        visible = cls.visible_to(caller)
        domain = getattr(cls, "domain_id", None)
        if domain is None:
            return visible
        from mgmt_server.model.account import Domain

        above = select(Domain.id).where(Domain.path.in_(ancestors(caller.domain_path)))
        below = select(Domain.id).where(Domain.path.startswith(caller.domain_path, autoescape=True))
        mine = domain.in_(above) | domain.in_(below) if caller.role in ADMINS else domain.in_(above)
        return visible & (domain.is_(None) | mine)

    @classmethod
    def visible_to(cls, caller: Caller) -> ColumnElement[bool]:
        """Narrow what other callers than root see, such as to enabled zones."""
        return true()


def ancestors(path: str) -> list[str]:
    """The paths of a domain and of all above it.

    >>> ancestors("/a/b/")
    ['/', '/a/', '/a/b/']
    """
    parts = [p for p in path.split("/") if p]
    return ["/" + "".join(f"{p}/" for p in parts[:n]) for n in range(len(parts) + 1)]
