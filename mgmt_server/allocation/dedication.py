"""Who may use what is dedicated: the account of it, or every account of its domain and of those below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, false, literal, not_, or_, select
from sqlalchemy.orm import Session

from mgmt_server.allocation.limits import owners_of
from mgmt_server.model.account import ROOT_DOMAIN
from mgmt_server.model.zone import Dedication


def domains_above(tx: Session, account_id: int) -> list[int]:
    """The domain of an account and all above it. Read once in seconds."""
    return [ROOT_DOMAIN, *(o.domain_id for o in owners_of(account_id, tx) if o.domain_id is not None)]


def allows(account: Any, domain: Any, account_id: int, above: list[int]) -> ColumnElement[bool]:
    """Rows whose columns `account` and `domain` say that the account is among those whom they are for."""
    # never NULL, so that it can be negated
    return or_(
        and_(account.is_not(None), account == account_id),
        and_(account.is_(None), domain.is_not(None), domain.in_(above)),
    )


_ANY = select(literal(1)).select_from(Dedication).correlate(None).exists()


def open_to(tx: Session, account_id: int | None, *, grouped: bool = True, **places: Any) -> ColumnElement[bool]:
    """Rows that are not dedicated to others: zone=Host.zone_id, pod=..., cluster=..., host=... are their columns.

    `account_id` None: not dedicated to anybody. Not `grouped`: for a machine in no group of a dedication, which goes
    to no pod, cluster or host that is dedicated, whoever has it; a zone is its holder's in any case.
    """
    mine = (
        false()
        if account_id is None
        else allows(Dedication.account_id, Dedication.domain_id, account_id, domains_above(tx, account_id))
    )
    mine = mine if grouped else mine & (Dedication.kind == "Zone")
    others = select(Dedication.id).where(_here(places), not_(mine)).correlate_except(Dedication).exists()
    return ~_ANY | ~others  # where nothing at all is dedicated, which is asked once, no row is looked at


def of_groups(groups: Sequence[int], **places: Any) -> ColumnElement[bool]:
    """Rows that are, or lie in, something that is dedicated with one of these affinity groups."""
    rows = select(Dedication.id).where(_here(places), Dedication.group_id.in_(groups))
    return rows.correlate_except(Dedication).exists()


def _here(places: dict[str, Any]) -> ColumnElement[bool]:
    return or_(*(and_(Dedication.kind == k.capitalize(), Dedication.resource_id == c) for k, c in places.items()))
