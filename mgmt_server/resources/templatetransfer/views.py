"""What is told of a link to a template or an ISO; where it leads stands in the job's own words."""

from __future__ import annotations

from mgmt_server.api.view import View
from mgmt_server.model.account import Account
from mgmt_server.model.template import Template


def _extracted(key: str) -> View:
    return View(
        key,
        Template,
        response="ExtractResponse",
        joins=((Account, Account.id == Template.account_id),),
        id=Template.uuid,
        name=Template.name,
        accountid=Account.uuid,
        created=Template.created,
    )


template_link_view, iso_link_view = _extracted("template"), _extracted("iso")
