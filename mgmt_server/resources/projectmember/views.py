"""Members of projects as clients see them."""

from __future__ import annotations

from sqlalchemy import and_, or_
from sqlalchemy.orm import aliased

from mgmt_server.api.view import View, many, shown
from mgmt_server.model.account import Account, Domain, Project, ProjectMember, ProjectRole, User
from mgmt_server.resources.views import spoken_path

_Member = aliased(ProjectMember)
_Own = aliased(Account)

# who of the account is meant by a member: no keys, and no more of a person than a name
_user_view = View(
    "user",
    User,
    response="UserResponse",
    joins=(
        (
            _Member,
            and_(_Member.account_id == User.account_id, or_(_Member.user_id.is_(None), _Member.user_id == User.id)),
        ),
        (_Own, _Own.id == User.account_id),
    ),
    id=User.uuid,
    username=User.username,
    firstname=User.firstname,
    lastname=User.lastname,
    account=_Own.name,
    accountid=_Own.uuid,
    state=User.state,
)

member_view = View(
    "projectaccount",
    ProjectMember,
    response="ProjectAccountResponse",
    keyword=(Account.name, User.username),
    joins=(
        (Project, Project.id == ProjectMember.project_id),
        (Account, Account.id == ProjectMember.account_id),
        (Domain, Domain.id == Account.domain_id),
        (User, User.id == ProjectMember.user_id),
        (ProjectRole, ProjectRole.id == ProjectMember.project_role_id),
    ),
    projectid=Project.uuid,
    project=Project.name,
    accountid=Account.uuid,
    account=Account.name,
    accounttype=Account.type,
    userid=User.uuid,
    username=User.username,
    role=ProjectMember.role,
    projectroleid=ProjectRole.uuid,
    domainid=Domain.uuid,
    domain=Domain.name,
    domainpath=shown(spoken_path, Domain.path),
    user=many(_user_view, _Member.id),
)
