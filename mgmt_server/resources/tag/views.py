"""Tags as clients see them."""

from __future__ import annotations

from mgmt_server.api.view import View
from mgmt_server.model.event import Tag
from mgmt_server.resources.views import owner_fields, owner_joins

tag_view = View(
    "tag",
    Tag,
    response="ResourceTagResponse",
    keyword=(Tag.key, Tag.value),
    joins=owner_joins(Tag),
    key_=Tag.key,
    value=Tag.value,
    resourcetype=Tag.resource_type,
    resourceid=Tag.resource_uuid,
    customer=Tag.customer,
    **owner_fields(),
)
