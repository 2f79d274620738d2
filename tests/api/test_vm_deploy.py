"""Machines deployed with all that can be asked for."""

import base64

import pytest
from sqlalchemy import select

from mgmt_server.allocation import counted
from mgmt_server.db import reading, write
from mgmt_server.model.affinity import AffinityGroup, AffinityMember
from mgmt_server.model.simulator import SimulatedDisk, SimulatedMachine
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Zone
from mgmt_server.resources.template.flows import in_zone
from tests.cloud import Refused
from tests.simulated import GIB, build


@pytest.fixture
def zone(cloud):
    found = build()
    found["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    return found


def deploy(cloud, zone, user="admin", **more):
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": zone["offering"], **more}
    return cloud.job("deployVirtualMachine", user=user, **{k: v for k, v in sent.items() if v is not None})[
        "virtualmachine"
    ]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def own(cloud, zone, **values):
    """A template of the administrator's, with these columns."""

    def make(tx):
        whole = tx.scalar(select(Template).where(Template.uuid == zone["template"]))
        copied = ("display_text", "hypervisor", "os_type_id", "size", "account_id", "domain_id")
        same = {k: getattr(whole, k) for k in copied}
        mine = Template(**same | {"name": "mine", "unique_name": "mine", "format": "QCOW2", "type": "USER", **values})
        mine.account_id = 2  # the administrator
        tx.add(mine)
        tx.flush()
        store, number = tx.scalar(select(ImageStore)), tx.scalar(select(Zone.id))
        in_zone(tx, mine, number)
        tx.add(
            TemplateOnStore(
                template_id=mine.id, store_id=store.id, zone_id=number, state="Ready", path=f"template/{mine.id}",
                size=mine.size, physical_size=1,
            )
        )  # fmt: skip
        counted.template_comes(tx, mine)
        counted.image_comes(tx, mine, 1)
        tx.flush()
        return mine.uuid

    return write(make)


def test_from_an_iso_on_an_empty_disk(cloud, zone):
    iso = own(cloud, zone, format="ISO", hypervisor="None", size=700 * 2**20)
    disk = cloud.ask("createDiskOffering", name="any", displaytext="any", customized=True)["diskoffering"]["id"]
    vm = deploy(cloud, zone, templateid=iso, hypervisor="simulator", diskofferingid=disk, size=5)
    assert (vm["state"], vm["isoid"], vm["hypervisor"]) == ("Running", iso, "Simulator")
    (root,) = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"]
    assert (root["type"], root["size"], root["diskofferingid"]) == ("ROOT", 5 * GIB, disk)
    with reading() as session:
        assert session.scalar(select(SimulatedDisk).where(SimulatedDisk.name == root["id"])).backing == ""
        told = session.scalar(select(SimulatedMachine).where(SimulatedMachine.machine == vm["id"]))
        assert told.iso.startswith("nfs://192.0.2.9/secondary/template/")
    for sent, said in (
        ({"diskofferingid": disk, "size": 5}, "hypervisor is missing"),
        ({"hypervisor": "KVM", "diskofferingid": disk, "size": 5}, "has Simulator"),
        ({"hypervisor": "Simulator"}, "rootdisksize"),
    ):
        with pytest.raises(Refused) as no:
            deploy(cloud, zone, templateid=iso, **sent)
        assert said in no.value.text


def test_data_disks_have_the_places_that_they_asked_for(cloud, zone):
    fixed = cloud.ask("createDiskOffering", name="one", displaytext="one", disksize=1)["diskoffering"]["id"]
    open_ = cloud.ask("createDiskOffering", name="any", displaytext="any", customized=True)["diskoffering"]["id"]
    sent = {
        "datadisksdetails[0].diskofferingid": fixed, "datadisksdetails[1].diskofferingid": open_,
        "datadisksdetails[1].size": 7, "datadisksdetails[1].deviceid": 1, "datadisksdetails[2].diskofferingid": fixed,
    }  # fmt: skip
    vm = deploy(cloud, zone, **sent, overridediskofferingid=open_, rootdisksize=4)
    found = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"]
    assert {(v["deviceid"], v["size"] // GIB, v["type"]) for v in found} == {
        (0, 4, "ROOT"), (1, 7, "DATADISK"), (2, 1, "DATADISK"), (4, 1, "DATADISK"),
    }  # fmt: skip
    assert all(v["state"] == "Ready" for v in found)
    for wrong, said in (
        ({"datadisksdetails[0].diskofferingid": open_}, "custom size"),
        ({"datadisksdetails[0].diskofferingid": "x"}, "entity does not exist"),
        ({"datadisksdetails[0].diskofferingid": fixed, "datadisksdetails[0].deviceid": 3}, "deviceid=3"),
        ({"datadisksdetails[0].diskofferingid": fixed, "datadisksdetails[0].flavour": 3}, "flavour"),
        ({"datadisksdetails[0].diskofferingid": fixed, "diskofferingid": fixed}, "exclude each other"),
    ):
        with pytest.raises(Refused) as no:
            deploy(cloud, zone, **wrong)
        assert no.value.status == 431 and said in no.value.text


def test_a_root_disk_is_as_large_as_its_offering_says(cloud, zone):
    fixed = cloud.ask("createDiskOffering", name="two", displaytext="two", disksize=2)["diskoffering"]["id"]
    sent = {"name": "ten", "displaytext": "ten", "cpunumber": 1, "cpuspeed": 100, "memory": 128, "rootdisksize": 10}
    ten = cloud.ask("createServiceOffering", **sent)["serviceoffering"]["id"]
    vm = deploy(cloud, zone, serviceofferingid=ten, rootdisksize=10)
    (root,) = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"]
    assert root["size"] == 10 * GIB
    for wrong, said in (
        ({"serviceofferingid": ten, "rootdisksize": 50}, "ten gives a root disk of 10 GiB"),
        ({"overridediskofferingid": fixed, "rootdisksize": 50}, "two gives a root disk of 2 GiB"),
        ({"details[0].rootdisksize": 50}, "the parameter of that name"),
        ({"size": 5}, "send diskofferingid with it"),
    ):
        with pytest.raises(Refused) as no:
            deploy(cloud, zone, **wrong)
        assert no.value.status == 431 and said in no.value.text
    with pytest.raises(Refused, match="ten gives a root disk of 10 GiB"):
        cloud.ask("restoreVirtualMachine", virtualmachineid=vm["id"], rootdisksize=50)


def test_addresses_and_macs_are_those_that_were_asked_for(cloud, zone):
    made = []
    for n in (3, 4):
        sent = {"gateway": f"10.{n}.0.1", "netmask": "255.255.255.0", "networkofferingid": isolated(cloud)}
        made.append(cloud.ask("createNetwork", name=f"n{n}", zoneid=zone["zone"], **sent)["network"]["id"])
    sent = {
        "iptonetworklist[0].networkid": made[1], "iptonetworklist[0].ip": "10.4.0.9",
        "iptonetworklist[1].networkid": made[0], "iptonetworklist[1].mac": "02-AA-00-00-00-01",
    }  # fmt: skip
    vm = deploy(cloud, zone, **sent, macaddress="02:aa:00:00:00:02")
    assert [(n["networkid"], n["isdefault"]) for n in vm["nic"]] == [(made[1], True), (made[0], False)]
    assert vm["nic"][0]["ipaddress"] == "10.4.0.9"
    assert [n["macaddress"] for n in vm["nic"]] == ["02:aa:00:00:00:02", "02:aa:00:00:00:01"]
    for wrong, said in (
        ({"networkids": made[1], "macaddress": "02:aa:00:00:00:02"}, "is taken"),
        ({"networkids": made[1], "macaddress": "01:aa:00:00:00:02"}, "no MAC address of a machine"),
        ({"iptonetworklist[0].networkid": made[0], "iptonetworklist[0].ipv6": "::1"}, "ipv6 is not supported"),
        ({"networkids": f"{made[0]},{made[0]}", "networkids2": ""}, ""),
    ):
        if said:
            with pytest.raises(Refused) as no:
                deploy(cloud, zone, **wrong)
            assert no.value.status == 431 and said in no.value.text


def isolated(cloud):
    name = "DefaultIsolatedNetworkOfferingWithSourceNatService"
    return cloud.ask("listNetworkOfferings", name=name)["networkoffering"][0]["id"]


def test_user_data_is_sent_registered_or_the_templates(cloud, zone):
    kept = cloud.ask("registerUserData", name="u", userdata=encoded("#cloud-config\n"), params="size")["userdata"]
    mine = own(cloud, zone)
    cloud.ask("linkUserDataToTemplate", templateid=mine, userdataid=kept["id"], userdatapolicy="append")
    script = encoded("#!/bin/sh\n")

    def read(vm):
        told = cloud.ask("getVirtualMachineUserData", virtualmachineid=vm["id"])["virtualmachineuserdata"]
        assert told["virtualmachineid"] == vm["id"]
        return base64.b64decode(told["userdata"]).decode()

    brought = deploy(cloud, zone, templateid=mine, startvm=False)
    assert read(brought) == "#cloud-config\n" and "userdataid" not in brought
    both = read(deploy(cloud, zone, templateid=mine, userdata=script, startvm=False))
    assert "text/cloud-config" in both and "text/x-shellscript" in both
    value = {"userdatadetails[0].size": "large"}
    named = deploy(cloud, zone, userdataid=kept["id"], **value, startvm=False)
    assert (named["userdataid"], named["userdataname"], named["userdatadetails"]) == (kept["id"], "u", "size=large")
    assert [v["id"] for v in cloud.ask("listVirtualMachines", userdataid=kept["id"])["virtualmachine"]] == [named["id"]]
    with pytest.raises(Refused) as no:
        cloud.ask("deleteUserData", id=kept["id"])
    assert "is used by" in no.value.text
    cloud.ask("linkUserDataToTemplate", templateid=mine, userdataid=kept["id"], userdatapolicy="DENYOVERRIDE")
    for wrong, said in (
        ({"templateid": mine, "userdata": script}, "may not be overridden"),
        ({"userdata": script, "userdataid": kept["id"]}, "exclude each other"),
        ({"userdataid": kept["id"], "userdatadetails[0].colour": "x"}, "no variable colour"),
        ({"userdatadetails[0].size": "x"}, "no user data with variables"),
    ):
        with pytest.raises(Refused) as no:
            deploy(cloud, zone, **wrong)
        assert said in no.value.text


def test_groups_firmware_planner_and_tags(cloud, zone):
    mine = own(cloud, zone)
    cloud.job("createTags", resourcetype="Template", resourceids=mine, **{"tags[0].key": "k", "tags[0].value": "v"})

    def group(tx):
        tx.add(AffinityGroup(name="apart", type="host anti-affinity", account_id=2, domain_id=1))

    write(group)
    more = {"affinitygroupnames": "apart", "deploymentplanner": "firstfitplanner", "copyimagetags": True}
    vm = deploy(cloud, zone, templateid=mine, boottype="uefi", bootmode="Secure", **more, startvm=False)
    assert (vm["boottype"], vm["bootmode"]) == ("UEFI", "SECURE")
    assert [(g["name"], g["type"]) for g in vm["affinitygroup"]] == [("apart", "host anti-affinity")]
    assert [t["key"] for t in vm["tags"]] == ["k"] and "deployment_planner" not in vm["details"]
    with reading() as session:
        row = session.scalar(select(Vm).where(Vm.uuid == vm["id"]))
        assert row.details["deployment_planner"] == "FirstFitPlanner"
        assert session.scalar(select(AffinityMember.vm_id)) == row.id
    for wrong, said in (
        ({"bootmode": "SECURE"}, "needs boottype=UEFI"),
        ({"bootintosetup": True}, "bootintosetup=true"),
        ({"affinitygroupnames": "none"}, "Unable to find group by name none"),
        ({"details[0].deployment_planner": "x"}, "is the server's own"),
        ({"deploymentplanner": "x"}, "FirstFitPlanner"),
    ):
        with pytest.raises(Refused) as no:
            deploy(cloud, zone, **wrong)
        assert no.value.status == 431 and said in no.value.text


def test_a_planner_that_a_user_names_is_as_if_not_sent(cloud, zone):
    cloud.account("ann")
    vm = deploy(cloud, zone, user="ann", deploymentplanner="UserDispersingPlanner", startvm=False)
    cloud.job("startVirtualMachine", user="ann", id=vm["id"], deploymentplanner="no such planner")
    with reading() as session:
        row = session.scalar(select(Vm).where(Vm.uuid == vm["id"]))
        assert "deployment_planner" not in row.details and row.state == "Running"
    for user, shown in (("ann", False), ("admin", True)):
        for name in ("deployVirtualMachine", "startVirtualMachine"):
            (api,) = cloud.ask("listApis", user=user, name=name)["api"]
            assert ("deploymentplanner" in {p["name"] for p in api["params"]}) is shown, (user, name)


def test_a_disk_that_was_a_root_disk_is_one_again_and_outlives_a_failure(cloud, zone):
    vm = deploy(cloud, zone)
    (root,) = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"]

    def loose(tx):
        row = tx.scalar(select(Volume).where(Volume.uuid == root["id"]))
        row.vm_id = row.slot = row.device = None

    with pytest.raises(Refused) as no:
        deploy(cloud, zone, templateid=None, volumeid=root["id"])
    assert "only a free, Ready one" in no.value.text
    cloud.job("stopVirtualMachine", id=vm["id"])
    write(loose)
    hosts = cloud.ask("listHosts", type="Routing")["host"]
    for host in hosts:
        cloud.ask("updateHost", id=host["id"], allocationstate="Disable")
    with pytest.raises(Refused):
        deploy(cloud, zone, templateid=None, volumeid=root["id"])
    (kept,) = cloud.ask("listVolumes", id=root["id"])["volume"]
    assert kept["state"] == "Ready" and "virtualmachineid" not in kept
    for host in hosts:
        cloud.ask("updateHost", id=host["id"], allocationstate="Enable")
    with pytest.raises(Refused, match="keeps its size"):
        deploy(cloud, zone, templateid=None, volumeid=root["id"], rootdisksize=50)
    again = deploy(cloud, zone, templateid=None, volumeid=root["id"])
    assert [v["id"] for v in cloud.ask("listVolumes", virtualmachineid=again["id"])["volume"]] == [root["id"]]
    assert again["templateid"] == zone["template"]


def test_a_snapshot_of_a_root_disk_becomes_a_machine(cloud, zone):
    vm = deploy(cloud, zone)
    (root,) = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"]
    snapshot = cloud.job("createSnapshot", volumeid=root["id"])["snapshot"]["id"]
    again = deploy(cloud, zone, templateid=None, snapshotid=snapshot)
    assert again["state"] == "Running"
    (disk,) = cloud.ask("listVolumes", virtualmachineid=again["id"])["volume"]
    with reading() as session:
        content = {d.name: d.content for d in session.scalars(select(SimulatedDisk))}
    assert content[disk["path"]] == content[root["path"]] and disk["state"] == "Ready"
    with pytest.raises(Refused) as no:
        deploy(cloud, zone, snapshotid=snapshot)
    assert "Send one of templateid, volumeid and snapshotid" in no.value.text


def test_custom_offerings_keep_within_their_bounds(cloud, zone):
    sent = {"mincpunumber": 1, "maxcpunumber": 2, "minmemory": 256, "maxmemory": 1024, "cpuspeed": 500}
    made = cloud.ask("createServiceOffering", name="c", displaytext="c", **sent)["serviceoffering"]["id"]
    size = {"details[0].cpuNumber": 2, "details[0].memory": 1024}
    vm = deploy(cloud, zone, serviceofferingid=made, **size, startvm=False)
    assert (vm["cpunumber"], vm["cpuspeed"], vm["memory"]) == (2, 500, 1024)
    for wrong, said in (({}, "leaves cpuNumber to you"), (size | {"details[0].cpuNumber": 3}, "maxcpunumber 2")):
        with pytest.raises(Refused) as no:
            deploy(cloud, zone, serviceofferingid=made, **wrong)
        assert said in no.value.text


def test_only_administrators_choose_ids_and_denied_details(cloud, zone):
    uuid = "11111111-2222-3333-4444-555555555555"
    assert deploy(cloud, zone, customid=uuid, startvm=False)["id"] == uuid
    cloud.account("ann")
    denied = {"details[0].cpuOvercommitRatio": "2"}
    for user, wrong, said in (
        ("admin", {"customid": uuid}, "another machine"),
        ("ann", {"customid": uuid[::-1]}, "root administrators"),
        ("ann", denied, "root administrators"),
    ):
        with pytest.raises(Refused) as no:
            deploy(cloud, zone, user=user, **wrong)
        assert said in no.value.text
    assert deploy(cloud, zone, **denied, startvm=False)["details"] == {"cpuOvercommitRatio": "2"}


def test_a_list_holds_the_parts_that_were_asked_for(cloud, zone):
    vm = deploy(cloud, zone, userdata=encoded("x"), startvm=False)
    (least,) = cloud.ask("listVirtualMachines", details="min")["virtualmachine"]
    assert least["id"] == vm["id"] and not {"nic", "templateid", "memory", "affinitygroup", "userdata"} & set(least)
    (some,) = cloud.ask("listVirtualMachines", details="nics,tmpl", userdata=True)["virtualmachine"]
    assert some["nic"] and some["templateid"] == zone["template"] and some["userdata"] == encoded("x")
    with pytest.raises(Refused) as no:
        cloud.ask("listVirtualMachines", details="everything")
    assert "non permitted value" in no.value.text


def test_users_see_their_destroyed_machines_when_the_setting_says_so(cloud, zone):
    cloud.account("ann")
    vm = deploy(cloud, zone, user="ann", startvm=False)
    cloud.job("destroyVirtualMachine", user="ann", id=vm["id"])
    assert cloud.ask("listVirtualMachines", user="ann") == {}
    assert cloud.ask("listVirtualMachines", user="ann", state="Destroyed")["count"] == 1
    cloud.ask("updateConfiguration", name="allow.user.view.destroyed.vm", value=True)
    assert cloud.ask("listVirtualMachines", user="ann")["count"] == 1


def test_a_machine_goes_into_networks_that_are_for_its_account(cloud, zone):
    """Whoever deploys it: an administrator who may use both is no bridge between two accounts."""
    for name, kind in (("ann", 0), ("bob", 0), ("chief", 2)):
        cloud.account(name, kind=kind, domain="/a/")
    domain = cloud.ask("listDomains", name="a")["domain"][0]["id"]
    hers = deploy(cloud, zone, user="ann", startvm=False)["nic"][0]["networkid"]
    project = cloud.job("createProject", user="ann", name="p", displaytext="p")["project"]["id"]
    for user, sent in (
        ("chief", {}), ("admin", {}), ("admin", {"account": "bob", "domainid": domain}),
        ("ann", {"projectid": project}),
    ):  # fmt: skip
        with pytest.raises(Refused, match="is not for the account"):
            deploy(cloud, zone, user=user, networkids=hers, startvm=False, **sent)
        with pytest.raises(Refused, match="is not for the account"):
            deploy(cloud, zone, user=user, startvm=False, **{"iptonetworklist[0].networkid": hers}, **sent)
    sent = {"account": "ann", "domainid": domain, "networkids": hers, "startvm": False}
    assert deploy(cloud, zone, user="chief", **sent)["account"] == "ann"
    cloud.ask("updateConfiguration", name="admin.is.allowed.to.deploy.anywhere", value="true")
    with pytest.raises(Refused, match="is not for the account"):
        deploy(cloud, zone, user="chief", networkids=hers, startvm=False)
    assert deploy(cloud, zone, networkids=hers, startvm=False)["nic"][0]["networkid"] == hers


def test_users_do_not_see_what_is_not_for_display(cloud, zone):
    cloud.account("ann", domain="/a/"), cloud.account("chief", kind=2, domain="/a/")
    vm = deploy(cloud, zone, user="ann", startvm=False)
    disk = cloud.ask("listVolumes", user="ann")["volume"][0]["id"]
    net = vm["nic"][0]["networkid"]
    seen = (("listVirtualMachines", vm["id"], "displayvm"), ("listVolumes", disk, "displayvolume"),
            ("listNetworks", net, "displaynetwork"))  # fmt: skip
    for command, id, _ in seen:
        assert cloud.ask(command, user="ann", id=id)["count"] == 1
    cloud.ask("updateVirtualMachine", user="ann", id=vm["id"], displayvm=False)  # for root administrators: not taken
    assert cloud.ask("listVirtualMachines", user="ann")["count"] == 1
    cloud.ask("updateVirtualMachine", id=vm["id"], displayvm=False)
    cloud.job("updateVolume", id=disk, displayvolume=False)
    cloud.job("updateNetwork", id=net, displaynetwork=False)
    for command, id, parameter in seen:
        for user in ("ann", "chief"):
            assert cloud.ask(command, user=user, listall=True) == {}
            assert cloud.ask(command, user=user, id=id, **{parameter: False}) == {}
        assert cloud.ask(command, id=id, **{parameter: False})["count"] == 1
        assert cloud.ask(command, id=id, **{parameter: True}) == {}


def test_host_names_are_distinct_as_widely_as_the_setting_says(cloud, zone):
    cloud.account("ann")
    deploy(cloud, zone, name="one", startvm=False)
    deploy(cloud, zone, user="ann", name="one", startvm=False)  # in a network of her own
    cloud.ask("updateConfiguration", name="vm.distinct.hostname.scope", value="domain")
    cloud.account("bob")
    with pytest.raises(Refused) as no:
        deploy(cloud, zone, user="bob", name="one")
    assert "already exists in the same domain scope" in no.value.text


def test_user_data_has_as_many_bytes_as_the_setting_and_the_protocol_allow(cloud, zone):
    large = encoded("x" * 780_000)
    with pytest.raises(Refused) as no:
        deploy(cloud, zone, userdata=large)
    assert "vm.userdata.max.length allows 32768" in no.value.text
    cloud.ask("updateConfiguration", name="vm.userdata.max.length", value=1_048_576)
    vm = deploy(cloud, zone, userdata=large, startvm=False)
    told = cloud.ask("getVirtualMachineUserData", virtualmachineid=vm["id"])["virtualmachineuserdata"]
    assert told["userdata"] == large
