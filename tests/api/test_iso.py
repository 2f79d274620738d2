"""ISOs over the wire: registered, shared, and in the drives of simulated machines."""

import hashlib
import subprocess

import pytest
from sqlalchemy import select

from mgmt_server.db import reading
from mgmt_server.drivers.hypervisor.simulator import Simulator
from mgmt_server.errors import Failed
from mgmt_server.model.simulator import SimulatedMachine
from tests.api.test_template_download import files, store, web  # noqa: F401
from tests.api.test_template_download import sent as for_kvm  # noqa: F401
from tests.cloud import Refused
from tests.simulated import build


@pytest.fixture
def zone(cloud):
    found = build()
    found["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    found["os"] = cloud.ask("listOsTypes", description="Other Linux (64-bit)")["ostype"][0]["id"]
    return found


def register(cloud, zone, name="disc", user="admin", **more):
    sent = {"name": name, "url": "http://127.0.0.1:1/none.iso", "zoneid": zone["zone"], "ostypeid": zone["os"], **more}
    (made,) = cloud.ask("registerIso", user=user, **sent)["iso"]
    return made


def machine(cloud, zone, **more):
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": zone["offering"], **more}
    return cloud.job("deployVirtualMachine", **sent)["virtualmachine"]


def names(cloud, user="admin", **sent):
    return [i["name"] for i in cloud.ask("listIsos", user=user, **sent).get("iso", [])]


def in_drive():
    with reading() as session:
        return session.scalar(select(SimulatedMachine.iso).where(SimulatedMachine.name.like("i-%")))


def test_an_iso_of_simulated_hosts_is_there_at_once_changed_and_deleted(cloud, zone):
    made = register(cloud, zone, ispublic=True)
    assert (made["isready"], made["status"], made["format"]) == (True, "Successfully Installed", "ISO")
    assert made["bootable"] is True and made["zonename"] and made["account"] == "admin"
    changed = cloud.ask("updateIso", id=made["id"], displaytext="new", bootable=False)["iso"]
    assert (changed["displaytext"], changed["bootable"]) == ("new", False)
    assert names(cloud, bootable=False) == ["disc"] and names(cloud, bootable=True) == []
    assert names(cloud, isready=False) == names(cloud, isready=True) == ["disc"], "false narrows nothing"
    assert "hypervisor" not in cloud.ask("listIsos", id=made["id"])["iso"][0]
    assert cloud.job("deleteIso", id=made["id"]) == {"success": True}
    assert names(cloud, isofilter="all") == []
    with pytest.raises(Refused) as no:
        cloud.ask("deleteIso", id=made["id"])
    assert no.value.status == 431


def test_templates_and_isos_are_told_apart(cloud, zone):
    iso = register(cloud, zone)["id"]
    cloud.ask("registerTemplate", **_template(zone))
    assert [t["name"] for t in cloud.ask("listTemplates", templatefilter="all")["template"]] == ["t"]
    assert names(cloud, isofilter="all") == ["disc"]
    assert cloud.ask("listTemplates", templatefilter="all", id=iso) == {}
    assert cloud.ask("listIsos", isofilter="all", id=zone["template"]) == {}
    for command, sent in (
        ("updateTemplate", {"name": "x"}), ("deleteTemplate", {}), ("listTemplatePermissions", {}),
        ("updateTemplatePermissions", {"ispublic": True}),
    ):  # fmt: skip
        with pytest.raises(Refused) as no:
            cloud.ask(command, id=iso, **sent)
        assert "entity does not exist" in no.value.text, command
        with pytest.raises(Refused) as no:
            cloud.ask(command.replace("Template", "Iso"), id=zone["template"], **sent)
        assert "entity does not exist" in no.value.text, command


def _template(zone):
    sent = {"name": "t", "url": "http://h.example/t.qcow2", "format": "QCOW2", "hypervisor": "Simulator"}
    return {**sent, "zoneid": zone["zone"], "ostypeid": zone["os"]}


def test_who_sees_and_uses_an_iso(cloud, zone):
    for name in ("ann", "bob"):
        cloud.account(name)
    mine = register(cloud, zone, user="ann")["id"]
    assert names(cloud, user="ann") == ["disc"] and names(cloud, user="bob", isofilter="executable") == []
    cloud.ask("updateIsoPermissions", user="ann", id=mine, op="add", accounts="bob")
    assert names(cloud, user="bob", isofilter="shared") == ["disc"]
    told = cloud.ask("listIsoPermissions", user="ann", id=mine)["templatepermission"]
    assert (told["account"], told["ispublic"]) == (["bob"], False)
    cloud.ask("updateIsoPermissions", user="ann", id=mine, op="reset")
    assert names(cloud, user="bob", isofilter="shared") == []
    for command, sent in (("updateIso", {"name": "x"}), ("deleteIso", {}), ("listIsoPermissions", {})):
        with pytest.raises(Refused) as no:
            cloud.ask(command, user="bob", id=mine, **sent)
        assert no.value.status == 431
    with pytest.raises(Refused):
        cloud.ask("updateIsoPermissions", user="ann", id=mine, isfeatured=True)
    cloud.ask("updateIsoPermissions", id=mine, isfeatured=True, ispublic=True)
    assert names(cloud, user="bob", isofilter="featured") == ["disc"]


def test_a_disc_comes_into_a_running_machine_and_goes(cloud, zone):
    vm, first, second = machine(cloud, zone), register(cloud, zone), register(cloud, zone, name="other")
    seen = cloud.job("attachIso", id=first["id"], virtualmachineid=vm["id"])["virtualmachine"]
    assert (seen["isoid"], seen["isoname"]) == (first["id"], "disc")
    assert first["id"] in in_drive() and "/template/tmpl/" in in_drive()
    assert [m["id"] for m in cloud.ask("listVirtualMachines", isoid=first["id"])["virtualmachine"]] == [vm["id"]]
    with pytest.raises(Refused) as no:
        cloud.ask("deleteIso", id=first["id"])
    assert no.value.status == 536 and "detachIso first" in no.value.text
    with pytest.raises(Refused) as no:
        cloud.job("attachIso", id=second["id"], virtualmachineid=vm["id"])
    assert "disc is in the drive" in no.value.text
    cloud.job("attachIso", id=second["id"], virtualmachineid=vm["id"], forced=True)
    assert second["id"] in in_drive()
    seen = cloud.job("detachIso", virtualmachineid=vm["id"])["virtualmachine"]
    assert "isoid" not in seen and in_drive() == ""
    with pytest.raises(Refused) as no:
        cloud.job("detachIso", virtualmachineid=vm["id"])
    assert no.value.status == 431 and "no ISO attached" in no.value.text


def test_a_stopped_machine_finds_its_disc_at_its_start(cloud, zone):
    vm, iso = machine(cloud, zone), register(cloud, zone)
    cloud.job("stopVirtualMachine", id=vm["id"])
    cloud.job("attachIso", id=iso["id"], virtualmachineid=vm["id"])
    assert in_drive() == ""
    cloud.job("startVirtualMachine", id=vm["id"])
    assert iso["id"] in in_drive()


def test_a_host_that_refuses_leaves_the_drive_as_it_was(cloud, zone):
    vm, iso = machine(cloud, zone), register(cloud, zone)

    def broken(*_):
        raise Failed("the drive is stuck")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Simulator, "change_iso", broken)
        with pytest.raises(Refused) as no:
            cloud.job("attachIso", id=iso["id"], virtualmachineid=vm["id"])
    assert "the drive is stuck" in no.value.text
    assert "isoid" not in cloud.ask("listVirtualMachines", id=vm["id"])["virtualmachine"][0]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"ostypeid": ""}, "guest OS type"),
        ({"zoneid": "nonsense"}, "Invalid parameter zoneid"),
        ({"url": "ftp://h/x.iso"}, "no http or https URL"),
        ({"checksum": "xyz"}, "is none"),
        ({"imagestoreuuid": "nonsense"}, "Invalid parameter imagestoreuuid"),
        ({"directdownload": True, "imagestoreuuid": "any"}, "leave imagestoreuuid out"),
    ],
)
def test_what_cannot_be_registered(cloud, zone, wrong, told):
    with pytest.raises(Refused) as no:
        register(cloud, zone, **wrong)
    assert no.value.status == 431 and told in no.value.text
    assert names(cloud, isofilter="all") == []


def test_an_iso_is_fetched_checked_and_put(cloud, web, store, for_kvm, tmp_path):  # noqa: F811
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "file").write_bytes(b"x" * 5000)
    subprocess.run(["genisoimage", "-quiet", "-o", str(tmp_path / "t.iso"), str(tmp_path / "content")], check=True)
    web[0]["/t.iso"] = (tmp_path / "t.iso").read_bytes()
    web[0]["/no.iso"] = b"no disc" * 10_000
    sent = {k: v for k, v in for_kvm.items() if k not in ("format", "hypervisor")}
    digest = hashlib.sha256(web[0]["/t.iso"]).hexdigest()
    cloud.ask("registerIso", **{**sent, "url": f"{web[1]}/t.iso", "checksum": digest})
    cloud.ask("registerIso", **{**sent, "name": "bad", "url": f"{web[1]}/no.iso"})
    cloud.work()
    good, bad = cloud.ask("listIsos", isofilter="self")["iso"]
    assert (good["status"], good["size"]) == ("Successfully Installed", len(web[0]["/t.iso"]))
    assert bad["isready"] is False and "its content is raw" in bad["status"]
    (file,) = files(store)
    assert file.suffix == ".iso"
    cloud.job("deleteIso", id=good["id"])
    assert files(store) == []
