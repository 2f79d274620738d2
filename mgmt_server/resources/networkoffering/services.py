"""Which services a network offering may have, who provides them, and what may be chosen about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mgmt_server.errors import InvalidValue
from mgmt_server.resources.checks import one_of

ROUTER, GROUPS = "VirtualRouter", "SecurityGroupProvider"
# who can do what in this version
PROVIDED: Mapping[str, tuple[str, ...]] = {
    ROUTER: (
        "Dhcp",
        "Dns",
        "UserData",
        "SourceNat",
        "StaticNat",
        "PortForwarding",
        "Firewall",
        "Lb",
        "Vpn",
        "Gateway",
    ),
    GROUPS: ("SecurityGroup",),
}
SERVICES = (*PROVIDED[ROUTER], *PROVIDED[GROUPS], "NetworkACL", "Connectivity")
# what a type of guest network may have
ALLOWED: Mapping[str, tuple[str, ...]] = {
    "Isolated": PROVIDED[ROUTER],
    "Shared": ("Dhcp", "Dns", "UserData", "SecurityGroup"),
    "L2": (),
}
# what a service works through: without it, it would have no address to work with
NEEDS: Mapping[str, str] = {
    "StaticNat": "SourceNat",
    "PortForwarding": "SourceNat",
    "Firewall": "SourceNat",
    "Lb": "SourceNat",
    "Vpn": "SourceNat",
}


@dataclass(frozen=True)
class Capability:
    """What may be chosen: the values that work here, the one without a choice first."""

    values: tuple[str, ...]
    told: bool = True  # whether an offering answers it when nobody chose


CAPABILITIES: Mapping[str, Mapping[str, Capability]] = {
    "SourceNat": {
        "SupportedSourceNatTypes": Capability(("peraccount",)),
        "RedundantRouter": Capability(("false",)),
    },
    "Lb": {
        "SupportedLBIsolation": Capability(("shared", "dedicated")),
        "ElasticLb": Capability(("false",)),
        "InlineMode": Capability(("false",)),
        "VmAutoScaling": Capability(("false",)),
        "LbSchemes": Capability(("Public",), told=False),
    },
    "StaticNat": {
        "ElasticIp": Capability(("false",)),
        "AssociatePublicIP": Capability(("false",)),
    },
    "Connectivity": {},
}


@dataclass(frozen=True)
class Chosen:
    service: str
    provider: str
    capabilities: dict[str, str]


def choose(
    guest_type: str,
    services: Iterable[str],
    providers: list[dict[str, str]],
    capabilities: list[dict[str, str]],
) -> list[Chosen]:
    """Services with their providers and capabilities. Raises InvalidValue for what does not go together here.

    providers: [{"service": ..., "provider": ...}], capabilities: [{"service", "capabilitytype", "capabilityvalue"}]
    """
    wanted = list(dict.fromkeys(_service(name) for name in services))
    given = _providers(providers)
    for service in given:
        if service not in wanted:
            raise InvalidValue(f"serviceproviderlist names {service}, which supportedservices does not: add it there")
    for service in wanted:
        if service not in ALLOWED[guest_type]:
            may = ", ".join(ALLOWED[guest_type]) or "none"
            raise InvalidValue(f"{guest_type} networks have no service {service} in this version; they may have: {may}")
        if NEEDS.get(service, service) not in wanted:
            raise InvalidValue(f"the service {service} works through {NEEDS[service]}: add that to supportedservices")
    chosen = _capabilities(wanted, capabilities)
    return [Chosen(s, _checked(s, given.get(s)), chosen.get(s, {})) for s in wanted]


def _service(name: str) -> str:
    try:
        found = one_of("supportedservices", name, SERVICES)
    except InvalidValue:
        raise InvalidValue(f"Invalid service {name[:100]}: services are {', '.join(SERVICES)}") from None
    return found or name


def _providers(rows: list[dict[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for row in rows:
        if not row.get("service") or not row.get("provider"):
            raise InvalidValue("each entry of serviceproviderlist needs service and provider")
        service = _service(row["service"])
        if found.get(service, row["provider"]) != row["provider"]:
            raise InvalidValue(f"{service} has two providers: choose one")
        found[service] = row["provider"]
    return found


def _checked(service: str, provider: str | None) -> str:
    can = [name for name, does in PROVIDED.items() if service in does]
    if provider is None:
        return can[0]
    for name in can:
        if name.lower() == provider.lower():
            return name
    raise InvalidValue(
        f"the provider {provider[:100]} has no service {service} here; it is provided by {', '.join(can)}"
    )


def _capabilities(wanted: list[str], rows: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    found = {
        service: {name: c.values[0] for name, c in CAPABILITIES[service].items() if c.told}
        for service in wanted
        if service in CAPABILITIES
    }
    for row in rows:
        service = _service(row.get("service", ""))
        name, value = row.get("capabilitytype", ""), row.get("capabilityvalue", "")
        if service not in wanted:
            raise InvalidValue(f"servicecapabilitylist names {service}, which supportedservices does not: add it there")
        known = {n.lower(): n for n in CAPABILITIES.get(service, {})}
        if name.lower() not in known:
            may = ", ".join(known.values()) or "none"
            raise InvalidValue(f"{service} has no capability {name[:100]} to choose; it has: {may}")
        spelled = known[name.lower()]
        found[service][spelled] = one_of(spelled, value, CAPABILITIES[service][spelled].values) or value
    return found
