"""Users as clients see them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api.view import PerPage, View, always, only, shown
from mgmt_server.model.account import ADMIN_USER, Account, Domain, Role, User
from mgmt_server.model.tenancy import ADMIN, ADMINS, Caller
from mgmt_server.resources.twofactor.rules import is_mandated
from mgmt_server.resources.user.rows import spoken_access


def is_default(number: int) -> bool:
    return number <= ADMIN_USER


user_view = View(
    "user",
    User,
    response="UserResponse",
    keyword=(User.username, User.firstname, User.lastname, User.email),
    joins=(
        (Account, Account.id == User.account_id),
        (Domain, Domain.id == Account.domain_id),
        (Role, Role.id == Account.role_id),
    ),
    id=User.uuid,
    username=User.username,
    firstname=User.firstname,
    lastname=User.lastname,
    email=User.email,
    timezone=User.timezone,
    created=User.created,
    state=User.state,
    account=Account.name,
    accountid=Account.uuid,
    accounttype=Account.type,
    usersource=User.source,
    roleid=Role.uuid,
    roletype=Role.type,
    rolename=Role.name,
    domainid=Domain.uuid,
    domain=Domain.name,
    apikey=only(ADMINS, User.api_key),
    apikeyaccess=only(ADMIN, shown(spoken_access, User.api_key_access)),
    isdefault=shown(is_default, User.id),
    is2faenabled=User.two_factor,
    is2famandated=shown(is_mandated, User.two_factor_mandated, Domain.id),
    iscallerchilddomain=always(False),
)


def _below(session: Session, caller: Caller, users: list[int]) -> dict[int, dict[str, Any]]:
    """Whether each user's domain is below the caller's."""
    rows = select(User.id, Domain.path).join(Account, Account.id == User.account_id)
    rows = rows.join(Domain, Domain.id == Account.domain_id).where(User.id.in_(users))
    own = caller.domain_path
    return {n: {"iscallerchilddomain": path != own and path.startswith(own)} for n, path in session.execute(rows)}


listed_view = user_view.extended(more=(PerPage(("iscallerchilddomain",), _below),))
