"""Invitations as clients see them: never the token."""

from __future__ import annotations

from mgmt_server.api.view import View, shown
from mgmt_server.model.account import Account, Domain, Project, ProjectInvitation, User
from mgmt_server.resources.views import spoken_path

invitation_view = View(
    "projectinvitation",
    ProjectInvitation,
    response="ProjectInvitationResponse",
    keyword=(Project.name, Account.name, ProjectInvitation.email),
    joins=(
        (Project, Project.id == ProjectInvitation.project_id),
        (Account, Account.id == ProjectInvitation.account_id),
        (Domain, Domain.id == ProjectInvitation.domain_id),
        (User, User.id == ProjectInvitation.user_id),
    ),
    id=ProjectInvitation.uuid,
    projectid=Project.uuid,
    project=Project.name,
    domainid=Domain.uuid,
    domain=Domain.name,
    domainpath=shown(spoken_path, Domain.path),
    account=Account.name,
    userid=User.uuid,
    email=ProjectInvitation.email,
    state=ProjectInvitation.state,
)
