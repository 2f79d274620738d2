"""A router's document as the files that dnsmasq and nftables read: text in, text out, nothing is touched.

`devices` maps the document's interface names to the devices that have their MACs.
"""

from __future__ import annotations

import ipaddress

from mgmt_server.protocol import dhcp
from mgmt_server.protocol.router import Interface, Lease, RouterDocument

TABLE = "inet cloudwright"
SSH_PORT = 3922


def network_of(interface: Interface) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(f"{interface.address}/{interface.prefix}", strict=False)


def guest_interfaces(document: RouterDocument) -> list[Interface]:
    return [item for item in document.interfaces if item.traffic == "Guest"]


def guests_gateway(document: RouterDocument, interface: Interface) -> str:
    """Where guests on this interface send what is for elsewhere; empty where neither gateway is in its network."""
    for gateway in (document.gateway, document.guest_gateway):
        if gateway and ipaddress.IPv4Address(gateway) in network_of(interface):
            return gateway
    return ""


def default_route(document: RouterDocument) -> tuple[str, str]:
    """(gateway, interface) of the router itself, or two empty texts."""
    ranked = sorted(document.interfaces, key=lambda item: ("Public", "Guest", "Control").index(item.traffic))
    for item in ranked:
        if item.gateway:
            return item.gateway, item.name
    for item in guest_interfaces(document):
        gateway = guests_gateway(document, item)
        if gateway and gateway != item.address:
            return gateway, item.name
    return "", ""


def dnsmasq_conf(document: RouterDocument, devices: dict[str, str], run: str, leases: str) -> str:
    """Main configuration: what changes in it needs a restart. `run`: folder of the files that a signal rereads."""
    lines = [
        *("user=dnsmasq", "group=nogroup", f"pid-file={run}/dnsmasq.pid", "bind-interfaces", "except-interface=lo"),
        *("no-hosts", "no-resolv", "no-poll", "domain-needed", "cache-size=1000", f"addn-hosts={run}/dns-hosts"),
        f"port={53 if document.dns_service else 0}",
    ]
    lines += [f"server={address}" for address in document.dns]
    if document.domain:
        lines += [f"domain={document.domain}", f"local=/{document.domain}/", "expand-hosts"]
    for item in guest_interfaces(document):
        lines.append(f"interface={devices[item.name]}")
        if document.dhcp:
            lines += _dhcp_lines(document, item, devices[item.name])
    if document.dhcp:
        lines += [
            # the address is the server's choice: nothing is probed, and other identifiers of a guest do not matter
            *("no-ping", "dhcp-authoritative", "dhcp-ignore-clid", "dhcp-ignore=tag:!known", "dhcp-lease-max=65535"),
            *(f"dhcp-leasefile={leases}", f"dhcp-hostsfile={run}/dhcp-hosts"),
            f"dhcp-optsfile={run}/dhcp-options",
        ]
    return "".join(f"{line}\n" for line in lines)


def _dhcp_lines(document: RouterDocument, interface: Interface, device: str) -> list[str]:
    network = network_of(interface)
    gateway = guests_gateway(document, interface)
    servers = interface.address if document.dns_service else ",".join(document.dns)
    lines = [f"dhcp-range={network.network_address},static,{network.netmask},infinite"]
    # an option without a value is one not sent; a NIC that is not the guest's default one gets neither
    for option, value in (("router", gateway), ("dns-server", servers)):
        lines.append(f"dhcp-option=tag:{device},tag:!second,option:{option}{',' + value if value else ''}")
        lines.append(f"dhcp-option=tag:{device},tag:second,option:{option}")
    if interface.mtu:
        lines.append(f"dhcp-option=tag:{device},option:mtu,{interface.mtu}")
    return lines


def dhcp_hosts(document: RouterDocument) -> str:
    """Fixed addresses, in the form of dnsmasq's dhcp-hostsfile."""
    items = sorted(document.leases, key=lambda item: ipaddress.IPv4Address(item.address))
    return "".join(
        f"{item.mac}{'' if item.default else ',set:second'}{f',set:{_tag(item)}' if item.options else ''},"
        f"{item.address},{item.hostname},infinite\n"
        for item in items
    )


def dhcp_options(document: RouterDocument) -> str:
    """What single guests are told besides the usual, in the form of dnsmasq's dhcp-optsfile."""
    return "".join(
        f"tag:{_tag(item)},{dhcp.written(code, value)}\n"
        for item in sorted(document.leases, key=lambda item: item.mac)
        for code, value in sorted(item.options.items())
    )


def _tag(lease: Lease) -> str:
    return f"nic{lease.mac.replace(':', '')}"


def dns_hosts(document: RouterDocument) -> str:
    """Names that the router answers for: each guest's by its default NIC, and its own."""
    own = [f"{item.address} {document.name} data-server\n" for item in guest_interfaces(document)]
    items = sorted(document.leases, key=lambda item: ipaddress.IPv4Address(item.address))
    return "".join([*own, *(f"{item.address} {item.hostname}\n" for item in items if item.default)])


def firewall(document: RouterDocument | None, devices: dict[str, str], control: str) -> str:
    """The whole ruleset; without a document SSH over the control link and nothing else."""
    rules = [
        "ct state established,related accept",
        'iifname "lo" accept',
        "ct state invalid drop",
    ]
    controls = {control} - {""}
    elements = []
    if document is not None:
        controls |= {devices[item.name] for item in document.interfaces if item.traffic == "Control"}
        elements = [f"{item.address} . {item.mac}" for item in document.leases]
        for item in guest_interfaces(document):
            rules += _guest_rules(document, item, devices[item.name])
    for device in sorted(controls):
        rules += [
            f'iifname "{device}" tcp dport {SSH_PORT} accept',
            f'iifname "{device}" icmp type echo-request accept',
        ]
    body = "".join(f"    {rule}\n" for rule in rules)
    inside = f"    elements = {{ {', '.join(sorted(elements))} }}\n" if elements else ""
    return (
        f"table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n"
        f"  set guests {{\n    type ipv4_addr . ether_addr\n{inside}  }}\n"
        f"  chain input {{\n    type filter hook input priority 0; policy drop;\n{body}  }}\n"
        "  chain forward {\n    type filter hook forward priority 0; policy drop;\n  }\n}\n"
    )


def _guest_rules(document: RouterDocument, interface: Interface, device: str) -> list[str]:
    here = f'iifname "{device}"'
    rules = []
    if document.dhcp:
        rules.append(f"{here} udp sport 68 udp dport 67 accept")
    inside = f"{here} ip saddr {network_of(interface)} ip daddr {interface.address}"
    rules.append(f"{inside} icmp type echo-request accept")
    if document.dns_service:
        rules += [f"{inside} udp dport 53 accept", f"{inside} tcp dport 53 accept"]
    if document.user_data:
        # who takes another's address does not get what is meant for it: the MAC must be the lease's
        rules.append(f"{inside} ip saddr . ether saddr @guests tcp dport {{ 80, 8080 }} accept")
    return rules
