"""Instance groups as clients see them."""

from __future__ import annotations

from mgmt_server.api.view import View
from mgmt_server.model.userdata import InstanceGroup
from mgmt_server.resources.annotation.marks import has_annotations
from mgmt_server.resources.views import owner_fields, owner_joins

instance_group_view = View(
    "instancegroup",
    InstanceGroup,
    response="InstanceGroupResponse",
    keyword=(InstanceGroup.name,),
    joins=owner_joins(InstanceGroup),
    id=InstanceGroup.uuid,
    name=InstanceGroup.name,
    created=InstanceGroup.created,
    hasannotations=has_annotations("INSTANCE_GROUP", InstanceGroup.uuid),
    **owner_fields(),
)
