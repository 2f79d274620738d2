"""Jobs as clients see them."""

from __future__ import annotations

from typing import Any

import orjson

from mgmt_server.api.execute import EXPOSED
from mgmt_server.api.view import View, only, shown
from mgmt_server.jobs.rows import OPEN, JobRow, Node
from mgmt_server.model.account import Account, Domain, User
from mgmt_server.model.tenancy import ADMIN

STATUS = {"done": 1, "failed": 2}


def _status(state: str) -> int:
    return 0 if state in OPEN else STATUS[state]


def _result(state: str, result: str | None) -> dict[str, Any] | None:
    return orjson.loads(result) if result and state not in OPEN else None


def _result_with_names(state: str, result: str | None, inventory: str | None) -> dict[str, Any] | None:
    found = _result(state, result)
    return found | {"errortext": inventory} if found and inventory else found


def _result_for_users(state: str, result: str | None, inventory: str | None) -> dict[str, Any] | None:
    return _result_with_names(state, result, inventory if inventory and EXPOSED.flag() else None)


def _type(state: str, result: str | None) -> str | None:
    return "object" if result and state not in OPEN else None


job_view = View(
    "asyncjobs",
    JobRow,
    response="AsyncJobResponse",
    keyword=(JobRow.command,),
    joins=((Account, Account.id == JobRow.account_id), (Domain, Domain.id == JobRow.domain_id)),
    accountid=Account.uuid,
    account=Account.name,
    domainid=Domain.uuid,
    domainpath=shown(lambda path: "ROOT" + path.rstrip("/") if path else None, Domain.path),
    userid=User.uuid,
    cmd=JobRow.command,
    jobstatus=shown(_status, JobRow.state),
    jobprocstatus=shown(lambda _: 0, JobRow.state),
    jobresultcode=shown(lambda code: code or 0, JobRow.error_code),
    jobresulttype=shown(_type, JobRow.state, JobRow.result),
    jobresult=only(
        ADMIN,
        shown(_result_with_names, JobRow.state, JobRow.result, JobRow.inventory),
        shown(_result_for_users, JobRow.state, JobRow.result, JobRow.inventory),
    ),
    jobinstancetype=JobRow.instance_type,
    jobinstanceid=JobRow.instance_uuid,
    created=JobRow.created,
    completed=JobRow.completed,
    jobid=JobRow.uuid,
    managementserverid=Node.uuid,
    managementservername=Node.name,
)
