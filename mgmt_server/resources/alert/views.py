"""Alerts as clients see them."""

from __future__ import annotations

from mgmt_server.api.view import View
from mgmt_server.model.event import Alert

alert_view = View(
    "alert",
    Alert,
    response="AlertResponse",
    keyword=(Alert.subject, Alert.name),
    order=(Alert.id.desc(),),
    id=Alert.uuid,
    type=Alert.type,
    name=Alert.name,
    description=Alert.subject,
    sent=Alert.created,
)
