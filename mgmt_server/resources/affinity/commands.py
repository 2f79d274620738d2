"""Affinity groups: which machines should share a host, and which should not."""

from __future__ import annotations

from typing import Any

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import page_of
from mgmt_server.model.tenancy import EVERYONE

# the protocol's; strict ones bind, the others are wishes
TYPES = (
    "host anti-affinity",
    "host affinity",
    "non-strict host anti-affinity",
    "non-strict host affinity",
)


@command("listAffinityGroupTypes", roles=EVERYONE, key="", reads=True)
def list_types(ctx: Context) -> dict[str, Any]:
    """List the types of affinity groups that the protocol knows."""
    text = ctx.sent.get("keyword", "").lower()
    found = [{"type": name} for name in TYPES if text in name]
    number, size = page_of(ctx.sent)
    page = found if size < 0 else found[(max(number, 1) - 1) * size : max(number, 1) * size]
    return ({"count": len(found)} | ({"affinityGroupType": page} if page else {})) if found else {}
