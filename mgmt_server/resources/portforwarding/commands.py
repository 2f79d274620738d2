"""Forwarding rules: clients that list machines ask for them, and there can be none yet."""

from __future__ import annotations

from typing import Any

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Use
from mgmt_server.model.network import Network
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Address


@command("listPortForwardingRules", roles=EVERYONE, key="portforwardingrule", reads=True)
def list_rules(
    ctx: Context,
    id: str | None = None,
    ipaddressid: Use[Address] | None = None,
    networkid: Use[Network] | None = None,
    fordisplay: bool | None = None,
) -> list[dict[str, Any]]:
    """List port forwarding rules. No command makes any in this version.

    id: this rule alone
    ipaddressid: those of this address
    networkid: those of this network
    fordisplay: those that users see, or not
    """
    return []


@command("listIpForwardingRules", roles=EVERYONE, key="ipforwardingrule", reads=True)
def list_static_nat(
    ctx: Context,
    id: str | None = None,
    ipaddressid: Use[Address] | None = None,
    virtualmachineid: Use[Vm] | None = None,
) -> list[dict[str, Any]]:
    """List static NAT rules. No command makes any in this version.

    id: this rule alone
    ipaddressid: those of this address
    virtualmachineid: those of this machine
    """
    return []
