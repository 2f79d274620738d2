"""Bridges of this host: found, and those of VLANs and VXLANs made on demand and taken away when unused."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mgmt_server.agent.config import Config
from mgmt_server.agent.run import run
from mgmt_server.errors import Failed
from mgmt_server.protocol.machine import Nic

SYS = Path("/sys/class/net")
OURS = "cloudwright"  # the alias of links that we made, and may take away
CONTROL_BRIDGE, CONTROL_ADDRESS = "cloud0", "169.254.0.1/16"
DEFAULT_BRIDGE = "cloudbr0"
LINK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")
ADDRESS_WAS_SET = "3"  # NET_ADDR_SET of linux/netdevice.h
BROADCAST = re.compile(r"(vlan|vxlan)://(untagged|\d{1,8})")


class Network:
    def __init__(self, config: Config) -> None:
        self.config = config
        self._lock = threading.Lock()
        self._used: Counter[str] = Counter()  # bridges that a machine being started needs
        self._held: dict[str, list[str]] = {}  # machine that is to come -> its bridges

    @contextmanager
    def bridges(self, nics: tuple[Nic, ...]) -> Iterator[list[str]]:
        """The bridge of each NIC, made if need be, and kept at least until the end of the `with`."""
        names: list[str] = []
        try:
            with self._lock:
                for nic in nics:
                    names.append(self._bridge(nic))
                    self._used[names[-1]] += 1
            yield names
        finally:
            with self._lock:
                self._used.subtract(names)

    def hold(self, machine: str, nics: tuple[Nic, ...]) -> list[str]:
        """The bridge of each NIC, kept until `release`: the machine comes from another host."""
        self.release(machine)
        with self._lock:
            names = self._held.setdefault(machine, [])
            for nic in nics:
                names.append(self._bridge(nic))
                self._used[names[-1]] += 1
            return list(names)

    def release(self, machine: str) -> None:
        with self._lock:
            self._used.subtract(self._held.pop(machine, []))

    def _bridge(self, nic: Nic) -> str:
        if nic.traffic == "Control":
            ensure_control_bridge()
            return CONTROL_BRIDGE
        base = self.base_bridge(nic.traffic, nic.label)
        kind, number = parse_broadcast(nic.broadcast)
        if kind == "vlan" and number:
            return _vlan_bridge(base, number)
        if kind == "vxlan":
            return _vxlan_bridge(base, number)
        return base

    def base_bridge(self, traffic: str, label: str = "") -> str:
        """The bridge of a physical network: by its label, by the configuration, or the one that there is."""
        name = label or self.config.bridges.get(traffic) or self.config.bridges.get("default", "")
        if not name:
            there = physical_bridges()
            name = DEFAULT_BRIDGE if DEFAULT_BRIDGE in there or len(there) != 1 else there[0]
        if not LINK_NAME.fullmatch(name) or not (SYS / name / "bridge").is_dir():
            raise Failed(
                f"this host has no bridge {name!r} for {traffic} traffic, only"
                f" {', '.join(physical_bridges()) or 'none at all'}. Set the label of the physical network, or"
                " [bridges] in agent.toml"
            )
        return name

    def remove_unused(self) -> list[str]:
        """Take away the bridges of VLANs and VXLANs that no machine is on; their names."""
        removed = []
        with self._lock:
            for link in json.loads(run(["ip", "-j", "-d", "link", "show", "type", "bridge"])):
                name = link["ifname"]
                if link.get("ifalias") != OURS or name == CONTROL_BRIDGE or self._used[name] > 0:
                    continue
                ports = _ports(name)
                own = [p for p in ports if _alias(p) == OURS]
                if len(own) < len(ports):
                    continue
                for each in [*own, name]:
                    run(["ip", "link", "delete", each])
                removed.append(name)
        return removed


def parse_broadcast(uri: str) -> tuple[str, int]:
    """("vlan", 100), ("vxlan", 5001), or ("vlan", 0) for what is not tagged. Raises Failed."""
    if not uri:
        return "vlan", 0
    found = BROADCAST.fullmatch(uri)
    number = 0 if not found or found[2] == "untagged" else int(found[2])
    limit = 4094 if found and found[1] == "vlan" else (1 << 24) - 1
    if not found or number > limit or (number == 0 and found[2] != "untagged") or uri == "vxlan://untagged":
        raise Failed(f"the broadcast domain {uri!r} is neither vlan://untagged, vlan://1-4094 nor vxlan://1-16777215")
    return found[1], number


def physical_bridges() -> list[str]:
    """Bridges that an administrator made: neither ours nor libvirt's."""
    names = sorted(p.parent.name for p in SYS.glob("*/bridge"))
    return [n for n in names if _alias(n) != OURS and not n.startswith(("virbr", "docker")) and n != CONTROL_BRIDGE]


def ensure_control_bridge() -> None:
    """A bridge without any uplink, by which people reach system VMs from their host alone."""
    if not (SYS / CONTROL_BRIDGE).exists():
        _make_bridge(CONTROL_BRIDGE)
    else:
        _keep_address(CONTROL_BRIDGE)  # one of an earlier agent may not have its own
    run(["ip", "address", "replace", CONTROL_ADDRESS, "dev", CONTROL_BRIDGE])
    run(["ip", "link", "set", CONTROL_BRIDGE, "up"])


def _vlan_bridge(base: str, vlan: int) -> str:
    uplink = _uplink(base)
    device, name = _short(uplink, f".{vlan}", ""), _short(uplink, f"-{vlan}", "br")
    if not (SYS / name).exists():
        if not (SYS / device).exists():
            _add(["link", uplink, "name", device, "type", "vlan", "id", str(vlan)], device)
        _join(name, device)
    return name


def _vxlan_bridge(base: str, vni: int) -> str:
    device, name = f"vxlan{vni}", f"brvx-{vni}"
    if not (SYS / name).exists():
        if not (SYS / device).exists():
            group = f"239.{(vni >> 16) & 255}.{(vni >> 8) & 255}.{vni & 255}"
            words = ["name", device, "type", "vxlan", "id", str(vni), "group", group, "ttl", "10"]
            _add([*words, "dev", base, "dstport", "4789"], device)
        _join(name, device)
    return name


def _add(words: list[str], device: str) -> None:
    run(["ip", "link", "add", *words])
    run(["ip", "link", "set", device, "alias", OURS])


def _join(bridge: str, device: str) -> None:
    # a half-made one is taken away: whoever comes next takes a bridge that is there for a whole one
    try:
        _make_bridge(bridge)
        run(["ip", "link", "set", device, "master", bridge])
        run(["ip", "link", "set", device, "up"])
        run(["ip", "link", "set", bridge, "up"])
    except Failed:
        for each in (bridge, device):
            if (SYS / each).exists():
                run(["ip", "link", "delete", each])
        raise


def _make_bridge(name: str) -> None:
    # no spanning tree and no delay: a guest's first DHCP request must not be swallowed
    run(["ip", "link", "add", "name", name, "type", "bridge", "forward_delay", "0", "stp_state", "0"])
    run(["ip", "link", "set", name, "alias", OURS])
    _keep_address(name)
    ipv6 = Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6")
    if ipv6.exists():
        ipv6.write_text("1")  # the host itself has no business in its guests' networks


def _keep_address(bridge: str) -> None:
    """A bridge that was never told its MAC takes the lowest of its ports', and changes it as guests come and go: its
    peers then send to a MAC that nobody has, or that a tap of theirs has as well."""
    if (SYS / bridge / "addr_assign_type").read_text().strip() != ADDRESS_WAS_SET:
        run(["ip", "link", "set", bridge, "address", (SYS / bridge / "address").read_text().strip()])


def _uplink(bridge: str) -> str:
    """The device by which a bridge leaves the host."""
    for port in _ports(bridge):
        if not port.startswith(("vnet", "tap")) and _alias(port) != OURS:
            return port
    raise Failed(f"the bridge {bridge} has no uplink, so it cannot carry tagged VLANs: use VXLAN, or give it one")


def _ports(bridge: str) -> list[str]:
    folder = SYS / bridge / "brif"
    return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []


def _alias(link: str) -> str:
    try:
        return (SYS / link / "ifalias").read_text().strip()
    except OSError:
        return ""


def _short(device: str, tail: str, head: str) -> str:
    """A link's name of at most 15 characters; a long device is told apart by a digest."""
    name = f"{head}{device}{tail}"
    if len(name) > 15:
        name = f"{head}{hashlib.sha256(device.encode()).hexdigest()[:4]}{tail}"
    return name
