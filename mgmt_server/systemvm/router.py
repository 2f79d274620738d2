"""Makes a router what its document says, changes only what differs, and says what that was.

Everything is rendered and tested before the first change. The order of the changes lets no guest see half a router: the
firewall before the addresses, the metadata server before DHCP (a guest asks for its data the moment it has a lease).
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from mgmt_server.protocol.router import SOFTWARE, Interface, RouterDocument
from mgmt_server.systemvm import render
from mgmt_server.systemvm.document import Refused, parse
from mgmt_server.systemvm.journal import read_file, write_file
from mgmt_server.systemvm.metadata import Guests, Listener

DNSMASQ_UNIT = "cloudwright-dnsmasq.service"
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"

Run = Callable[..., tuple[int, str]]


def run(*argv: str, data: str = "") -> tuple[int, str]:
    """(status, what it said) of a command."""
    done = subprocess.run(argv, input=data, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout.strip()


def macs(folder: str = "/sys/class/net") -> dict[str, str]:
    """Device by MAC, of this machine's NICs."""
    return {(read_file(f"{folder}/{name}/address") or "").strip(): name for name in os.listdir(folder) if name != "lo"}


@dataclass(frozen=True)
class Rendered:
    """The files that a document becomes."""

    firewall: str
    conf: str
    dhcp_hosts: str
    dhcp_options: str
    dns_hosts: str
    keys: str


class Router:
    """One document at a time. `state` survives a restart of the machine, `volatile` does not, as the kernel's state."""

    def __init__(
        self,
        control: str,
        state: str = "/var/lib/cloudwright",
        volatile: str = "/run/cloudwright",
        ssh: str = "/root/.ssh",
        run: Run = run,
        macs: Callable[[], dict[str, str]] = macs,
        listen: Callable[..., Listener] = Listener,
    ) -> None:
        self.control, self.state, self.volatile, self.ssh = control, state, volatile, ssh
        self.run, self.macs, self.listen = run, macs, listen
        self.lock = threading.Lock()
        self.storing = threading.Lock()
        self.document: RouterDocument | None = None
        self.listeners: dict[tuple[str, int], Listener] = {}
        self.leases_file = f"{state}/dnsmasq/leases"
        os.makedirs(f"{state}/dnsmasq", mode=0o755, exist_ok=True)
        os.makedirs(volatile, mode=0o755, exist_ok=True)
        taken = frozenset(json.loads(read_file(f"{state}/taken.json") or "[]"))
        self.guests = Guests(taken, self._store)

    def restore(self) -> None:
        """After a restart: the last document again, or at least the firewall that is there before any."""
        stored = read_file(f"{self.state}/document.json")
        if stored is not None:
            self._apply(parse(json.loads(stored)))
        elif read_file(f"{self.volatile}/firewall.nft") is None:
            self._set_firewall(render.firewall(None, {}, self.control))

    def open_ssh(self) -> None:
        """Start SSH once the firewall is up; the machine's host key is made here the first time."""
        if not os.path.exists(HOST_KEY):
            self._must("making the host key", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", HOST_KEY)
        self._must("starting SSH", "systemctl", "start", "--no-block", "cloudwright-ssh.socket")

    def configure(self, raw: object) -> dict:
        """{"version", "changed", "software"} once the document holds.

        Raises Refused, before any change if the document is why.
        """
        document = parse(raw)
        with self.lock:
            if self.document is not None and document.version < self.document.version:
                raise Refused(
                    f"version {document.version} is older than version {self.document.version}, which this router has"
                )
            return {"version": document.version, "changed": self._apply(document), "software": SOFTWARE}

    def _store(self, document: RouterDocument | None = None) -> None:
        """Keep the document (a new one, or the one that is) for the next start, without the passwords that were taken.

        A guest's thread comes here too, when it has taken its password.
        """
        with self.storing:
            self.document = document or self.document
            write_file(f"{self.state}/taken.json", json.dumps(sorted(self.guests.taken)))
            if self.document is None:  # a guest was quicker than the rest of the first document
                return
            taken = self.guests.taken_addresses()
            guests = tuple(replace(g, password="") if g.address in taken else g for g in self.document.guests)  # noqa: S106
            write_file(f"{self.state}/document.json", json.dumps(asdict(replace(self.document, guests=guests))))

    def facts(self) -> dict:
        """What the router is now."""
        status, said = self.run("systemctl", "is-active", DNSMASQ_UNIT)
        return {
            "name": self.document.name if self.document else "",
            "version": self.document.version if self.document else None,
            "leases": self._leases(),
            "services": {
                "dnsmasq": said if said else f"unknown ({status})",
                "metadata": sorted(f"{address}:{port}" for address, port in self.listeners),
            },
            "passwords_taken": self.guests.taken_addresses(),
        }

    # --- what a document becomes ---------------------------------------------------------------------------------

    def _devices(self, document: RouterDocument) -> dict[str, str]:
        present = self.macs()
        missing = [f"{item.name} ({item.mac})" for item in document.interfaces if item.mac not in present]
        if missing:
            there = ", ".join(f"{name} ({mac})" for mac, name in sorted(present.items())) or "none"
            raise Refused(f"no NIC for {', '.join(missing)}: this machine has {there}")
        return {item.name: present[item.mac] for item in document.interfaces}

    def _render(self, document: RouterDocument, devices: dict[str, str]) -> Rendered:
        """All files, tested by the programs that read them."""
        conf = ""
        if (document.dhcp or document.dns_service) and render.guest_interfaces(document):
            conf = render.dnsmasq_conf(document, devices, self.volatile, self.leases_file)
            candidate = f"{self.volatile}/dnsmasq.conf.candidate"
            write_file(candidate, conf, 0o644)
            status, said = self.run("dnsmasq", "--test", f"--conf-file={candidate}")
            os.unlink(candidate)
            if status:
                raise Refused(f"dnsmasq refuses its configuration: {said}")
        rules = render.firewall(document, devices, self.control)
        status, said = self.run("nft", "-c", "-f", "-", data=rules)
        if status:
            raise Refused(f"nft refuses the firewall: {said}")
        keys = "".join(f"{key}\n" for key in document.authorized_keys)
        guests = render.dhcp_hosts(document), render.dhcp_options(document), render.dns_hosts(document)
        return Rendered(rules, conf, *guests, keys)

    def _apply(self, document: RouterDocument) -> list[str]:
        devices = self._devices(document)
        rendered = self._render(document, devices)
        before = self.document
        changed = []
        if self._set_firewall(rendered.firewall):
            changed.append("firewall")
        if self._set_addresses(document, devices):
            changed.append("addresses")
        changed += self._set_guests(document, before)
        if self._set_keys(rendered.keys):
            changed.append("ssh")
        if self._set_dnsmasq(document, rendered):
            changed.append("dnsmasq")
        self._store(document)
        return changed

    def _must(self, doing: str, *argv: str, data: str = "") -> str:
        status, said = self.run(*argv, data=data)
        if status:
            raise Refused(f"{doing}: {argv[0]} failed with status {status}: {said or 'it said nothing'}")
        return said

    # --- the parts, in the order of their change -----------------------------------------------------------------

    def _differs(self, name: str, text: str) -> bool:
        return read_file(f"{self.volatile}/{name}") != text

    def _set_firewall(self, rules: str) -> bool:
        if not self._differs("firewall.nft", rules):
            return False
        self._must("loading the firewall", "nft", "-f", "-", data=rules)
        write_file(f"{self.volatile}/firewall.nft", rules)
        return True

    def _set_addresses(self, document: RouterDocument, devices: dict[str, str]) -> bool:
        """Each device has its address and no other one, the rest have none; the default route is the document's."""
        there = {link["ifname"]: link for link in json.loads(self._must("reading addresses", "ip", "-j", "address"))}
        lines = []
        for item in document.interfaces:
            lines += _address_lines(item, devices[item.name], there.get(devices[item.name], {}))
        for device in set(there) - {"lo", self.control, *devices.values()}:
            if any(address.get("family") == "inet" for address in there[device].get("addr_info", ())):
                lines += [f"address flush dev {device}", f"link set {device} down"]
        gateway, name = render.default_route(document)
        routes = json.loads(self._must("reading routes", "ip", "-j", "-4", "route", "show", "default") or "[]")
        found = [(route.get("gateway", ""), route.get("dev", "")) for route in routes]
        # the kernel drops the route together with the address that it went out by
        if gateway and (lines or found != [(gateway, devices[name])]):
            lines.append(f"route replace default via {gateway} dev {devices[name]}")
        if not gateway:
            lines += [f"route del default via {via} dev {device}" for via, device in found]
        if lines:
            self._must("setting addresses", "ip", "-batch", "-", data="".join(f"{line}\n" for line in lines))
        return bool(lines)

    def _set_guests(self, document: RouterDocument, before: RouterDocument | None) -> list[str]:
        changed = []
        guests = document.guests if document.user_data else ()
        old = before.guests if before is not None and before.user_data else ()
        if {(g.address, g.password) for g in guests if g.password} != {
            (g.address, g.password) for g in old if g.password
        }:
            changed.append("password")
        plain = [sorted((replace(g, password="") for g in some), key=lambda g: g.address) for some in (guests, old)]
        self.guests.set(guests)
        wanted = {}
        if document.user_data:
            for item in render.guest_interfaces(document):
                wanted[item.address, 80] = self.guests.metadata
                wanted[item.address, 8080] = self.guests.password
        moved = set(wanted) != set(self.listeners)
        for place in set(self.listeners) - set(wanted):
            self.listeners.pop(place).close()
        for place in sorted(set(wanted) - set(self.listeners)):
            try:
                self.listeners[place] = self.listen(*place, wanted[place])
            except OSError as error:
                raise Refused(f"opening {place[0]}:{place[1]} for guests: {error}") from error
        return [*(["metadata"] if plain[0] != plain[1] or moved else []), *changed]

    def _set_keys(self, keys: str) -> bool:
        path = f"{self.ssh}/authorized_keys"
        if (read_file(path) or "") == keys:
            return False
        os.makedirs(self.ssh, mode=0o700, exist_ok=True)
        write_file(path, keys)
        return True

    def _set_dnsmasq(self, document: RouterDocument, rendered: Rendered) -> bool:
        files = {
            "dhcp-hosts": rendered.dhcp_hosts,
            "dhcp-options": rendered.dhcp_options,
            "dns-hosts": rendered.dns_hosts,
        }
        new_conf = self._differs("dnsmasq.conf", rendered.conf)
        reread = [name for name, text in files.items() if self._differs(name, text)]
        running = self.run("systemctl", "is-active", DNSMASQ_UNIT)[0] == 0
        if not rendered.conf:
            if running:
                self._must("stopping dnsmasq", "systemctl", "stop", DNSMASQ_UNIT)
            if new_conf:
                write_file(f"{self.volatile}/dnsmasq.conf", "", 0o644)
            return running
        stale = document.dhcp and self._stale_leases(document)
        if running and not new_conf and not reread and not stale:
            return False
        for name in reread:
            write_file(f"{self.volatile}/{name}", files[name], 0o644)
        # one that does not take it, or ends amid it, is started anew: the files are there, and would differ no more
        if running and not new_conf and not stale and self.run("systemctl", "reload", DNSMASQ_UNIT)[0] == 0:
            return True
        if running:
            self._must("stopping dnsmasq", "systemctl", "stop", DNSMASQ_UNIT)
        if stale:
            self._drop_leases(document)
        # the file last: it is what says that dnsmasq runs with this configuration
        write_file(f"{self.volatile}/dnsmasq.conf", rendered.conf, 0o644)
        self._must("starting dnsmasq", "systemctl", "start", DNSMASQ_UNIT)
        return True

    # --- leases: "expiry MAC address name client-id" ---------------------------------------------------------------

    def _lease_lines(self) -> list[list[str]]:
        return [line.split() for line in (read_file(self.leases_file) or "").splitlines() if len(line.split()) >= 4]

    def _leases(self) -> list[dict[str, str]]:
        return [{"mac": words[1], "address": words[2], "hostname": words[3]} for words in self._lease_lines()]

    def _stale_leases(self, document: RouterDocument) -> bool:
        wanted = {(item.mac, item.address) for item in document.leases}
        return any((words[1], words[2]) not in wanted for words in self._lease_lines())

    def _drop_leases(self, document: RouterDocument) -> None:
        """dnsmasq would keep the address of a lease that is none any more from its new owner; it must not run now."""
        wanted = {(item.mac, item.address) for item in document.leases}
        kept = [" ".join(words) for words in self._lease_lines() if (words[1], words[2]) in wanted]
        # written in place: the file belongs to dnsmasq's own user
        with open(self.leases_file, "w") as file:
            file.write("".join(f"{line}\n" for line in kept))


def _address_lines(item: Interface, device: str, link: dict) -> list[str]:
    """Lines for `ip -batch` that make a device what its interface says; `link` is what `ip -j address` says of it."""
    found = {(a["local"], a["prefixlen"]) for a in link.get("addr_info", ()) if a.get("family") == "inet"}
    wanted = (item.address, item.prefix)
    lines = [f"address del {address}/{prefix} dev {device}" for address, prefix in sorted(found - {wanted})]
    if item.mtu and link.get("mtu") != item.mtu:
        lines.append(f"link set {device} mtu {item.mtu}")
    if wanted not in found:
        lines.append(f"address add {item.address}/{item.prefix} broadcast + dev {device}")
    if "UP" not in link.get("flags", ()):
        lines.append(f"link set {device} up")
    return lines
