"""What a router refuses to believe, and the files that it makes of what it believes."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from mgmt_server.systemvm import render
from mgmt_server.systemvm.document import Refused, parse

from .documents import FIRST, SECOND, document, guest

DEVICES = {"eth0": "eth0", "eth1": "eth1"}


def interface(**changes):
    return {**document()["interfaces"][0], **changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"leases": [{**FIRST, "mac": "02:00:00:01:00"}]}, "no MAC"),
        ({"leases": [{**FIRST, "mac": "02:00:00:01:00:0b\n"}]}, "no MAC"),
        ({"leases": [{**FIRST, "hostname": "vm-a,infinite\nserver=6.6.6.6"}]}, "no host name"),
        ({"leases": [{**FIRST, "address": "10.1.1.300"}]}, "no IPv4 address"),
        ({"leases": [{**FIRST, "address": "10.1.2.11"}]}, "no host of 10.1.1.0/24"),
        ({"leases": [{**FIRST, "address": "10.1.1.255"}]}, "no host of 10.1.1.0/24"),
        ({"leases": [{**FIRST, "address": "10.1.1.1"}]}, "the router's own"),
        ({"leases": [{**FIRST, "interface": "eth1"}]}, "no Guest interface"),
        ({"leases": [FIRST, {**SECOND, "mac": FIRST["mac"].upper()}]}, "MAC 02:00:00:01:00:0b is there twice"),
        ({"leases": [FIRST, {**SECOND, "address": FIRST["address"]}]}, "address 10.1.1.11 is there twice"),
        ({"guests": [guest(FIRST), guest(FIRST)]}, "guest 10.1.1.11 is there twice"),
        ({"guests": [guest(FIRST, metadata={"../x": "y"})]}, "metadata key"),
        ({"guests": [{**guest(FIRST), "user_data": "%%%"}]}, "no base64"),
        ({"guests": [guest(FIRST, password="a\nb")]}, "control characters"),
        ({"guests": [guest({**FIRST, "address": "192.0.2.7"})]}, "no network of a Guest interface"),
        ({"authorized_keys": ["ssh-ed25519 AAAA a\ncommand"]}, "no public key on one line"),
        ({"authorized_keys": ['command="x" ssh-ed25519 AAAA']}, "no public key"),
        ({"domain": "cs1.internal\nserver=6.6.6.6"}, "no domain name"),
        ({"dns": ["one.one"]}, "dns server"),
        ({"gateway": "10.1.1"}, "gateway"),
        ({"interfaces": [interface(prefix=33)]}, "prefix length"),
        ({"interfaces": [interface(gateway="10.9.9.9")]}, "is not in 10.1.1.0/24"),
        ({"interfaces": [interface(), interface(name="eth2", address="10.1.1.2")]}, "interface MAC"),
        ({"interfaces": [interface(name='eth0" accept')]}, "no device name"),
        ({"version": "1"}, "version is str, not int"),
        ({"version": True}, "version is bool, not int"),
        ({"leases": {}}, "leases is not a list"),
        ({"leases": [{"mac": "02:00:00:01:00:0b"}]}, "leases[0].address is missing"),
        ({"name": ""}, "no host name"),
    ],
)
def test_refused(changes, said):
    with pytest.raises(Refused) as error:
        parse(document(**changes))
    assert said in str(error.value)


@pytest.mark.parametrize("raw", [None, [], "x", 7, {}])
def test_refused_whole(raw):
    with pytest.raises(Refused, match="document"):
        parse(raw)


def test_password_is_in_no_error():
    with pytest.raises(Refused) as error:
        parse(document(guests=[guest(FIRST, password="very\x00secret")]))
    assert "secret" not in str(error.value)


def test_younger_servers_fields_are_ignored():
    found = parse(document(load_balancers=[1], leases=[{**FIRST, "colour": "red"}]))
    assert found.leases[0].hostname == "vm-a"
    assert found.leases[0].default is True


def test_leases_in_dnsmasqs_form():
    found = parse(document(leases=[{**SECOND, "default": False}, {**FIRST, "mac": FIRST["mac"].upper()}]))
    assert render.dhcp_hosts(found) == (
        "02:00:00:01:00:0b,10.1.1.11,vm-a,infinite\n02:00:00:01:00:0c,set:second,10.1.1.12,vm-b,infinite\n"
    )
    # a name leads to the NIC that the guest is reached by
    assert render.dns_hosts(found) == "10.1.1.1 r-4-VM data-server\n10.1.1.11 vm-a\n"


def test_options_of_one_guest_stand_under_its_own_tag_and_dnsmasq_takes_them(tmp_path):
    told = {"66": "192.0.2.9", "67": "http://192.0.2.9/a,b?c#d", "42": "192.0.2.1,192.0.2.2", "26": "1400",
            "119": "a.example,b.example", "121": "10.0.0.0/8,10.1.1.9", "224": "of the site"}  # fmt: skip
    found = parse(document(leases=[{**FIRST, "options": told}, SECOND]))
    assert render.dhcp_hosts(found).splitlines() == [
        "02:00:00:01:00:0b,set:nic02000001000b,10.1.1.11,vm-a,infinite", "02:00:00:01:00:0c,10.1.1.12,vm-b,infinite",
    ]  # fmt: skip
    lines = render.dhcp_options(found).splitlines()
    assert len(lines) == len(told) and all(line.startswith("tag:nic02000001000b,") for line in lines)
    assert 'tag:nic02000001000b,67,"http://192.0.2.9/a,b?c#d"' in lines
    if shutil.which("dnsmasq"):
        (tmp_path / "conf").write_text("".join(f"dhcp-option={line}\n" for line in lines))
        subprocess.run(["dnsmasq", "--test", "-C", str(tmp_path / "conf")], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("code", "value"),
    [("3", "10.1.1.9"), ("42", "ntp.example"), ("66", 'a"b'), ("66", "a\nb"), ("26", "-1"), ("26", "70000"),
     ("121", "10.0.0.0/8"), ("121", "10.0.0.1/8,10.1.1.9"), ("119", "-a"), ("x", "1"), ("224", "x" * 256), ("66", "")],
)  # fmt: skip
def test_an_option_that_would_stop_dnsmasq_is_refused(code, value):
    with pytest.raises(Refused, match="option"):
        parse(document(leases=[{**FIRST, "options": {code: value}}]))


def conf(**changes) -> list[str]:
    return render.dnsmasq_conf(parse(document(**changes)), DEVICES, "/run/x", "/var/x/leases").splitlines()


def test_dnsmasq_of_an_isolated_network():
    lines = conf()
    assert "dhcp-range=10.1.1.0,static,255.255.255.0,infinite" in lines
    assert "dhcp-option=tag:eth0,tag:!second,option:router,10.1.1.1" in lines
    assert "dhcp-option=tag:eth0,tag:second,option:router" in lines
    assert "dhcp-option=tag:eth0,tag:!second,option:dns-server,10.1.1.1" in lines
    assert {"interface=eth0", "domain=cs1.internal", "local=/cs1.internal/", "server=192.0.2.53", "no-ping"} <= set(
        lines
    )
    assert "interface=eth1" not in lines
    assert "port=53" in lines


def test_dnsmasq_of_a_shared_network_names_the_gateway_that_is_elsewhere():
    lines = conf(gateway="", guest_gateway="10.1.1.254")
    assert "dhcp-option=tag:eth0,tag:!second,option:router,10.1.1.254" in lines
    assert render.default_route(parse(document(gateway="", guest_gateway="10.1.1.254"))) == ("10.1.1.254", "eth0")
    assert render.default_route(parse(document())) == ("", "")


def test_without_dns_service_guests_get_the_upstream_servers():
    lines = conf(dns_service=False, dns=["192.0.2.53", "192.0.2.54"])
    assert "port=0" in lines
    assert "dhcp-option=tag:eth0,tag:!second,option:dns-server,192.0.2.53,192.0.2.54" in lines


def test_without_dhcp_nobody_gets_a_lease():
    assert not [line for line in conf(dhcp=False) if line.startswith("dhcp")]


def rules(raw, control="eth1") -> str:
    return render.firewall(parse(raw) if raw else None, DEVICES, control)


def test_firewall_drops_and_opens_little():
    text = rules(document())
    assert text.count("policy drop") == 2
    guests = [line.strip() for line in text.splitlines() if 'iifname "eth0"' in line]
    assert not [line for line in guests if "3922" in line]
    assert [line for line in text.splitlines() if "3922" in line and 'iifname "eth1"' in line]
    assert "elements = { 10.1.1.11 . 02:00:00:01:00:0b }" in text
    ports = [line for line in guests if "80, 8080" in line]
    assert len(ports) == 1 and "ip saddr . ether saddr @guests" in ports[0]


def test_firewall_opens_only_what_the_network_serves():
    text = rules(document(dhcp=False, dns_service=False, user_data=False))
    assert "dport 67" not in text and "dport 53" not in text and "8080" not in text


def test_firewall_before_any_document_knows_the_control_link_alone():
    text = rules(None)
    assert 'iifname "eth1" tcp dport 3922 accept' in text
    assert "eth0" not in text
    assert "3922" not in rules(None, control="")
