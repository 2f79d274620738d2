"""Annotations as clients see them."""

from __future__ import annotations

from mgmt_server.api.view import View
from mgmt_server.model.account import User
from mgmt_server.model.event import Annotation
from mgmt_server.resources.tag.kinds import ANNOTATED, name_on

annotation_view = View(
    "annotation",
    Annotation,
    response="AnnotationResponse",
    keyword=(Annotation.text,),
    joins=((User, User.id == Annotation.user_id),),
    id=Annotation.uuid,
    entityid=Annotation.entity_uuid,
    entitytype=Annotation.entity_type,
    entityname=name_on(Annotation.entity_type, Annotation.entity_uuid, {n: k.table for n, k in ANNOTATED.items()}),
    annotation=Annotation.text,
    adminsonly=Annotation.admins_only,
    userid=User.uuid,
    username=User.username,
    created=Annotation.created,
    removed=Annotation.removed,
)
