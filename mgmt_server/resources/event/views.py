"""Events as clients see them."""

from __future__ import annotations

from sqlalchemy.orm import aliased

from mgmt_server.api.view import View, only
from mgmt_server.model.account import User
from mgmt_server.model.event import Event
from mgmt_server.model.tenancy import ADMINS
from mgmt_server.resources.event.names import of_events
from mgmt_server.resources.views import owner_fields, owner_joins

First = aliased(Event)

event_view = View(
    "event",
    Event,
    response="EventResponse",
    keyword=(Event.type, Event.description, Event.level),
    order=(Event.id.desc(),),
    more=(of_events,),
    joins=((User, User.id == Event.user_id), (First, First.id == Event.start_id), *owner_joins(Event)),
    id=Event.uuid,
    username=User.username,
    type=Event.type,
    level=Event.level,
    description=Event.description,
    resourceid=Event.resource_uuid,
    resourcetype=Event.resource_type,
    created=Event.created,
    state=Event.state,
    parentid=First.uuid,
    archived=only(ADMINS, Event.archived),
    **owner_fields(),
)
