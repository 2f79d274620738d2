"""Affinity groups as clients see them."""

from __future__ import annotations

from mgmt_server.api.view import PerPage, View
from mgmt_server.model.affinity import AffinityGroup
from mgmt_server.resources.affinity.members import dedicated_with, machines_of
from mgmt_server.resources.views import owner_fields, owner_joins

affinity_group_view = View(
    "affinitygroup",
    AffinityGroup,
    response="AffinityGroupResponse",
    keyword=(AffinityGroup.name,),
    joins=owner_joins(AffinityGroup),
    more=(PerPage(("virtualmachineIds",), machines_of), PerPage(("dedicatedresources",), dedicated_with)),
    id=AffinityGroup.uuid,
    name=AffinityGroup.name,
    description=AffinityGroup.description,
    type=AffinityGroup.type,
    **owner_fields(),
)
