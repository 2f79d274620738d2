"""Details: keys with values on a resource, of which some change how it works."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import narrowed, page_of
from mgmt_server.api.parameters import check_text
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.tenancy import EVERYONE, ROOT, Owned
from mgmt_server.resources.detail import flows
from mgmt_server.resources.detail.options import OPTIONS
from mgmt_server.resources.tag.kinds import DETAILED, find, kind_of

LONGEST_KEY, LONGEST_VALUE = 255, 5120
OF_OPERATORS = ("Zone", "Storage")  # whose details are for root administrators
MOST_ROWS = 2000  # of one kind, looked through where no resource is named


@command("addResourceDetail", roles=ROOT, event="CREATE_RESOURCE_DETAILS")
def add(ctx: Context, resourceid: str, resourcetype: str, details: dict[str, str], fordisplay: bool = True) -> Accepted:
    """Put details on a resource; those that are there already get the new value.

    resourceid: the resource
    resourcetype: what it is, such as UserVm or Volume
    details: the details: details[0].key and details[0].value
    fordisplay: whether users see them; those that they do not see take no effect
    """
    kind = kind_of("resourcetype", resourcetype, DETAILED)
    row = find(ctx, "resourceid", DETAILED[kind], resourceid)
    if not details:
        raise InvalidValue("details is empty: send details[0].key and details[0].value")
    for key, value in details.items():
        if not key or key in flows.INTERNAL:
            raise InvalidValue(f"{key[:50]!r} is no key of a detail")
        check_text("details", key, LONGEST_KEY)
        check_text("details", value, LONGEST_VALUE)
    ctx.describe(f"putting the details {', '.join(details)} on the {kind} {row.uuid}"[:900])
    return ctx.start(flows.add, row, kind, row.uuid, details, fordisplay, lock=f"details:{row.uuid}")


@command("removeResourceDetail", roles=ROOT, event="DELETE_RESOURCE_DETAILS")
def remove(ctx: Context, resourceid: str, resourcetype: str, key: str | None = None) -> Accepted:
    """Take details off a resource.

    resourceid: the resource
    resourcetype: what it is
    key: this detail; all of them when left out
    """
    kind = kind_of("resourcetype", resourcetype, DETAILED)
    row = find(ctx, "resourceid", DETAILED[kind], resourceid)
    ctx.describe(f"taking {key or 'all details'} off the {kind} {row.uuid}")
    return ctx.start(flows.remove, row, kind, row.uuid, key, lock=f"details:{row.uuid}")


@command("listResourceDetails", roles=EVERYONE, key="", reads=True)
def list_details(
    ctx: Context,
    resourcetype: str,
    resourceid: str | None = None,
    key: str | None = None,
    value: str | None = None,
    fordisplay: bool | None = None,
) -> dict[str, Any]:
    """List details of resources that the caller may see.

    resourcetype: what they are, such as UserVm or Volume
    resourceid: those of this resource
    key: those with this key
    value: those with this value
    fordisplay: those that users see, or the others
    """
    kind = kind_of("resourcetype", resourcetype, DETAILED)
    root = ctx.caller.is_root
    found = []
    keyword = ctx.sent.get("keyword", "").lower()
    for row in [] if kind in OF_OPERATORS and not root else _rows(ctx, kind, resourceid):
        for name, text, shown in flows.of_row(ctx.session, kind, row):
            wanted = key in (None, name) and value in (None, text) and fordisplay in (None, shown)
            if wanted and (shown or root) and keyword in name.lower():
                detail = {"resourceid": row.uuid, "resourcetype": kind, "key": name, "value": text}
                found.append(detail | ({"fordisplay": shown} if root else {}))
    number, size = page_of(ctx.sent)
    page = found if size < 0 else found[(max(number, 1) - 1) * size : max(number, 1) * size]
    if not found:
        return {}
    return {"count": len(found), "resourcedetail": page} if page else {"count": len(found)}


def _rows(ctx: Context, kind: str, resourceid: str | None) -> Iterable[Any]:
    if resourceid:
        return [find(ctx, "resourceid", DETAILED[kind], resourceid, access="usable_by")]
    table = DETAILED[kind].table
    rows = select(table).where(DETAILED[kind].there(), table.usable_by(ctx.caller), flows.having_some(kind))
    if issubclass(table, Owned):
        rows = rows.where(*narrowed(ctx, ctx.session, table))
    return ctx.session.scalars(rows.order_by(table.id).limit(MOST_ROWS))


@command("listDetailOptions", roles=EVERYONE, key="detailoptions", reads=True)
def list_options(ctx: Context, resourcetype: str, resourceid: str | None = None) -> dict[str, Any]:
    """List the details that change how resources of a kind work, with the values that they take.

    resourcetype: the kind, such as UserVm
    resourceid: those that this machine has a use for
    """
    kind = kind_of("resourcetype", resourcetype, DETAILED)
    hypervisor = None
    if resourceid:
        hypervisor = getattr(find(ctx, "resourceid", DETAILED[kind], resourceid, access="usable_by"), "hypervisor", "")
    return {"details": OPTIONS.get(kind, {}) if hypervisor in (None, "KVM") else {}}
