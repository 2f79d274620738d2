"""NICs of machines: added, removed, readdressed, with secondary addresses."""

import pytest
from sqlalchemy import func, select

from mgmt_server.db import reading
from mgmt_server.model.network import Network, Nic, NicAddress
from mgmt_server.model.simulator import SimulatedMachine
from mgmt_server.model.vm import Vm, instance_name
from mgmt_server.model.zone import Address
from mgmt_server.resources.router import document
from tests.api.test_vm import deploy, held, isolated
from tests.cloud import Refused
from tests.crash.invariants import broken
from tests.simulated import build


@pytest.fixture
def zone(cloud):
    found = build()
    found["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    return found


def network(cloud, zone, number=3, **more):
    sent = {"gateway": f"10.{number}.0.1", "netmask": "255.255.255.0", "networkofferingid": isolated(cloud)}
    made = cloud.ask("createNetwork", **{"name": f"n{number}", "zoneid": zone["zone"], **sent, **more})
    return made["network"]["id"]


def shared(cloud, zone):
    offering = cloud.ask("listNetworkOfferings", name="DefaultSharedNetworkOffering")["networkoffering"][0]["id"]
    ends = {"startip": "192.0.2.10", "endip": "192.0.2.14", "gateway": "192.0.2.1", "netmask": "255.255.255.0"}
    sent = {"zoneid": zone["zone"], "networkofferingid": offering, "vlan": "77", "name": "shared", **ends}
    return cloud.ask("createNetwork", **sent)["network"]["id"]


def plugged(vm):
    """MACs that the host gives the machine."""
    with reading() as session:
        row = session.scalar(select(Vm).where(Vm.uuid == vm["id"]))
        name = instance_name(row.kind, row.account_id, row.id)
        return sorted(session.scalar(select(SimulatedMachine.nics).where(SimulatedMachine.name == name)))


def nics(cloud, vm, user="admin"):
    return cloud.ask("listNics", user=user, virtualmachineid=vm["id"])["nic"]


def test_a_running_machine_gets_a_nic_and_loses_it(cloud, zone):
    vm = deploy(cloud, zone, networkids=network(cloud, zone))
    other = network(cloud, zone, 4)
    deploy(cloud, zone, networkids=other)  # its router is there already
    before = held()
    sent = {"virtualmachineid": vm["id"], "networkid": other, "ipaddress": "10.4.0.77"}
    changed = cloud.job("addNicToVirtualMachine", **sent)["virtualmachine"]
    first, second = changed["nic"]
    assert (second["ipaddress"], second["isdefault"], second["deviceid"]) == ("10.4.0.77", False, "1")
    assert second["broadcasturi"].startswith("vlan://") and first["isdefault"]
    assert plugged(vm) == sorted([first["macaddress"], second["macaddress"]])
    assert [n["id"] for n in nics(cloud, vm)] == [first["id"], second["id"]]
    assert nics(cloud, vm)[0]["virtualmachineid"] == vm["id"]
    with pytest.raises(Refused, match="already"):
        cloud.job("addNicToVirtualMachine", virtualmachineid=vm["id"], networkid=other)
    with pytest.raises(Refused, match="default"):
        cloud.job("removeNicFromVirtualMachine", virtualmachineid=vm["id"], nicid=first["id"])
    left = cloud.job("removeNicFromVirtualMachine", virtualmachineid=vm["id"], nicid=second["id"])["virtualmachine"]
    assert [n["id"] for n in left["nic"]] == [first["id"]] and plugged(vm) == [first["macaddress"]]
    assert held() == before and broken() == []


def test_a_nic_makes_its_network_ready(cloud, zone):
    vm = deploy(cloud, zone, networkids=network(cloud, zone))
    other = network(cloud, zone, 4)
    cloud.job("addNicToVirtualMachine", virtualmachineid=vm["id"], networkid=other)
    assert cloud.ask("listNetworks", id=other)["network"][0]["state"] == "Implemented"
    assert len(cloud.ask("listRouters", listall=True, networkid=other)["router"]) == 1 and broken() == []


def test_a_nic_that_the_host_refuses_leaves_nothing(cloud, zone):
    vm = deploy(cloud, zone, networkids=network(cloud, zone))
    other = network(cloud, zone, 4)
    deploy(cloud, zone, networkids=other)
    before = held()
    cloud.ask("configureSimulator", name="attach_nic", value="fail:no slot|late:true", count=1)
    with pytest.raises(Refused, match="no slot"):
        cloud.job("addNicToVirtualMachine", virtualmachineid=vm["id"], networkid=other)
    assert held() == before and len(plugged(vm)) == 1 and broken() == []


def test_a_stopped_machine_has_its_new_nic_at_the_next_start(cloud, zone):
    vm = deploy(cloud, zone, networkids=network(cloud, zone))
    cloud.job("stopVirtualMachine", id=vm["id"])
    sent = {"networkid": network(cloud, zone, 4), "macaddress": "06-00-AA-00-00-01"}
    changed = cloud.job("addNicToVirtualMachine", virtualmachineid=vm["id"], **sent)["virtualmachine"]
    assert changed["nic"][1]["macaddress"] == "06:00:aa:00:00:01"
    cloud.job("startVirtualMachine", id=vm["id"])
    assert "06:00:aa:00:00:01" in plugged(vm) and broken() == []


def test_the_default_nic_changes(cloud, zone):
    vm = deploy(cloud, zone, networkids=f"{network(cloud, zone)},{network(cloud, zone, 4)}")
    first, second = vm["nic"]
    sent = {"virtualmachineid": vm["id"], "nicid": second["id"]}
    changed = cloud.job("updateDefaultNicForVirtualMachine", **sent)["virtualmachine"]
    assert [n["isdefault"] for n in changed["nic"]] == [False, True]
    assert changed["ipaddress"] == second["ipaddress"]
    with pytest.raises(Refused, match="already"):
        cloud.job("updateDefaultNicForVirtualMachine", **sent)
    cloud.job("removeNicFromVirtualMachine", virtualmachineid=vm["id"], nicid=first["id"])


@pytest.mark.parametrize("kind", [network, shared])
def test_the_address_of_a_stopped_machine_changes(cloud, zone, kind):
    vm = deploy(cloud, zone, networkids=kind(cloud, zone))
    (nic,) = vm["nic"]
    with pytest.raises(Refused, match="stop it"):
        cloud.job("updateVmNicIp", nicid=nic["id"])
    cloud.job("stopVirtualMachine", id=vm["id"])
    wanted = "10.3.0.99" if kind is network else "192.0.2.14"
    wanted = wanted if wanted != nic["ipaddress"] else "192.0.2.13"
    before = held()
    changed = cloud.job("updateVmNicIp", nicid=nic["id"], ipaddress=wanted)["virtualmachine"]
    assert changed["ipaddress"] == wanted and held() == before and broken() == []
    deploy(cloud, zone, networkids=nic["networkid"], ipaddress=nic["ipaddress"])  # the old one is free
    with pytest.raises(Refused):
        cloud.job("updateVmNicIp", nicid=nic["id"], ipaddress=nic["ipaddress"])
    assert broken() == []


@pytest.mark.parametrize("kind", [network, shared])
def test_secondary_addresses_are_held_and_given_back(cloud, zone, kind):
    vm = deploy(cloud, zone, networkids=kind(cloud, zone))
    (nic,) = vm["nic"]
    wanted = "10.3.0.99" if kind is network else "192.0.2.14"
    wanted = wanted if wanted != nic["ipaddress"] else "192.0.2.13"
    before = held()
    one = cloud.job("addIpToNic", nicid=nic["id"], ipaddress=wanted)["nicsecondaryip"]
    two = cloud.job("addIpToNic", nicid=nic["id"])["nicsecondaryip"]
    assert one == {
        "id": one["id"], "ipaddress": wanted, "nicid": nic["id"], "networkid": nic["networkid"],
        "virtualmachineid": vm["id"],
    }  # fmt: skip
    shown = [{"id": o["id"], "ipaddress": o["ipaddress"]} for o in (one, two)]
    (machine,) = cloud.ask("listVirtualMachines", id=vm["id"])["virtualmachine"]
    assert nics(cloud, vm)[0]["secondaryip"] == machine["nic"][0]["secondaryip"] == shown
    with pytest.raises(Refused, match="taken already"):
        cloud.job("addIpToNic", nicid=nic["id"], ipaddress=wanted)
    with pytest.raises(Refused, match="taken already"):
        deploy(cloud, zone, networkids=nic["networkid"], ipaddress=wanted)
    assert cloud.job("removeIpFromNic", id=one["id"]) == {"success": True}
    with pytest.raises(Refused):
        cloud.job("removeIpFromNic", id=one["id"])
    assert nics(cloud, vm)[0]["secondaryip"] == shown[1:]
    cloud.job("removeIpFromNic", id=two["id"])
    assert held() == before and broken() == []


@pytest.mark.parametrize("kind", [network, shared])
def test_what_goes_takes_its_secondary_addresses_along(cloud, zone, kind):
    vm = deploy(cloud, zone, networkids=kind(cloud, zone))
    cloud.job("addIpToNic", nicid=vm["nic"][0]["id"])
    cloud.job("destroyVirtualMachine", id=vm["id"], expunge=True)
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(NicAddress).where(NicAddress.taken.is_not(None))) == 0
        gone = select(func.count()).select_from(Nic).where(Nic.removed.is_not(None), Nic.taken.is_not(None))
        assert session.scalar(gone) == 0
        mine = select(Vm.id).where(Vm.uuid == vm["id"])
        assert list(session.scalars(select(Address.address).where(Address.vm_id.in_(mine)))) == []
    assert broken() == []


def test_secondary_addresses_have_a_bound(cloud, zone):
    vm = deploy(cloud, zone)
    cloud.ask("updateConfiguration", name="vm.network.nic.max.secondary.ipaddresses", value="1")
    nic = vm["nic"][0]["id"]
    cloud.job("addIpToNic", nicid=nic)
    with pytest.raises(Refused, match="has 1 secondary"):
        cloud.job("addIpToNic", nicid=nic)


def test_nics_are_their_owners(cloud, zone):
    cloud.account("ann")
    cloud.account("eve")
    mine = deploy(cloud, zone, user="ann")
    nic = nics(cloud, mine, user="ann")[0]["id"]
    address = cloud.job("addIpToNic", user="ann", nicid=nic)["nicsecondaryip"]["id"]
    theirs = deploy(cloud, zone, user="eve")
    far = {"virtualmachineid": theirs["id"]}
    for command, sent in (
        ("listNics", {"virtualmachineid": mine["id"]}),
        ("addIpToNic", {"nicid": nic}),
        ("updateVmNicIp", {"nicid": nic}),
        ("removeIpFromNic", {"id": address}),
        ("removeNicFromVirtualMachine", {**far, "nicid": nic}),
        ("updateDefaultNicForVirtualMachine", {**far, "nicid": nic}),
        ("addNicToVirtualMachine", {**far, "networkid": mine["nic"][0]["networkid"]}),
    ):
        with pytest.raises(Refused) as no:
            cloud.job(command, user="eve", **sent)
        assert no.value.status == 431 and "does not exist" in no.value.text, command
    with pytest.raises(Refused, match="is not for the account"):
        cloud.job("addNicToVirtualMachine", virtualmachineid=theirs["id"], networkid=mine["nic"][0]["networkid"])
    with pytest.raises(Refused, match="does not have that NIC"):
        cloud.job("removeNicFromVirtualMachine", virtualmachineid=theirs["id"], nicid=nic)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"macaddress": "nonsense"}, "is no MAC"),
        ({"macaddress": "01:00:5e:00:00:01"}, "for groups"),
        ({"macaddress": "{zone}:00:00:00:01"}, "gives itself"),
        ({"ipaddress": "10.9.9.9"}, "10.9.9.9"),
        ({"ipaddress": "nonsense"}, "no IPv4 address"),
        ({"dhcpoptions[0].x": "1"}, "is no DHCP option"),
    ],
)
def test_what_a_nic_cannot_have_is_refused(cloud, zone, sent, told):
    vm = deploy(cloud, zone, networkids=network(cloud, zone))
    before = len(nics(cloud, vm))
    own = nics(cloud, vm)[0]["macaddress"][:5]  # how the zone's own begin
    sent = {name: value.replace("{zone}", own) for name, value in sent.items()}
    with pytest.raises(Refused, match=told):
        cloud.job("addNicToVirtualMachine", virtualmachineid=vm["id"], networkid=network(cloud, zone, 4), **sent)
    assert len(nics(cloud, vm)) == before and broken() == []


def test_a_guest_is_told_more_by_dhcp(cloud, zone):
    first, second = network(cloud, zone), network(cloud, zone, 4)
    options = {"dhcpoptionsnetworklist[0].networkid": first, "dhcpoptionsnetworklist[0].dhcp:66": "192.0.2.9"}
    vm = deploy(cloud, zone, networkids=first, **options)
    (told,) = vm["nic"][0]["extradhcpoption"]
    assert (told["extradhcpoptioncode"], told["extradhcpoptionname"]) == (66, "tftp-server")
    assert (told["extradhcpvalue"], told["nicid"]) == ("192.0.2.9", vm["nic"][0]["id"])
    more = {"dhcpoptions[0].dhcp:114": "https://portal.example", "dhcpoptions[0].dhcp:42": "192.0.2.1"}
    vm = cloud.job("addNicToVirtualMachine", virtualmachineid=vm["id"], networkid=second, **more)["virtualmachine"]
    assert [o["extradhcpoptioncode"] for o in vm["nic"][1]["extradhcpoption"]] == [42, 114]
    options["dhcpoptionsnetworklist[0].dhcp:66"] = "192.0.2.10"
    vm = cloud.ask("updateVirtualMachine", id=vm["id"], **options)["virtualmachine"]
    assert [n["extradhcpoption"][0]["extradhcpvalue"] for n in vm["nic"]] == ["192.0.2.10", "192.0.2.1"]
    with reading() as session:
        router = session.scalar(select(Vm).where(Vm.kind == "DomainRouter").order_by(Vm.id))
        leases = document.compute(session, router, session.get(Network, router.network_id)).leases
    assert [lease.options for lease in leases] == [{"66": "192.0.2.10"}]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"dhcpoptions[0].dhcp:3": "10.3.0.9"}, "none of the options"),
        ({"dhcpoptions[0].dhcp:42": "ntp.example"}, "takes IPv4 addresses"),
        ({"dhcpoptions[0].tftp": "x"}, "no DHCP option"),
    ],
)
def test_what_dhcp_cannot_tell_is_refused(cloud, zone, sent, said):
    vm = deploy(cloud, zone, networkids=network(cloud, zone))
    with pytest.raises(Refused, match=said):
        cloud.ask("addNicToVirtualMachine", virtualmachineid=vm["id"], networkid=network(cloud, zone, 4), **sent)
    foreign = {"dhcpoptionsnetworklist[0].networkid": network(cloud, zone, 5), "dhcpoptionsnetworklist[0].dhcp:66": "x"}
    with pytest.raises(Refused, match="no NIC in a network"):
        cloud.ask("updateVirtualMachine", id=vm["id"], **foreign)
