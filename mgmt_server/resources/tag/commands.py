"""Tags: keys with values that people put on their things, and find them by."""

from __future__ import annotations

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import check_text
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.event import Tag
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.resources.tag import flows
from mgmt_server.resources.tag.kinds import TAGGED, find, kind_of, seen_by
from mgmt_server.resources.tag.views import tag_view

LONGEST = 255  # characters of a key, a value and a customer


def _resources(ctx: Context, kind: str, texts: list[str]) -> list[Tag]:
    rows = [find(ctx, "resourceids", TAGGED[kind], text) for text in texts]
    if not rows:
        raise InvalidValue("resourceids is empty: say which resources are meant")
    return rows


def _pairs(sent: list[dict[str, str]], values: bool) -> list[tuple[str, str | None]]:
    """What was sent as tags[0].key and tags[0].value. Without `values` a key alone will do."""
    found: dict[str, str | None] = {}
    for entry in sent:
        key, value = entry.get("key", ""), entry.get("value")
        if not key or (values and not value):
            raise InvalidValue("a tag has a key and a value, neither empty: send tags[0].key and tags[0].value")
        check_text("tags", key, LONGEST)
        check_text("tags", value or "", LONGEST)
        if found.setdefault(key, value) != value:
            raise InvalidValue(f"tags names {key[:50]} twice with different values")
    if len(found) > flows.MOST:
        raise InvalidValue(f"{len(found)} tags at once: at most {flows.MOST} fit on one resource")
    return list(found.items())


@command("createTags", roles=EVERYONE, event="CREATE_TAGS")
def create(
    ctx: Context, resourceids: list[str], resourcetype: str, tags: list[dict[str, str]], customer: str | None = None
) -> Accepted:
    """Put tags on resources that the caller may change.

    resourceids: the resources
    resourcetype: what they are, such as UserVm, Volume or Template
    tags: the tags: tags[0].key and tags[0].value
    customer: a remark on where the tags come from
    """
    kind = kind_of("resourcetype", resourcetype, TAGGED)
    rows, pairs = _resources(ctx, kind, resourceids), _pairs(tags, values=True)
    ctx.describe(f"putting the tags {', '.join(k for k, _ in pairs)} on {len(rows)} {kind}(s)")
    uuids = [row.uuid for row in rows]
    return ctx.start(flows.create, rows[0], kind, uuids, pairs, customer, lock=f"tags:{uuids[0]}")


@command("deleteTags", roles=EVERYONE, event="DELETE_TAGS")
def delete(
    ctx: Context, resourceids: list[str], resourcetype: str, tags: list[dict[str, str]] | None = None
) -> Accepted:
    """Take tags off resources.

    resourceids: the resources
    resourcetype: what they are
    tags: these tags: tags[0].key, with tags[0].value only where it has that value; all of them when left out
    """
    kind = kind_of("resourcetype", resourcetype, TAGGED)
    rows, pairs = _resources(ctx, kind, resourceids), _pairs(tags or [], values=False)
    ctx.describe(f"taking {', '.join(k for k, _ in pairs) or 'all tags'} off {len(rows)} {kind}(s)")
    uuids = [row.uuid for row in rows]
    return ctx.start(flows.remove, rows[0], kind, uuids, pairs, lock=f"tags:{uuids[0]}")


@command("listTags", roles=EVERYONE, answers=tag_view)
def list_tags(
    ctx: Context,
    resourcetype: str | None = None,
    resourceid: str | None = None,
    key: str | None = None,
    value: str | None = None,
    customer: str | None = None,
) -> Rows:
    """List tags of what the caller may see.

    resourcetype: those on this kind of resource, such as UserVm
    resourceid: those on this resource
    key: those with this key
    value: those with this value
    customer: those with this remark
    """
    kind = kind_of("resourcetype", resourcetype, TAGGED) if resourcetype else None
    kinds = TAGGED if kind is None else {kind: TAGGED[kind]}
    scope = seen_by(ctx.caller, Tag.resource_type, Tag.resource_uuid, kinds)
    return Rows(tag_view, scope=scope).where(resource_uuid=resourceid, key=key, value=value, customer=customer)
