"""Ask after jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Use, no_entity
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs.rows import OPEN, JobRow, Node
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.resources.job.views import job_view


@command("queryAsyncJobResult", roles=EVERYONE, answers=job_view, key="", reads=True)
def query(
    ctx: Context, jobid: str | None = None, resourceid: str | None = None, resourcetype: str | None = None
) -> dict[str, Any]:
    """Tell how a job stands, and its result once it has ended.

    jobid: the job
    resourceid: instead of jobid, the entity whose newest job is meant; needs resourcetype
    resourcetype: what kind of entity resourceid is
    """
    if jobid is not None:
        # one statement: clients poll this more often than anything else
        found = job_view.usable(ctx.session, ctx.caller, jobid)
        if found is None:
            raise no_entity("jobid", jobid)
        return found
    if not resourceid or not resourcetype:
        raise InvalidValue("send jobid, or resourceid together with resourcetype")
    rows = select(JobRow).where(JobRow.instance_uuid == resourceid, JobRow.instance_type == resourcetype)
    job = ctx.session.scalar(rows.where(JobRow.usable_by(ctx.caller)).order_by(JobRow.id.desc()).limit(1))
    if job is None:
        raise InvalidValue(f"there is no job about the {resourcetype} {resourceid}")
    return job_view.one(ctx.session, ctx.caller, job.id)


@command("listAsyncJobs", roles=EVERYONE, answers=job_view)
def list_jobs(
    ctx: Context,
    startdate: datetime | None = None,
    managementserverid: Use[Node] | None = None,
    resourceid: str | None = None,
    resourcetype: str | None = None,
) -> Rows:
    """List jobs that have not ended.

    startdate: those that began since
    managementserverid: those on this management server
    resourceid: those about this entity
    resourcetype: those about entities of this kind, such as VirtualMachine
    """
    since = JobRow.created >= startdate if startdate else None
    open_jobs = JobRow.state.in_(OPEN) & (JobRow.account_id.is_not(None)) & (JobRow.command != "")
    about = {"instance_uuid": resourceid, "instance_type": resourcetype}
    return Rows(job_view).where(open_jobs, since, node_id=managementserverid, **about)
