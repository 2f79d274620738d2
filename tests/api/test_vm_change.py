"""Machines that are changed: reinstalled, scaled, given away, told new secrets."""

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding
from sqlalchemy import select

from mgmt_server.db import reading, write
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network
from mgmt_server.model.simulator import SimulatedDisk, SimulatedMachine
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm
from mgmt_server.resources.limit.recount import wrong
from mgmt_server.resources.router import document
from mgmt_server.resources.vm import migrate
from tests.api.test_vm_deploy import deploy, encoded, own, zone  # noqa: F401
from tests.cloud import Refused


def with_passwords(tx):
    for template in tx.scalars(select(Template).where(Template.hypervisor == "Simulator")):
        template.password_enabled = True


def row_of(vm):
    with reading() as session:
        return session.scalar(select(Vm).where(Vm.uuid == vm["id"]))


def counts_are_right():
    with reading() as session:
        assert wrong(session) == ([], [])
        for host in session.scalars(select(Host)):
            mine = list(session.scalars(select(Vm).where(Vm.host_id == host.id, Vm.reserved)))
            assert host.memory_used == sum(v.memory for v in mine) << 20
            assert host.cpu_used == sum(v.cpus * v.speed for v in mine)


def test_a_password_is_told_once_and_to_the_keys_holder(cloud, zone):  # noqa: F811
    write(with_passwords)
    made = cloud.ask("createSSHKeyPair", name="k")["keypair"]
    private = serialization.load_pem_private_key(made["privatekey"].encode(), None)
    vm = deploy(cloud, zone, keypair="k")
    assert vm["password"] == row_of(vm).password

    def told():
        hidden = cloud.ask("getVMPassword", id=vm["id"])["password"]["encryptedpassword"]
        return private.decrypt(base64.b64decode(hidden), padding.PKCS1v15()).decode()

    assert told() == vm["password"]
    with pytest.raises(Refused) as no:
        cloud.ask("resetPasswordForVirtualMachine", id=vm["id"])
    assert "stop it before its password is reset" in no.value.text
    cloud.job("stopVirtualMachine", id=vm["id"])
    fresh = cloud.job("resetPasswordForVirtualMachine", id=vm["id"])["virtualmachine"]
    assert fresh["password"] not in ("", vm["password"]) and told() == fresh["password"]
    mine = cloud.job("resetPasswordForVirtualMachine", id=vm["id"], password="chosen-1")["virtualmachine"]  # noqa: S106
    assert mine["password"] == "chosen-1" and told() == "chosen-1"  # noqa: S105
    cloud.account("ann")
    for command in ("getVMPassword", "resetPasswordForVirtualMachine"):
        with pytest.raises(Refused):
            cloud.ask(command, user="ann", id=vm["id"])
    events = cloud.ask("listEvents", listall=True)["event"]
    assert not [e for e in events if "chosen-1" in str(e) or fresh["password"] in str(e)]


def test_keys_and_user_data_are_given_anew(cloud, zone):  # noqa: F811
    for name in ("a", "b"):
        cloud.ask("createSSHKeyPair", name=name)
    vm = deploy(cloud, zone, keypair="a", startvm=False)
    with pytest.raises(Refused) as no:
        cloud.ask("getVMPassword", id=vm["id"])
    assert "No password" in no.value.text
    told = cloud.job("resetSSHKeyForVirtualMachine", id=vm["id"], keypairs="a,b")["virtualmachine"]
    assert told["keypairs"] == "a,b" and len(row_of(vm).public_keys.splitlines()) == 2 and "password" not in told
    assert cloud.ask("listVirtualMachines", keypair="b")["count"] == 1
    with pytest.raises(Refused) as no:
        cloud.ask("resetSSHKeyForVirtualMachine", id=vm["id"], keypair="none")
    assert "no SSH key pair named none" in no.value.text
    cloud.ask("resetUserDataForVirtualMachine", id=vm["id"], userdata=encoded("new"))
    assert row_of(vm).user_data == encoded("new")
    kept = cloud.ask("registerUserData", name="u", userdata=encoded("kept"), params="size")["userdata"]
    changed = cloud.ask("updateVirtualMachine", id=vm["id"], userdataid=kept["id"], **{"userdatadetails[0].size": "5"})
    assert changed["virtualmachine"]["userdataname"] == "u" and row_of(vm).user_data_details == {"size": "5"}
    cloud.ask("resetUserDataForVirtualMachine", id=vm["id"])
    assert row_of(vm).user_data is None and row_of(vm).user_data_id is None


def test_a_machine_is_reinstalled_and_starts_again(cloud, zone):  # noqa: F811
    write(with_passwords)
    disk = cloud.ask("createDiskOffering", name="one", displaytext="one", disksize=1)["diskoffering"]["id"]
    vm = deploy(cloud, zone, diskofferingid=disk, rootdisksize=3)
    (before,) = cloud.ask("listVolumes", virtualmachineid=vm["id"], type="ROOT")["volume"]
    mine = own(cloud, zone, password_enabled=True)
    again = cloud.job("restoreVirtualMachine", virtualmachineid=vm["id"])["virtualmachine"]
    assert again["state"] == "Running" and again["password"] != vm["password"]
    (root,) = cloud.ask("listVolumes", virtualmachineid=vm["id"], type="ROOT")["volume"]
    assert root["id"] != before["id"] and (root["size"], root["state"]) == (3 << 30, "Ready")
    assert cloud.ask("listVolumes", id=before["id"])["volume"][0]["state"] == "Destroy"
    assert cloud.ask("listVolumes", virtualmachineid=vm["id"], type="DATADISK")["count"] == 1
    cloud.job("stopVirtualMachine", id=vm["id"])
    other = cloud.job(
        "restoreVirtualMachine", virtualmachineid=vm["id"], templateid=mine, rootdisksize=5, expunge=True
    )["virtualmachine"]
    assert (other["state"], other["templateid"]) == ("Stopped", mine)
    (last,) = cloud.ask("listVolumes", virtualmachineid=vm["id"], type="ROOT")["volume"]
    assert last["size"] == 5 << 30 and cloud.ask("listVolumes", id=root["id"]) == {}
    with reading() as session:
        names = set(session.scalars(select(SimulatedDisk.name)))
    assert root["path"] not in names and before["path"] in names
    assert cloud.job("startVirtualMachine", id=vm["id"])["virtualmachine"]["state"] == "Running"
    with pytest.raises(Refused) as no:
        cloud.ask("restoreVirtualMachine", virtualmachineid=vm["id"], rootdisksize=1)
    assert "less than the template" in no.value.text
    counts_are_right()


def offering(cloud, **sent):
    name = sent.pop("name", "o")
    return cloud.ask("createServiceOffering", name=name, displaytext=name, **sent)["serviceoffering"]["id"]


def test_a_stopped_machine_takes_any_offering(cloud, zone):  # noqa: F811
    vm = deploy(cloud, zone, startvm=False)
    small = offering(cloud, cpunumber=1, cpuspeed=250, memory=256)
    told = cloud.ask("changeServiceForVirtualMachine", id=vm["id"], serviceofferingid=small)["virtualmachine"]
    assert (told["cpuspeed"], told["memory"], told["serviceofferingid"]) == (250, 256, small)
    free = offering(cloud, name="free", customized=True)
    size = {"details[0].cpuNumber": 2, "details[0].cpuSpeed": 300, "details[0].memory": 700}
    told = cloud.job("scaleVirtualMachine", id=vm["id"], serviceofferingid=free, **size)["virtualmachine"]
    assert (told["cpunumber"], told["memory"], told["details"]["memory"]) == (2, 700, "700")
    more = {"details[0].memory": 800}
    told = cloud.job("scaleVirtualMachine", id=vm["id"], serviceofferingid=free, **more)["virtualmachine"]
    assert (told["cpunumber"], told["memory"]) == (2, 800)
    counts_are_right()
    assert cloud.job("startVirtualMachine", id=vm["id"])["virtualmachine"]["state"] == "Running"
    counts_are_right()
    for command, sent, said in (
        ("scaleVirtualMachine", {"serviceofferingid": small}, "cannot be scaled while it does"),
        ("changeServiceForVirtualMachine", {"serviceofferingid": small}, "stop it first"),
    ):
        with pytest.raises(Refused) as no:
            cloud.ask(command, id=vm["id"], **sent)
        assert said in no.value.text


def test_a_running_machine_grows_within_what_it_was_started_for(cloud, zone):  # noqa: F811
    cloud.ask("updateConfiguration", name="enable.dynamic.scale.vm", value=True)
    vm = deploy(cloud, zone, templateid=own(cloud, zone, dynamically_scalable=True))
    assert vm["isdynamicallyscalable"] and "most_cpus" not in vm["details"]
    larger = offering(cloud, cpunumber=2, cpuspeed=600, memory=1024)
    told = cloud.job("scaleVirtualMachine", id=vm["id"], serviceofferingid=larger)["virtualmachine"]
    assert (told["state"], told["cpunumber"], told["memory"]) == ("Running", 2, 1024)
    with reading() as session:
        there = session.scalar(select(SimulatedMachine).where(SimulatedMachine.machine == vm["id"]))
        assert (there.cpus, there.memory) == (2, 1024 << 20)
    counts_are_right()
    for sent, said in (
        ({"cpunumber": 1, "cpuspeed": 600, "memory": 1024}, "Only scaling up"),
        ({"cpunumber": 9, "cpuspeed": 600, "memory": 1024}, "to grow up to 4 CPUs"),
    ):
        other = offering(cloud, name=said, **sent)
        with pytest.raises(Refused) as no:
            cloud.ask("scaleVirtualMachine", id=vm["id"], serviceofferingid=other)
        assert said in no.value.text
    write(lambda tx: [setattr(h, "memory_capacity", h.memory_used) for h in tx.scalars(select(Host))])
    last = offering(cloud, name="last", cpunumber=2, cpuspeed=600, memory=2048)
    with pytest.raises(Refused) as no:
        cloud.job("scaleVirtualMachine", id=vm["id"], serviceofferingid=last)
    assert no.value.status == 533 and row_of(vm).memory == 1024
    counts_are_right()


def test_each_of_four_may_keep_a_machine_from_growing_while_it_runs(cloud, zone):  # noqa: F811
    cloud.ask("updateConfiguration", name="enable.dynamic.scale.vm", value=True)
    able = own(cloud, zone, dynamically_scalable=True)
    fixed = offering(cloud, name="fixed", cpunumber=1, cpuspeed=500, memory=512, dynamicscalingenabled=False)
    larger = offering(cloud, cpunumber=2, cpuspeed=600, memory=1024)
    for sent in (
        {"templateid": able, "dynamicscalingenabled": False},
        {"templateid": able, "serviceofferingid": fixed},
        {"templateid": zone["template"]},
    ):
        vm = deploy(cloud, zone, **sent)
        assert not vm["isdynamicallyscalable"]
        with pytest.raises(Refused, match="cannot be scaled while it does"):
            cloud.ask("scaleVirtualMachine", id=vm["id"], serviceofferingid=larger)
    vm = deploy(cloud, zone, templateid=able)
    cloud.ask("updateConfiguration", name="enable.dynamic.scale.vm", value=False, zoneid=zone["zone"])
    with pytest.raises(Refused, match="cannot be scaled while it does"):
        cloud.ask("scaleVirtualMachine", id=vm["id"], serviceofferingid=larger)
    cloud.ask("updateConfiguration", name="enable.dynamic.scale.vm", value=True, zoneid=zone["zone"])
    with pytest.raises(Refused, match="cannot be scaled while it does"):
        cloud.ask("scaleVirtualMachine", id=vm["id"], serviceofferingid=fixed)


def test_what_a_host_refuses_to_scale_stays_as_it_was(cloud, zone):  # noqa: F811
    from mgmt_server.drivers.hypervisor import dispatch
    from mgmt_server.errors import Failed

    cloud.ask("updateConfiguration", name="enable.dynamic.scale.vm", value=True)
    vm = deploy(cloud, zone, templateid=own(cloud, zone, dynamically_scalable=True))
    larger = offering(cloud, cpunumber=2, cpuspeed=600, memory=1024)

    def refuse(*_):
        raise Failed("the guest lets go of nothing")

    real, dispatch.scale = dispatch.scale, refuse
    try:
        with pytest.raises(Refused) as no:
            cloud.job("scaleVirtualMachine", id=vm["id"], serviceofferingid=larger)
    finally:
        dispatch.scale = real
    assert "lets go of nothing" in no.value.text
    assert (row_of(vm).cpus, row_of(vm).memory) == (1, 512)
    counts_are_right()


def test_a_machine_goes_to_another_account_with_all_that_is_its(cloud, zone):  # noqa: F811
    disk = cloud.ask("createDiskOffering", name="one", displaytext="one", disksize=1)["diskoffering"]["id"]
    for name in ("ann", "bob"):
        cloud.account(name)
    vm = deploy(cloud, zone, user="ann", diskofferingid=disk, group="g")
    root = cloud.ask("listDomains", name="ROOT")["domain"][0]["id"]
    to = {"virtualmachineid": vm["id"], "account": "bob", "domainid": root}
    with pytest.raises(Refused) as no:
        cloud.ask("assignVirtualMachine", **to)
    assert "stop it before giving it away" in no.value.text
    cloud.job("stopVirtualMachine", id=vm["id"])
    with pytest.raises(Refused) as no:
        cloud.ask("assignVirtualMachine", user="ann", **to)
    assert no.value.status in (401, 432)
    with pytest.raises(Refused) as no:
        cloud.ask("assignVirtualMachine", **to, networkids=vm["nic"][0]["networkid"])
    assert "is not one that bob has" in no.value.text
    told = cloud.ask("assignVirtualMachine", **to)["virtualmachine"]
    cloud.work()
    assert told["account"] == "bob" and "group" not in told
    assert told["nic"][0]["networkid"] != vm["nic"][0]["networkid"]
    assert cloud.ask("listVirtualMachines", user="ann") == {} and cloud.ask("listVolumes", user="ann") == {}
    assert cloud.ask("listVolumes", user="bob")["count"] == 2
    counts_are_right()
    with reading() as session:  # its old name is known to no host any more
        assert not [n for n in session.scalars(select(SimulatedMachine.name)) if n.startswith("i-")]
    assert cloud.job("startVirtualMachine", user="bob", id=vm["id"])["virtualmachine"]["state"] == "Running"
    counts_are_right()


def test_disks_go_with_their_machine_when_that_is_asked_for(cloud, zone):  # noqa: F811
    disk = cloud.ask("createDiskOffering", name="one", displaytext="one", disksize=1)["diskoffering"]["id"]
    two = {"datadisksdetails[0].diskofferingid": disk, "datadisksdetails[1].diskofferingid": disk}
    for expunge in (False, True):
        vm = deploy(cloud, zone, **two)
        disks = [v["id"] for v in cloud.ask("listVolumes", virtualmachineid=vm["id"], type="DATADISK")["volume"]]
        (root,) = [v["id"] for v in cloud.ask("listVolumes", virtualmachineid=vm["id"], type="ROOT")["volume"]]
        with pytest.raises(Refused) as no:
            cloud.ask("destroyVirtualMachine", id=vm["id"], volumeids=root)
        assert "is no data disk" in no.value.text
        cloud.job("destroyVirtualMachine", id=vm["id"], volumeids=disks[0], expunge=expunge)
        gone = cloud.ask("listVolumes", id=disks[0]).get("volume", [])
        assert [v["state"] for v in gone] == ([] if expunge else ["Destroy"])
        (kept,) = cloud.ask("listVolumes", id=disks[1])["volume"]
        assert kept["state"] == "Ready" and ("virtualmachineid" in kept) != expunge
        counts_are_right()


def test_a_machine_changes_its_name_details_and_id_while_it_is_stopped(cloud, zone):  # noqa: F811
    vm = deploy(cloud, zone, name="one", **{"details[0].rootDiskController": "scsi", "details[0].note": "x"})
    deploy(cloud, zone, name="two")
    for sent in ({"name": "three"}, {"details[0].note": "y"}, {"customid": "11111111-2222-3333-4444-555555555555"}):
        with pytest.raises(Refused) as no:
            cloud.ask("updateVirtualMachine", id=vm["id"], **sent)
        assert "stop it before" in no.value.text
    cloud.job("stopVirtualMachine", id=vm["id"])
    for sent, said in (
        ({"name": "two"}, "already exists in the network"),
        ({"haenable": True}, "has no high availability"),
        ({"isdynamicallyscalable": True}, "enable.dynamic.scale.vm"),
        ({"details[0].memory": "1"}, "nothing"),
    ):
        if said != "nothing":
            with pytest.raises(Refused) as no:
                cloud.ask("updateVirtualMachine", id=vm["id"], **sent)
            assert said in no.value.text
    cloud.job("createTags", resourcetype="UserVm", resourceids=vm["id"], **{"tags[0].key": "k", "tags[0].value": "v"})
    new = "11111111-2222-3333-4444-555555555555"
    told = cloud.ask("updateVirtualMachine", id=vm["id"], name="three", customid=new, **{"details[0].note": "y"})
    cloud.work()
    told = told["virtualmachine"]
    assert (told["id"], told["name"], told["details"]) == (new, "three", {"note": "y"})
    assert [t["key"] for t in told["tags"]] == ["k"]
    assert cloud.job("startVirtualMachine", id=new)["virtualmachine"]["state"] == "Running"
    cloud.job("stopVirtualMachine", id=new)
    assert cloud.ask("updateVirtualMachine", id=new, cleanupdetails=True)["virtualmachine"]["details"] == {}


def test_users_stop_with_force_where_they_may(cloud, zone):  # noqa: F811
    cloud.account("ann")
    vm = deploy(cloud, zone, user="ann")
    cloud.ask("updateConfiguration", name="allow.user.force.stop.vm", value=False)
    with pytest.raises(Refused) as no:
        cloud.ask("stopVirtualMachine", user="ann", id=vm["id"], forced=True)
    assert "allow.user.force.stop.vm" in no.value.text
    assert cloud.job("stopVirtualMachine", id=vm["id"], forced=True)["virtualmachine"]["state"] == "Stopped"


@pytest.mark.parametrize("forced", [True, False])
def test_a_destroyed_machine_is_asked_to_shut_down_unless_the_setting_says_otherwise(cloud, zone, forced):  # noqa: F811
    from mgmt_server.drivers.hypervisor import dispatch

    vm = deploy(cloud, zone)
    cloud.ask("updateConfiguration", name="vm.destroy.forcestop", value=forced)
    seen = []
    real = dispatch.stop
    dispatch.stop = lambda *told: (seen.append(told[-1]), real(*told))[1]
    try:
        cloud.job("destroyVirtualMachine", id=vm["id"])
    finally:
        dispatch.stop = real
    assert seen == [forced]


def test_the_router_tells_host_and_domain_where_settings_say_so(cloud, zone, monkeypatch):  # noqa: F811
    vm = deploy(cloud, zone)
    domain = cloud.ask("listDomains", name="ROOT")["domain"][0]
    (account,) = cloud.ask("listAccounts", name="admin")["account"]

    def told():
        with reading() as session:
            router = session.scalar(select(Vm).where(Vm.kind == "DomainRouter"))
            (guest,) = document.compute(session, router, session.get(Network, router.network_id)).guests
        names = ("hypervisor-host-name", "cloud-domain", "cloud-domain-id")
        return {k: v for k, v in guest.metadata.items() if k in names}

    assert told() == {}
    cloud.ask("updateConfiguration", name="global.allow.expose.host.hostname", value="true")
    assert told() == {}, "the account has to have it too"
    cloud.ask("updateConfiguration", name="account.allow.expose.host.hostname", value="true", accountid=account["id"])
    assert told() == {"hypervisor-host-name": vm["hostname"]}
    tells = []
    monkeypatch.setattr(migrate, "routed", lambda tx, number: [7])  # of simulated hosts no router is told
    monkeypatch.setattr(document, "tell", lambda call, network: tells.append(network))
    cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], autoselect=True)
    assert tells == [7] and told()["hypervisor-host-name"] != vm["hostname"]
    cloud.ask("updateConfiguration", name="global.allow.expose.host.hostname", value="false")
    cloud.ask("updateConfiguration", name="metadata.allow.expose.domain", value="true", domainid=domain["id"])
    assert told() == {"cloud-domain": "ROOT", "cloud-domain-id": domain["id"]}
    cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], autoselect=True)
    assert tells == [7], "nothing has changed of what the machine is told"


def test_the_router_hands_out_password_data_and_the_values_of_its_variables(cloud, zone):  # noqa: F811
    write(with_passwords)
    kept = cloud.ask("registerUserData", name="u", userdata=encoded("x"), params="size")["userdata"]
    vm = deploy(cloud, zone, userdataid=kept["id"], **{"userdatadetails[0].size": "5"})
    with reading() as session:
        router = session.scalar(select(Vm).where(Vm.kind == "DomainRouter"))
        (guest,) = document.compute(session, router, session.get(Network, router.network_id)).guests
    assert guest.metadata["size"] == "5" and guest.metadata["instance-id"] == vm["id"]
    assert guest.user_data == encoded("x") and guest.password == vm["password"]
