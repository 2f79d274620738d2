"""Users, accounts, domains and roles as clients see them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import aliased

from mgmt_server.api.view import View, always, many, only, shown
from mgmt_server.model.account import ADMIN_USER, Account, Domain, Role, User
from mgmt_server.model.tenancy import ADMINS
from mgmt_server.resources.account.totals import totals
from mgmt_server.resources.views import spoken_path

Parent = aliased(Domain)


def _is_default(number: int) -> bool:
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
    isdefault=shown(_is_default, User.id),
    is2faenabled=always(False),
    is2famandated=always(False),
)

account_view = View(
    "account",
    Account,
    response="AccountResponse",
    keyword=(Account.name,),
    joins=((Domain, Domain.id == Account.domain_id), (Role, Role.id == Account.role_id)),
    id=Account.uuid,
    name=Account.name,
    accounttype=Account.type,
    roleid=Role.uuid,
    roletype=Role.type,
    rolename=Role.name,
    domainid=Domain.uuid,
    domain=Domain.name,
    domainpath=shown(spoken_path, Domain.path),
    networkdomain=Account.network_domain,
    state=Account.state,
    created=Account.created,
    isdefault=shown(_is_default, Account.id),
    groups=always([]),
    user=many(user_view, User.account_id),
    **totals(Account),
)


def _has_child() -> Any:
    child = aliased(Domain)
    return (
        select(child.id)
        .where(child.parent_id == Domain.id, child.removed.is_(None))
        .correlate(Domain.__table__)
        .exists()
    )


domain_view = View(
    "domain",
    Domain,
    response="DomainResponse",
    keyword=(Domain.name,),
    order=(Domain.path,),
    joins=((Parent, Parent.id == Domain.parent_id),),
    id=Domain.uuid,
    name=Domain.name,
    level=Domain.level,
    parentdomainid=Parent.uuid,
    parentdomainname=Parent.name,
    haschild=_has_child(),
    networkdomain=Domain.network_domain,
    path=shown(spoken_path, Domain.path),
    state=Domain.state,
    created=Domain.created,
    hasannotations=always(False),
    **totals(Domain),
)
