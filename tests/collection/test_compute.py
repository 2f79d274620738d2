"""The modules about machines, disks and images against the real server, beyond their cycle."""

from __future__ import annotations

import pytest

from tests.collection.servers import ROOT  # noqa: F401  makes the collection importable

from ansible_collections.cloudwright.cloud.tests.unit.cycle import cycle  # isort: skip

DISK = {"zone": "lab", "disk_offering": "open", "size": 1}


def test_a_disk_leaves_its_machine_and_goes_into_another(run):
    named = {"name": "wanders", "zone": "lab"}
    made = run.ok("volume", **{**DISK, **named}, vm="home")["entity"]
    moved = cycle(run, "volume", **named, vm="annex")[1]
    assert moved["diff"]["before"] == {"vm": made["virtualmachineid"]}
    assert moved["entity"]["vmname"] == "annex"
    free = cycle(run, "volume", **named, state="detached")[1]
    assert free["diff"]["after"] == {"vm": None} and "virtualmachineid" not in free["entity"]
    assert "exclude each other" in run("volume", **named, vm="home", state="detached")["msg"]


def test_a_destroyed_disk_is_recovered_when_it_is_wanted_again(run):
    named = {"name": "comes back", "zone": "lab"}
    made = run.ok("volume", **{**DISK, **named}, vm="home")["entity"]
    assert "msg" in run("volume", **named, state="destroyed"), "a machine has it"
    cycle(run, "volume", **named, state="destroyed", forced=True)
    back = cycle(run, "volume", **named)[1]
    assert back["entity"]["id"] == made["id"] and back["diff"]["before"] == {"state": "Destroy"}
    cycle(run, "volume", **named, state="destroyed")
    cycle(run, "volume", **named, state="absent")


def test_a_disk_shrinks_only_when_that_is_allowed(run):
    named = {**DISK, "name": "shrinks", "vm": "home", "size": 3}
    run.ok("volume", **named)
    run.ok("volume", name="shrinks", zone="lab", state="detached")
    del named["vm"]
    assert "shrinkok" in run("volume", **{**named, "size": 2})["msg"]
    cycle(run, "volume", **{**named, "size": 2}, shrink_ok=True)


def test_a_disk_is_made_from_a_snapshot_and_goes_back_to_it(run):
    run.ok("volume", **DISK, name="source", vm="home")
    run.ok("snapshot", name="first", zone="lab", volume="source")
    copy = cycle(run, "volume", name="copied", zone="lab", snapshot="first")[1]["entity"]
    assert copy["snapshotid"] == run.ok("snapshot_info", name="first")["entities"][0]["id"]
    assert "msg" in run("snapshot", name="first", zone="lab", volume="source", state="reverted"), "its machine runs"
    run.ok("volume", name="source", zone="lab", state="detached")
    for _again in range(2):
        back = run.ok("snapshot", name="first", zone="lab", volume="source", state="reverted")
        assert back["diff"]["after"] == {"state": "reverted"}
    told = run("snapshot", name="second", zone="lab", volume="source", state="reverted")["msg"]
    assert "no snapshot named 'second'" in told


def test_a_disk_moves_to_another_pool(run):
    made = run.ok("volume", **DISK, name="moves", storage_pool="primary")["entity"]
    assert made["storage"] == "primary"
    moved = cycle(run, "volume", name="moves", zone="lab", storage_pool="other")[1]
    assert moved["entity"]["storage"] == "other"


def test_a_machine_goes_back_to_its_snapshot(run):
    run.ok("vm_snapshot", name="one", vm="annex", memory=True)
    assert run.ok("vm_snapshot", name="one", vm="annex", state="reverted")["changed"] is True
    assert run.ok("vm_info", name="annex")["entities"][0]["state"] == "Running"
    cycle(run, "vm_snapshot", name="one", vm="annex", state="absent")


@pytest.mark.parametrize("interval", ["HOURLY", "MONTHLY"])
def test_a_root_disk_has_policies_by_its_machines_name(run, interval):
    when = {"HOURLY": "15", "MONTHLY": "15:03:1"}[interval]
    policy = {"vm": "home", "interval_type": interval}
    cycle(run, "snapshot_policy", **policy, schedule=when, timezone="Europe/Zurich", max_snaps=2)
    changed = cycle(run, "snapshot_policy", **policy, max_snaps=1)[1]["entity"]
    assert (changed["schedule"], changed["timezone"]) == (when, "Europe/Zurich")
    cycle(run, "snapshot_policy", **policy, state="absent")


VM = {"zone": "lab", "template": "tiny", "service_offering": "tiny", "networks": ["guests"]}


@pytest.fixture(scope="module")
def furnished(run):
    """What machines can be given beside what the zone has."""
    run.ok("service_offering", name="big", cpu_number=1, cpu_speed=100, memory=128)
    run.ok("service_offering", name="choice", customized=True)
    for name in ("one", "two"):
        run.ok("ssh_key_pair", name=name)
        run.ok("affinity_group", name=name, type="host anti-affinity")
        run.ok("user_data", name=name, user_data=f"#cloud-config\nhostname: {name}\n")
        installer = {"url": f"http://10.91.0.13/{name}.iso", "os_type": "Other Linux (64-bit)"}
        run.ok("iso", name=name, zone="lab", **installer)
        offering = "DefaultIsolatedNetworkOfferingWithSourceNatService"
        number = len(name) + ord(name[0])
        run.ok("network", name=name, zone="lab", network_offering=offering, gateway=f"10.1.{number}.1", netmask=MASK)
    return run


MASK = "255.255.255.0"


def test_a_machine_is_deployed_with_all_that_it_needs(furnished):
    run = furnished
    options = {
        **VM,
        "networks": None,
        "nics": [{"network": "guests", "ip_address": "10.92.0.90"}, {"network": "one"}],
        "data_disks": [{"disk_offering": "open", "size": 1}, {"disk_offering": "open", "size": 2}],
        "affinity_groups": ["one"],
        "ssh_key_pairs": ["one", "two"],
        "user_data_name": "one",
        "iso": "one",
        "boot_type": "UEFI",
        "boot_mode": "LEGACY",
        "group": "front",
        "details": {"purpose": "test"},
    }
    made = cycle(run, "vm", name="full", **options)[1]["entity"]
    assert [nic["networkname"] for nic in made["nic"]] == ["guests", "one"]
    assert made["nic"][0]["ipaddress"] == "10.92.0.90"
    assert (made["isoname"], made["userdataname"], made["group"]) == ("one", "one", "front")
    for filters in ({"group": "front"}, {"affinity_group": "one"}, {"network": "one"}):
        assert [vm["name"] for vm in run.ok("vm_info", **filters)["entities"]] == ["full"]
    disks = run.ok("volume_info", vm="full", zone="lab", type="DATADISK")["entities"]
    assert sorted(disk["size"] // 2**30 for disk in disks) == [1, 2]
    other = {**options, "iso": "two", "user_data_name": "two", "delete_protection": False}
    changed = cycle(run, "vm", name="full", **other)[1]
    assert set(changed["diff"]["after"]) == {"iso", "user_data_name"}
    assert "isoid" not in cycle(run, "vm", name="full", **{**other, "iso": ""})[1]["entity"]
    stopped = {"affinity_groups": ["two"], "ssh_key_pairs": ["two"], "state": "stopped", "iso": ""}
    after = cycle(run, "vm", name="full", **{**other, **stopped})[1]["diff"]["after"]
    assert set(after) == {"affinity_groups", "ssh_key_pairs", "state"}


def test_a_machine_gets_and_loses_nics(furnished):
    run = furnished
    named = {"name": "nics", "zone": "lab"}
    run.ok("vm", **{**VM, "name": "nics"})
    more = cycle(run, "vm", **named, networks=["guests", "one", "two"])[1]["entity"]
    assert len(more["nic"]) == 3
    swapped = cycle(run, "vm", **named, networks=["two", "guests"])[1]["entity"]
    assert sorted(nic["networkname"] for nic in swapped["nic"]) == ["guests", "two"]
    assert [nic["networkname"] for nic in swapped["nic"] if nic["isdefault"]] == ["two"]
    assert "put it first" in run("vm", **named, networks=["one", "guests"])["msg"]
    cycle(run, "vm", **named, state="stopped")
    nics = [{"network": "two", "ip_address": f"10.1.{len('two') + ord('t')}.77"}, {"network": "guests"}]
    cycle(run, "vm", **named, nics=nics)


def test_a_machine_of_its_own_size_is_scaled(furnished):
    run = furnished
    sized = {**VM, "name": "sized", "service_offering": "choice", "cpu_number": 1, "cpu_speed": 100, "memory": 64}
    cycle(run, "vm", **sized, state="stopped")
    grown = cycle(run, "vm", **{**sized, "memory": 128})[1]
    assert grown["diff"]["after"] == {"memory": 128} and grown["entity"]["memory"] == 128
    fixed = cycle(run, "vm", name="sized", zone="lab", service_offering="big")[1]
    assert fixed["entity"]["serviceofferingname"] == "big"


def test_a_machine_moves_to_the_host_that_is_named(furnished):
    run = furnished
    made = run.ok("vm", **VM, name="mobile", host="sim1")["entity"]
    assert made["hostname"] == "sim1"
    moved = cycle(run, "vm", name="mobile", zone="lab", host="sim2")[1]
    assert moved["entity"]["hostname"] == "sim2" and moved["diff"]["before"] == {"host": made["hostid"]}
    cycle(run, "vm", name="mobile", zone="lab", state="stopped", host="sim2")
    started = cycle(run, "vm", name="mobile", zone="lab", state="started", host="sim1")[1]
    assert started["entity"]["hostname"] == "sim1"


def test_a_machine_is_reinstalled_and_one_comes_from_an_iso(furnished):
    run = furnished
    run.ok("vm", **VM, name="anew")
    disk = {"vm": "anew", "zone": "lab", "type": "ROOT", "state": "Ready"}
    before = run.ok("volume_info", **disk)["entities"]
    for _again in range(2):
        done = run.ok("vm", name="anew", zone="lab", state="reinstalled")
        assert done["diff"]["after"] == {"state": "reinstalled"} and done["entity"]["state"] == "Running"
    assert run.ok("volume_info", **disk)["entities"][0]["id"] != before[0]["id"]
    assert "has to be there first" in run("vm", **VM, name="nobody", state="reinstalled")["msg"]
    iso = {**VM, "template": None, "iso": "one", "disk_offering": "open", "root_disk_size": 1}
    made = cycle(run, "vm", name="installed", hypervisor="Simulator", **iso)[1]["entity"]
    assert (made["state"], made["isoname"]) == ("Running", "one")
    assert "needs template or iso" in run("vm", name="none", **{**VM, "template": None})["msg"]


def test_a_machine_gets_other_user_data_and_a_new_password(furnished):
    run = furnished
    template = {"name": "takes passwords", "zone": "lab", "url": "http://10.91.0.13/x.qcow2", "format": "QCOW2"}
    run.ok("template", **template, hypervisor="Simulator", os_type="Other Linux (64-bit)", password_enabled=True)
    options = {**VM, "name": "secret", "template": "takes passwords"}
    made = run.ok("vm", **options, user_data="one")
    assert made["password"]
    assert run.ok("vm", **options, user_data="one")["changed"] is False
    changed = cycle(run, "vm", **options, user_data="two")[1]
    assert changed["diff"]["after"]["user_data"].startswith("sha256:") and "two" not in str(changed["diff"])
    run.ok("user_data", name="open", user_data="#cloud-config\nhostname: {{ name }}\n", params=["name", "side"])
    filled = {"user_data_name": "open", "user_data_details": {"side": "a", "name": "b"}}
    first = cycle(run, "vm", **options, **filled)[1]
    assert set(first["diff"]["after"]) == {"user_data_name", "user_data_details"}
    assert first["entity"]["userdatadetails"] == "name=b,side=a"
    other = {"user_data_details": {"name": "c"}}  # the user data that it has stays
    second = cycle(run, "vm", **options, **other)[1]
    assert second["entity"]["userdataname"] == "open" and second["entity"]["userdatadetails"] == "name=c"
    assert second["diff"]["after"]["user_data_details"].startswith("sha256:")
    assert cycle(run, "vm", **options, user_data_details={})[1]["entity"].get("userdatadetails") is None
    own = cycle(run, "vm", **options, user_data="{{ a }}", user_data_details={"a": "1"})[1]["entity"]
    assert own["userdatadetails"] == "a=1"
    cycle(run, "vm", **options, user_data_details={"a": "2"})
    assert run.ok("vm", **options, user_data="{{ a }}")["changed"] is False, "it stayed"
    assert "password" in run("vm", **options, reset_password=True)["msg"], "it runs"
    resets = [run.ok("vm", **options, state="stopped", reset_password=True) for _again in range(2)]
    assert [r["changed"] for r in resets] == [True, True]
    assert len({made["password"], *(r["password"] for r in resets)}) == 3


def test_a_machine_is_given_to_another_account_and_reinstalled_from_another_template(furnished):
    run = furnished
    theirs = {"name": "given", "zone": "lab", "domain": "ROOT/tenants", "account": "tenant", "state": "stopped"}
    made = run.ok("vm", **VM, name="given", state="stopped")["entity"]
    assert "no network" in run("vm", **theirs, networks=["one"], assign_from={"account": "admin"})["msg"], "not theirs"
    here = {"domain": "ROOT", "account": "admin"}
    net = {"network_offering": "DefaultIsolatedNetworkOfferingWithSourceNatService", "gateway": "10.1.41.1"}
    owner = {"domain": "ROOT/tenants", "account": "tenant"}
    run.ok("network", name="theirs", zone="lab", **net, netmask=MASK, **owner)
    given = cycle(run, "vm", **theirs, networks=["theirs"], assign_from=here)[1]
    assert [nic["networkname"] for nic in given["entity"]["nic"]] == ["theirs"]
    assert given["entity"]["id"] == made["id"] and given["entity"]["account"] == "tenant"
    assert given["diff"] == {"before": {"account": "admin"}, "after": {"account": "tenant"}}
    assert "says whose it shall be" in run("vm", name="given", zone="lab", assign_from=here)["msg"]
    url = {"url": "http://10.91.0.13/other.qcow2", "format": "QCOW2", "hypervisor": "Simulator", "is_public": True}
    run.ok("template", name="other", zone="lab", **url, os_type="Other Linux (64-bit)")
    anew = run.ok("vm", **{**theirs, "state": "reinstalled"}, template="other")
    assert anew["entity"]["templatename"] == "other"
    cycle(run, "vm", **{**theirs, "state": "expunged"})


def test_a_machine_moves_with_its_disks(furnished):
    run = furnished
    made = run.ok("vm", **VM, name="disks", host="sim1")["entity"]
    named = {"name": "disks", "zone": "lab"}
    (root,) = run.ok("volume_info", vm="disks", zone="lab", type="ROOT")["entities"]
    other = "other" if root["storage"] == "primary" else "primary"
    pools = [{"volume": root["id"], "storage_pool": other}]
    moved = cycle(run, "vm", **named, host="sim2", disk_pools=pools)[1]
    assert moved["entity"]["hostname"] == "sim2" and made["hostname"] == "sim1"
    assert set(moved["diff"]["after"]) == {"host", f"storage_pool of {root['name']}"}
    back = [{"volume": root["name"], "storage_pool": root["storage"]}]
    cycle(run, "vm", **named, disk_pools=back)
    cycle(run, "vm", **named, state="stopped")
    cycle(run, "vm", **named, disk_pools=pools)
    started = cycle(run, "vm", **named, state="started", pod="pod1", cluster="c1")[1]["entity"]
    assert started["hostname"] in ("sim1", "sim2")


def test_templates_are_made_from_snapshots_and_machines(furnished):
    run = furnished
    system = {"os_type": "Other Linux (64-bit)", "zone": "lab"}
    run.ok("snapshot", name="image", zone="lab", volume="kept")
    cycle(run, "template", name="of a snapshot", snapshot="image", template_tag="fast", **system)
    cycle(run, "template", name="of a snapshot", zone="lab", template_tag="slow", arch="x86_64")
    run.ok("vm", **VM, name="model")
    run.ok("vm", name="model", zone="lab", state="stopped")
    made = cycle(run, "template", name="of a machine", vm="model", **system)[1]["entity"]
    assert made["isready"] is True
    assert "a new template needs url, format, hypervisor" in run("template", name="of nothing", zone="lab")["msg"]
    cycle(run, "template", name="of a machine", zone="lab", state="absent")


@pytest.mark.parametrize("module", ["template", "iso"])
def test_an_image_that_hosts_fetch_is_registered_and_stays_so(run, module):
    kinds = {"format": "QCOW2", "hypervisor": "Simulator"} if module == "template" else {}
    options = {
        "name": f"direct {module}",
        "zone": "lab",
        "url": "http://10.91.0.13/x",
        "os_type": "Other Linux (64-bit)",
    }
    made = cycle(run, module, **options, **kinds, direct_download=True)[1]["entity"]
    assert (made["directdownload"], made["isready"]) == (True, True)
    assert "direct_download" in run(module, **options, **kinds, direct_download=False)["msg"]
    cycle(run, module, name=options["name"], zone="lab", state="absent")


@pytest.mark.parametrize("module", ["template", "iso", "volume"])
def test_an_image_of_here_is_sent_and_fetched(run, tmp_path, module):
    (tmp_path / "image").write_bytes(b"of simulated images only the size is kept" * 1000)
    kinds = {"format": "QCOW2"} if module != "iso" else {}
    more = {"hypervisor": "Simulator"} if module == "template" else {}
    system = {"os_type": "Other Linux (64-bit)"} if module != "volume" else {}
    options = {"name": f"sent {module}", "zone": "lab", "path": str(tmp_path / "image"), **kinds, **more, **system}
    cycle(run, module, **options)
    told = run(module, **{**options, "name": "bad", "checksum": "{SHA-256}" + "0" * 64})["msg"]
    assert "422" in told and "checksum" in told
    assert run.ok(f"{module}_info", name="bad")["entities"] == []
    link = run.ok("image_download", kind=module, name=f"sent {module}", zone="lab")
    assert link["changed"] and link["url"].startswith("http")
    cycle(run, module, **options, state="absent")


def test_offerings_say_all_that_the_server_knows_of(run):
    rates = {"bytes_read_rate": 1000000, "iops_write_rate": 200, "cache_mode": "writeback"}
    cycle(run, "disk_offering", name="limited", customized=True, customized_iops=True, **rates)
    cycle(run, "disk_offering", name="limited", cache_mode="none", bytes_read_rate=2000000)
    bounds = {"min_cpu_number": 1, "max_cpu_number": 4, "min_memory": 64, "max_memory": 256, "cpu_speed": 100}
    cycle(run, "service_offering", name="bounds", customized=True, encrypt_root=False, **bounds)
    shape = {"cpu_number": 1, "cpu_speed": 100, "memory": 64}
    strict = {"disk_offering": "limited", "disk_offering_strictness": True, "dynamic_scaling_enabled": False}
    made = cycle(run, "service_offering", name="strict", **shape, **strict)[1]["entity"]
    assert made["diskofferingname"] == "limited"
    assert "cannot change after creation" in run("service_offering", name="strict", dynamic_scaling_enabled=True)["msg"]
