"""What was repaired, as an event of whom it belongs to."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from mgmt_server.model.account import ROOT_DOMAIN, SYSTEM_ACCOUNT, SYSTEM_USER
from mgmt_server.model.event import Event

KINDS = {"Vm": "VirtualMachine", "Pool": "StoragePool", "VmSnapshot": "VmSnapshot", "TemplateOnStore": "Template"}


def tell(tx: Session, row: Any, type: str, text: str) -> None:
    kind = type_of(row)
    tx.add(
        Event(
            type=type, level="WARN", description=text[:1024], user_id=SYSTEM_USER,
            account_id=getattr(row, "account_id", None) or SYSTEM_ACCOUNT,
            domain_id=getattr(row, "domain_id", None) or ROOT_DOMAIN, resource_type=kind, resource_uuid=row.uuid,
        )
    )  # fmt: skip


def type_of(row: Any) -> str:
    name = row.__class__.__name__
    return KINDS.get(name, name)
