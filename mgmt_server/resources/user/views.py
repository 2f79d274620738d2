"""Users as clients see them."""

from __future__ import annotations

from mgmt_server.api.view import View, always, only, shown
from mgmt_server.model.account import ADMIN_USER, Account, Domain, Role, User
from mgmt_server.model.tenancy import ADMINS


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
    isdefault=shown(is_default, User.id),
    is2faenabled=always(False),
    is2famandated=always(False),
)
