"""Tell operators: once for what happened, and once for what lasts, however often it is seen.

tell(tx, "ALERT.USERVM", "i-2-3-VM was stopped from outside", zone_id=host.zone_id)
lasts(tx, "host:7", "ALERT.COMPUTE.HOST", "Host kvm1 is not connected", zone_id=host.zone_id)
over(tx, "host:7")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mgmt_server.model.event import Alert
from mgmt_server.resources.alert.kinds import TYPES

STRAY = "stray"  # machines that run though they should not: seen by reports, over when they are no longer Stopped


@dataclass(frozen=True)
class Condition:
    """Something that is wrong and lasts."""

    name: str  # see TYPES
    subject: str
    content: str = ""
    zone_id: int | None = None
    pod_id: int | None = None
    cluster_id: int | None = None


def tell(
    tx: Session,
    name: str,
    subject: str,
    content: str = "",
    *,
    zone_id: int | None = None,
    pod_id: int | None = None,
    cluster_id: int | None = None,
) -> None:
    """Raise an alert about what happened."""
    tx.add(_alert(Condition(name, subject, content, zone_id, pod_id, cluster_id)))


def lasts(tx: Session, key: str, condition: Condition) -> bool:
    """Raise an alert about what lasts; False when it has been told. `key` says what it is: host:7."""
    if is_told(tx, key):
        return False
    alert = _alert(condition)
    alert.lasting = key
    try:
        with tx.begin_nested():
            tx.add(alert)
    except IntegrityError:  # another node was quicker
        return False
    return True


def is_told(tx: Session, key: str) -> bool:
    """Whether an alert about it lasts."""
    return tx.scalar(select(Alert.id).where(Alert.lasting == key)) is not None


def over(tx: Session, key: str) -> None:
    """It is over: when it comes again, it is told again."""
    tx.execute(
        update(Alert).where(Alert.lasting == key).values(lasting=None).execution_options(synchronize_session=False)
    )


def settle(tx: Session, family: str, found: Mapping[str, Condition]) -> None:
    """All conditions of a family that last now, by key (`family` starts it): new ones are told, others are over."""
    family_keys = select(Alert.lasting).where(Alert.lasting.startswith(f"{family}:", autoescape=True))
    known = set(tx.scalars(family_keys))
    for key in known - found.keys():
        over(tx, str(key))
    for key, condition in found.items():
        if key not in known:
            lasts(tx, key, condition)


def _alert(condition: Condition) -> Alert:
    return Alert(
        type=TYPES[condition.name],
        name=condition.name,
        subject=condition.subject[:999],
        content=condition.content or None,
        zone_id=condition.zone_id,
        pod_id=condition.pod_id,
        cluster_id=condition.cluster_id,
    )
