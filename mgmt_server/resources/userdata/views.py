"""Registered user data as clients see it."""

from __future__ import annotations

from mgmt_server.api.view import View
from mgmt_server.model.account import Account
from mgmt_server.model.userdata import UserData
from mgmt_server.resources.annotation.marks import has_annotations
from mgmt_server.resources.views import owner_fields, owner_joins

user_data_view = View(
    "userdata",
    UserData,
    response="UserDataResponse",
    keyword=(UserData.name,),
    joins=owner_joins(UserData),
    id=UserData.uuid,
    name=UserData.name,
    accountid=Account.uuid,
    userdata=UserData.data,
    params=UserData.params,
    hasannotations=has_annotations("USER_DATA", UserData.uuid),
    **owner_fields(),
)
