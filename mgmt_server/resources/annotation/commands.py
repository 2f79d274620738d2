"""Annotations: remarks that people leave on things for each other."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import ColumnElement, func, select, true

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import no_entity
from mgmt_server.db import now
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import User
from mgmt_server.model.event import Annotation
from mgmt_server.model.tenancy import EVERYONE, ROOT
from mgmt_server.resources.annotation.views import annotation_view
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.tag.kinds import ANNOTATED, OF_USERS, Kind, find, kind_of, owner_of, seen_by

MOST = 100  # annotations on one thing
FILTERS = ("all", "self")


def _kinds(ctx: Context) -> Mapping[str, Kind]:
    return ANNOTATED if ctx.caller.is_root else OF_USERS


def _visible(ctx: Context) -> ColumnElement[bool]:
    """Annotations that the caller may see: those on things that the caller operates."""
    if ctx.caller.is_root:
        return true()
    on_mine = seen_by(ctx.caller, Annotation.entity_type, Annotation.entity_uuid, OF_USERS, access="operable_by")
    return on_mine & ~Annotation.admins_only


def _one(ctx: Context, uuid: str) -> Annotation:
    rows = select(Annotation).where(Annotation.uuid == uuid.strip(), Annotation.removed.is_(None), _visible(ctx))
    found = ctx.session.scalar(rows)
    if found is None:
        raise no_entity("id", uuid)
    return found


@command("addAnnotation", roles=EVERYONE, answers=annotation_view, event="ANNOTATION.CREATE")
def add(
    ctx: Context,
    entitytype: str | None = None,
    entityid: str | None = None,
    annotation: str | None = None,
    adminsonly: bool = False,
) -> Annotation:
    """Leave a remark on a thing.

    entitytype: what it is, such as VM or VOLUME
    entityid: which one
    annotation: the remark
    adminsonly: only root administrators shall see it
    """
    if not (entitytype and entityid and annotation and annotation.strip()):
        raise InvalidValue("entitytype, entityid and annotation are all needed: what, which one, and the remark")
    if adminsonly and not ctx.caller.is_root:
        raise InvalidValue("adminsonly is for root administrators: you could not see the remark yourself")
    kind = kind_of("entitytype", entitytype, _kinds(ctx))
    row = find(ctx, "entityid", ANNOTATED[kind], entityid)
    there = select(func.count()).where(
        Annotation.entity_type == kind, Annotation.entity_uuid == row.uuid, Annotation.removed.is_(None)
    )
    if (ctx.session.scalar(there) or 0) >= MOST:
        raise InvalidValue(f"there are {MOST} annotations on it already: remove some first")
    account, domain = owner_of(ctx.session, row)
    made = Annotation(
        entity_type=kind, entity_uuid=row.uuid, text=annotation, user_id=ctx.caller.user_id, admins_only=adminsonly,
        account_id=account, domain_id=domain,
    )  # fmt: skip
    ctx.session.add(made)
    ctx.session.flush()
    ctx.describe(f"annotating the {kind} {row.uuid}")
    return made


@command("removeAnnotation", roles=EVERYONE, answers=annotation_view, event="ANNOTATION.REMOVE")
def remove(ctx: Context, id: str) -> Annotation:
    """Take a remark away: one's own, or any as a root administrator.

    id: the annotation
    """
    found = _one(ctx, id)
    if found.user_id != ctx.caller.user_id and not ctx.caller.is_root:
        raise InvalidValue("only who wrote an annotation and root administrators remove it")
    found.removed = now()
    ctx.describe(f"removing an annotation of the {found.entity_type} {found.entity_uuid}")
    return found


@command("updateAnnotationVisibility", roles=ROOT, answers=annotation_view)
def update(ctx: Context, id: str, adminsonly: bool) -> Annotation:
    """Show a remark to all who see the thing, or to root administrators alone.

    id: the annotation
    adminsonly: only root administrators shall see it
    """
    found = _one(ctx, id)
    found.admins_only = adminsonly
    return found


@command("listAnnotations", roles=EVERYONE, answers=annotation_view)
def list_annotations(
    ctx: Context,
    id: str | None = None,
    entitytype: str | None = None,
    entityid: str | None = None,
    userid: str | None = None,
    annotationfilter: str | None = None,
) -> Rows:
    """List remarks on what the caller operates.

    id: this one alone
    entitytype: those on this kind of thing, such as VM
    entityid: those on this thing; needs entitytype
    userid: those that this user wrote
    annotationfilter: all, or self for the caller's own
    """
    rows = Rows(annotation_view, scope=_visible(ctx), narrow=False)
    if entityid and not entitytype:
        raise InvalidValue("entityid needs entitytype: say what it is")
    if entitytype:
        kind = kind_of("entitytype", entitytype, _kinds(ctx))
        uuid = find(ctx, "entityid", ANNOTATED[kind], entityid).uuid if entityid else None
        rows = rows.where(entity_type=kind, entity_uuid=uuid)
    if userid:
        writer = ctx.session.scalar(select(User).where(User.uuid == userid, User.usable_by(ctx.caller)))
        if writer is None:
            raise no_entity("userid", userid)
        rows = rows.where(user_id=writer.id)
    if one_of("annotationfilter", annotationfilter, FILTERS) == "self":
        rows = rows.where(user_id=ctx.caller.user_id)
    return rows.where(uuid=id)
