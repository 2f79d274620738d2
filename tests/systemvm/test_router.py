"""A router on a pretended machine: what it runs, in which order, and what it says has changed."""

from __future__ import annotations

import json
import os

import pytest

from mgmt_server.protocol.router import SOFTWARE
from mgmt_server.systemvm.agent import Agent
from mgmt_server.systemvm.document import Refused
from mgmt_server.systemvm.journal import Journal
from mgmt_server.systemvm.router import Router

from .documents import CONTROL_MAC, FIRST, ROUTER_MAC, SECOND, document, guest


class Machine:
    """Answers commands as a router's kernel and daemons would, and notes them."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.fails: dict[str, str] = {}
        self.active = False
        self.links = {
            "eth0": {"ifname": "eth0", "flags": [], "addr_info": []},
            "eth1": {"ifname": "eth1", "flags": ["UP"], "addr_info": [inet("169.254.10.20", 16)]},
        }

    def macs(self) -> dict[str, str]:
        return {ROUTER_MAC: "eth0", CONTROL_MAC: "eth1"}

    def run(self, *argv: str, data: str = "") -> tuple[int, str]:
        words = " ".join(argv)
        self.ran.append(words)
        for start, said in self.fails.items():
            if words.startswith(start):
                return 1, said
        if words == "ip -j address":
            return 0, json.dumps(list(self.links.values()))
        if words.startswith("ip -j -4 route"):
            return 0, "[]"
        if words.startswith("ip -batch"):
            self.change(data)
        if words.startswith("systemctl is-active"):
            return (0, "active") if self.active else (3, "inactive")
        if words.startswith("systemctl st"):
            self.active = argv[1] == "start"
        return 0, ""

    def change(self, lines: str) -> None:
        for line in lines.splitlines():
            words = line.split()
            if words[:2] == ["address", "add"]:
                address, prefix = words[2].split("/")
                self.links[words[-1]]["addr_info"].append(inet(address, int(prefix)))
            if words[:2] == ["address", "del"]:
                address = words[2].split("/")[0]
                link = self.links[words[-1]]
                link["addr_info"] = [a for a in link["addr_info"] if a["local"] != address]
            if words[:2] == ["link", "set"] and words[-1] == "up":
                self.links[words[2]]["flags"] = ["UP"]

    def listen(self, address, port, answer):
        self.ran.append(f"listen {address}:{port}")
        return Silent()


class Silent:
    def close(self) -> None:
        pass


def inet(address: str, prefix: int) -> dict:
    return {"family": "inet", "local": address, "prefixlen": prefix}


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def start(machine, tmp_path):
    def start() -> Router:
        folders = {name: str(tmp_path / name) for name in ("state", "volatile", "ssh")}
        return Router("eth1", run=machine.run, macs=machine.macs, listen=machine.listen, **folders)

    return start


def test_first_document(machine, start, tmp_path):
    answer = start().configure(document(authorized_keys=["ssh-ed25519 AAAA me"]))
    changed = ["firewall", "addresses", "metadata", "ssh", "dnsmasq"]
    assert answer == {"version": 1, "changed": changed, "software": SOFTWARE}
    assert (tmp_path / "ssh/authorized_keys").read_text() == "ssh-ed25519 AAAA me\n"
    order = ["dnsmasq --test", "nft -c", "nft -f", "ip -batch", "listen 10.1.1.1:80", "systemctl start"]
    at = [next(n for n, words in enumerate(machine.ran) if words.startswith(start)) for start in order]
    assert at == sorted(at)


def test_same_document_again_changes_nothing(machine, start):
    router = start()
    router.configure(document(1))
    machine.ran.clear()
    assert router.configure(document(2)) == {"version": 2, "changed": [], "software": SOFTWARE}
    changing = ("nft -f", "ip -batch", "listen", "systemctl start", "systemctl stop", "systemctl reload")
    assert not [words for words in machine.ran if words.startswith(changing)]


def test_second_lease_is_reread_not_restarted(machine, start, tmp_path):
    router = start()
    router.configure(document(1))
    machine.ran.clear()
    answer = router.configure(document(2, leases=[FIRST, SECOND], guests=[guest(FIRST), guest(SECOND)]))
    assert answer["changed"] == ["firewall", "metadata", "dnsmasq"]
    assert "systemctl reload cloudwright-dnsmasq.service" in machine.ran
    assert not [words for words in machine.ran if words.startswith(("systemctl start", "systemctl stop"))]
    assert "10.1.1.12" in (tmp_path / "volatile/dhcp-hosts").read_text()


def test_one_that_does_not_reread_is_started_anew(machine, start):
    router = start()
    router.configure(document(1))
    machine.ran.clear()
    machine.fails["systemctl reload"] = "a fatal signal was delivered to the control process"
    answer = router.configure(document(2, leases=[FIRST, SECOND], guests=[guest(FIRST), guest(SECOND)]))
    assert answer["changed"] == ["firewall", "metadata", "dnsmasq"] and machine.active
    unit = "cloudwright-dnsmasq.service"
    assert [w for w in machine.ran if w.endswith(unit)][-3:] == [
        f"systemctl {v} {unit}" for v in ("reload", "stop", "start")
    ]


def test_lease_of_a_changed_address_is_dropped(machine, start, tmp_path):
    router = start()
    router.configure(document(1, leases=[FIRST, SECOND]))
    leases = tmp_path / "state/dnsmasq/leases"
    leases.write_text(f"0 {FIRST['mac']} 10.1.1.11 vm-a *\n0 {SECOND['mac']} 10.1.1.12 vm-b 01:02\n")
    machine.ran.clear()
    moved = {**FIRST, "address": "10.1.1.21"}
    assert router.configure(document(2, leases=[moved, SECOND], guests=[]))["changed"] == [
        "firewall",
        "metadata",
        "dnsmasq",
    ]
    assert leases.read_text() == f"0 {SECOND['mac']} 10.1.1.12 vm-b 01:02\n"
    stop = machine.ran.index("systemctl stop cloudwright-dnsmasq.service")
    assert machine.ran.index("systemctl start cloudwright-dnsmasq.service") > stop


def test_lower_version_is_refused_also_after_a_restart(start):
    start().configure(document(7))
    router = start()
    router.restore()
    for version in (6, 1):
        with pytest.raises(Refused, match=f"version {version} is older than version 7"):
            router.configure(document(version))
    assert router.configure(document(7))["version"] == 7


@pytest.mark.parametrize(("program", "what"), [("dnsmasq --test", "dnsmasq"), ("nft -c", "firewall")])
def test_what_a_daemon_refuses_changes_nothing(machine, start, tmp_path, program, what):
    router = start()
    router.configure(document(1))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    machine.fails[program] = "bad line 3"
    machine.ran.clear()
    with pytest.raises(Refused, match=f"{what}.*bad line 3"):
        router.configure(document(2, leases=[SECOND], guests=[guest(SECOND)]))
    assert not [words for words in machine.ran if words.startswith(("nft -f", "ip -batch", "systemctl st"))]
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert router.guests.metadata("10.1.1.11", "/latest/user-data", {})[0] == 200


def test_missing_nic_is_named(start):
    stranger = {**document()["interfaces"][0], "mac": "02:00:00:99:99:99"}
    with pytest.raises(Refused, match=r"no NIC for eth0 \(02:00:00:99:99:99\): this machine has eth0 \(" + ROUTER_MAC):
        start().configure(document(interfaces=[stranger], leases=[], guests=[]))


def test_failed_start_is_told_and_made_good_by_the_next(machine, start):
    router = start()
    machine.fails["systemctl start"] = "no such unit"
    with pytest.raises(Refused, match="starting dnsmasq: systemctl failed with status 1: no such unit"):
        router.configure(document(1))
    machine.fails.clear()
    assert "dnsmasq" in router.configure(document(1))["changed"]
    assert machine.active


def test_address_of_another_interface_goes(machine, start):
    router = start()
    router.configure(document(1))
    moved = {**document()["interfaces"][0], "address": "10.1.1.2"}
    answer = router.configure(document(2, interfaces=[moved, document()["interfaces"][1]], gateway="10.1.1.2"))
    assert "addresses" in answer["changed"]
    assert [a["local"] for a in machine.links["eth0"]["addr_info"]] == ["10.1.1.2"]
    assert "listen 10.1.1.2:80" in machine.ran


def test_taken_password_stays_taken(start, tmp_path):
    ask, saved = {"domu_request": "send_my_password"}, {"domu_request": "saved_password"}
    waiting = document(1, guests=[guest(FIRST, password="pass-1")])
    router = start()
    assert router.configure(waiting)["changed"][2:4] == ["metadata", "password"]
    assert "pass-1" in (tmp_path / "state/document.json").read_text()
    assert router.guests.password("10.1.1.11", "/", ask) == (200, b"pass-1")
    assert router.guests.password("10.1.1.11", "/", saved) == (200, b"saved_password")
    assert router.facts()["passwords_taken"] == ["10.1.1.11"]
    assert "pass-1" not in "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    router = start()
    router.restore()
    # the server may send it again before it learns that it was taken
    router.configure({**waiting, "version": 2})
    assert router.guests.password("10.1.1.11", "/", ask) == (200, b"saved_password")
    router.configure(document(3, guests=[guest(FIRST, password="pass-2")]))
    assert router.guests.password("10.1.1.11", "/", ask) == (200, b"pass-2")


def test_files_with_secrets_are_roots_alone(start, tmp_path):
    start().configure(document(1, guests=[guest(FIRST, password="pass-1")]))
    assert os.stat(tmp_path / "state/document.json").st_mode & 0o777 == 0o600


class Asked:
    def __init__(self) -> None:
        self.documents: list[object] = []

    def configure(self, raw):
        self.documents.append(raw)
        if raw == "bad":
            raise Refused("document is not an object")
        return {"version": len(self.documents), "changed": []}


@pytest.fixture
def agent(tmp_path):
    found = Agent({"name": "r-4-VM"}, "eth1", state=str(tmp_path))
    found._router = Asked()
    return found


def line(**request) -> bytes:
    return json.dumps(request).encode()


def test_a_repeated_request_is_done_once(agent, tmp_path):
    first = agent.answer_line(line(id="a", type="router.configure", document={}))
    assert first == {"id": "a", "ok": True, "value": {"version": 1, "changed": []}}
    assert agent.answer_line(line(id="a", type="router.configure", document={"other": 1})) == first
    assert agent.answer_line(line(id="b", type="router.configure", document="bad")) == {
        "id": "b",
        "ok": False,
        "error": "document is not an object",
    }
    again = Agent({}, "eth1", state=str(tmp_path))
    again._router = Asked()
    assert again.answer_line(line(id="a", type="router.configure")) == first
    assert again.answer_line(line(id="b", type="router.configure"))["ok"] is False
    assert again._router.documents == []


@pytest.mark.parametrize(
    ("raw", "request_id", "said"),
    [
        (b"not json", None, "Expecting value"),
        (b"[]", None, "a request is an object"),
        (b"{}", None, 'text "id"'),
        (line(id="x", type="format.disk"), "x", "unknown type 'format.disk'"),
    ],
)
def test_whoever_asks_gets_an_answer(agent, raw, request_id, said):
    answer = agent.answer_line(raw)
    assert answer["id"] == request_id and answer["ok"] is False
    assert said in answer["error"]


def test_ping_needs_no_router(tmp_path):
    answer = Agent({"name": "r-4-VM"}, "", state=str(tmp_path)).answer_line(line(id="1", type="ping"))
    assert answer["ok"] and answer["value"]["name"] == "r-4-VM"


def test_journal_forgets_the_oldest_and_survives_damage(tmp_path):
    path = str(tmp_path / "journal.json")
    journal = Journal(path, limit=2)
    for name in "abc":
        journal.add(name, {"id": name})
    assert Journal(path).get("a") is None
    assert Journal(path).get("c") == {"id": "c"}
    (tmp_path / "journal.json").write_text('[["a", {"id"')
    assert Journal(path).get("c") is None
    assert (tmp_path / "journal.json.unreadable").exists()
