"""Which provider of network services can do what. Names as clients know them."""

from __future__ import annotations

PROVIDERS: dict[str, tuple[str, ...]] = {
    "VirtualRouter": (
        "Vpn", "Dhcp", "Dns", "Gateway", "Firewall", "Lb", "SourceNat", "StaticNat", "PortForwarding", "UserData",
    ),
    "VpcVirtualRouter": (
        "Vpn", "Dhcp", "Dns", "Gateway", "Lb", "SourceNat", "StaticNat", "PortForwarding", "UserData", "NetworkACL",
    ),
    "InternalLbVm": ("Lb",),
    "ConfigDrive": ("Dhcp", "Dns", "UserData"),
    "SecurityGroupProvider": ("SecurityGroup",),
}  # fmt: skip
INITIAL = ("ConfigDrive", "InternalLbVm", "VpcVirtualRouter", "SecurityGroupProvider", "VirtualRouter")
ALL_OR_NOTHING = ("SecurityGroupProvider",)  # whose services cannot be chosen one by one
ROUTERS = ("VirtualRouter", "VpcVirtualRouter")
BALANCERS = ("InternalLbVm",)
WITH_ELEMENT = (*ROUTERS, *BALANCERS)

# service -> its capabilities; True where an offering may choose the value
CAPABILITIES: dict[str, dict[str, bool]] = {
    "Vpn": {"SupportedVpnTypes": False, "VpnTypes": False},
    "Dhcp": {"ExtraDhcpOptions": False},
    "Dns": {"AllowDnsSuffixModification": False},
    "Gateway": {},
    "Firewall": {
        "SupportedProtocols": False,
        "SupportedEgressProtocols": False,
        "SupportedTrafficDirection": False,
        "MultipleIps": False,
        "TrafficStatistics": False,
    },
    "Lb": {
        "SupportedLbAlgorithms": False,
        "SupportedLBIsolation": True,
        "SupportedProtocols": False,
        "TrafficStatistics": False,
        "LoadBalancingSupportedIps": False,
        "SupportedStickinessMethods": False,
        "ElasticLb": False,
        "LbSchemes": False,
    },
    "UserData": {},
    "SourceNat": {"SupportedSourceNatTypes": True, "RedundantRouter": True},
    "StaticNat": {"ElasticIp": False, "AssociatePublicIP": False},
    "PortForwarding": {},
    "SecurityGroup": {},
    "NetworkACL": {"SupportedProtocols": False},
    "Connectivity": {"StretchedL2Subnet": False, "RegionLevelVpc": False, "NoVlan": False},
}


def providers_of(service: str) -> list[str]:
    return [name for name, services in PROVIDERS.items() if service in services]
