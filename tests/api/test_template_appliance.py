"""Templates of OVAs with several disks."""

import json

import pytest
from sqlalchemy import select

from mgmt_server.db import reading, write
from mgmt_server.model.account import Account
from mgmt_server.resources.limit import recount
from mgmt_server.resources.template import flows
from tests.api.appliances import ova, ovf, vmdk
from tests.api.test_template_download import ZONE, files, sent, store, web  # noqa: F401
from tests.api.test_template_formats import west
from tests.api.test_template_transfer import form, send
from tests.cloud import Refused
from tests.crash.invariants import broken

MIB = 1 << 20


@pytest.fixture
def whole(cloud, web, store, sent, tmp_path):  # noqa: F811
    """Ann's template of an OVA with disks of 8, 4 and 6 MiB, the last one blank."""
    cloud.account("ann")
    cloud.account("bob")
    web[0]["/t.qcow2"] = ova(ovf((8, 4, 6), blank=(2,)), {1: vmdk(tmp_path, 4 * MIB), 0: vmdk(tmp_path, 8 * MIB)})
    made = cloud.ask("registerTemplate", user="ann", **{**sent, "format": "OVA"}, isextractable=True)["template"][0]
    cloud.work()
    return made["id"]


def listed(cloud, user="ann", **sent):  # noqa: F811
    return cloud.ask("listTemplates", user=user, **{"templatefilter": "self", **sent}).get("template", [])


def test_each_further_disk_is_a_template_of_its_own(cloud, whole, store):  # noqa: F811
    (root,) = listed(cloud, id=whole)
    assert (root["isready"], root["size"], root["templatetype"]) == (True, 8 * MIB, "USER"), root["status"]
    assert [(c["name"], c["size"], c["templatetype"]) for c in root["childtemplates"]] == [
        ("t-DataDiskTemplate-1", 4 * MIB, "DATADISK"),
        ("t-DataDiskTemplate-2", 6 * MIB, "DATADISK"),
    ]
    parts = listed(cloud, parenttemplateid=whole)
    assert [p["id"] for p in parts] == [c["id"] for c in root["childtemplates"]]
    assert {(p["parenttemplateid"], p["isready"], p["account"], p["format"]) for p in parts} == {
        (whole, True, "ann", "OVA")
    }
    assert "parenttemplateid" not in root and "childtemplates" not in parts[0]
    nic = json.loads(root["deployasisdetails"]["network-9"])
    assert nic == {"InstanceID": 9, "elementName": "Network adapter 2", "name": "back"}
    found = files(store)
    assert len(found) == 3 and all(f.read_bytes()[:4] == b"QFI\xfb" for f in found)
    assert [t["id"] for t in listed(cloud, templatefilter="executable") if t["account"] == "ann"] == [whole]


def test_the_disks_go_with_their_template_and_not_without_it(cloud, whole, store):  # noqa: F811
    part = listed(cloud, parenttemplateid=whole)[0]["id"]
    for command, more in (
        ("deleteTemplate", {}),
        ("copyTemplate", {"destzoneid": listed(cloud, id=whole)[0]["zoneid"]}),
        ("updateTemplatePermissions", {"ispublic": True}),
        ("updateTemplate", {"templatetype": "VNF"}),
    ):
        with pytest.raises(Refused, match="is a disk of another template"):
            cloud.job(command, user="ann", id=part, **more)
    cloud.job("deleteTemplate", user="ann", id=whole)
    assert listed(cloud) == [] and files(store) == []
    assert counted() == (0, 0) and broken() == []


def counted():
    """Templates, and bytes on secondary storage, that ann has by a fresh count."""
    with reading() as session:
        ann = session.scalar(select(Account.id).where(Account.name == "ann"))
        found = recount.count(session, [ann])
    by_type = {key[1]: value for key, value in found.items()}
    return by_type.get("template", 0), by_type.get("secondary_storage", 0)


def test_one_template_counts_and_all_its_bytes(cloud, whole, store):  # noqa: F811
    assert counted() == (1, sum(f.stat().st_size for f in files(store)))
    assert broken() == []


def test_a_limit_that_one_disk_exceeds_leaves_nothing(cloud, web, store, sent, tmp_path):  # noqa: F811
    cloud.account("ann")
    cloud.ask("updateResourceLimit", account="ann", domainid=root_domain(cloud), resourcetype=11, max=0)
    web[0]["/t.qcow2"] = ova(ovf((8, 4)), {0: vmdk(tmp_path, 8 * MIB), 1: vmdk(tmp_path, 4 * MIB)})
    cloud.ask("registerTemplate", user="ann", **{**sent, "format": "OVA"})
    cloud.work()
    (root,) = listed(cloud)
    assert root["isready"] is False and "secondary_storage" in root["status"] and "childtemplates" not in root
    assert files(store) == [] and broken() == []


def root_domain(cloud):
    return cloud.ask("listDomains", name="ROOT")["domain"][0]["id"]


def test_who_may_use_the_template_may_use_its_disks(cloud, whole):
    asked = {"templatefilter": "sharedexecutable", "user": "bob", "parenttemplateid": whole}
    with pytest.raises(Refused):
        listed(cloud, **asked)
    cloud.ask("updateTemplatePermissions", user="ann", id=whole, op="add", accounts="bob")
    assert len(listed(cloud, **asked)) == 2
    cloud.ask("updateTemplatePermissions", user="ann", id=whole, isextractable=False)
    part = listed(cloud, parenttemplateid=whole)[0]
    assert part["isextractable"] is False
    with pytest.raises(Refused, match="not extractable"):
        cloud.job("extractTemplate", user="ann", id=part["id"], mode="HTTP_DOWNLOAD")
    cloud.ask("updateTemplatePermissions", user="ann", id=whole, op="reset")
    assert listed(cloud, user="bob", templatefilter="shared") == []


def test_a_copy_in_another_zone_has_all_disks(cloud, whole, store, tmp_path):  # noqa: F811
    other = tmp_path / "other"
    other.mkdir()
    zone, _ = west(cloud, other)
    cloud.job("copyTemplate", user="ann", id=whole, destzoneid=zone)
    assert {(t["name"], t["isready"]) for t in listed(cloud, zoneid=zone)} == {
        ("t", True), ("t-DataDiskTemplate-1", True), ("t-DataDiskTemplate-2", True),
    }  # fmt: skip
    assert sorted(f.stat().st_size for f in files(other)) == sorted(f.stat().st_size for f in files(store))
    cloud.job("deleteTemplate", user="ann", id=whole, zoneid=zone)
    assert files(other) == [] and len(files(store)) == 3 and len(listed(cloud)) == 3


def test_a_template_of_all_zones_comes_with_all_disks_to_a_new_one(cloud, web, store, sent, tmp_path):  # noqa: F811
    web[0]["/t.qcow2"] = ova(ovf((8, 4)), {0: vmdk(tmp_path, 8 * MIB), 1: vmdk(tmp_path, 4 * MIB)})
    cloud.ask("registerTemplate", **{**sent, "format": "OVA", "zoneid": -1})
    cloud.work()
    del web[0]["/t.qcow2"]
    (tmp_path / "other").mkdir()
    zone, added = west(cloud, tmp_path / "other")
    write(flows.store_added, added)
    cloud.work()
    assert [t["isready"] for t in listed(cloud, user="admin", zoneid=zone)] == [True, True]


@pytest.mark.parametrize(
    ("description", "told"),
    [
        (ovf((8, 4, 6)), "d2.vmdk, which the description names, is not in the archive"),
        (ovf((8, 4), blank=(0,)), "the first disk of the archive is blank"),
        (ovf((8, 4)).replace('capacity="4"', 'capacity="four"'), "the size of the disk v1 cannot be read"),
        (ovf((8, 4)).replace("</Envelope>", '<VirtualSystem ovf:id="n"/></Envelope>'), "describes 2 machines"),
        (ovf((8, 4)).replace("<References>", '<!DOCTYPE e [<!ENTITY a "b">]><References>'), "is refused"),
        (ovf((8, 4)).replace("</Envelope>", ""), "is no XML"),
        (ovf((8, 4)).replace("ovf:/disk/v1", "ovf:/disk/v9"), "disk 1 is no disk that"),
        (ovf((8, 4)).replace('ovf:href="d1', 'ovf:chunkSize="9" ovf:href="d1'), "cut into chunks"),
        (ovf((8, 4)).replace('ovf:fileRef="f1"', 'ovf:fileRef="f1" ovf:parentRef="v0"'), "only what differs"),
        (ovf((8, 4), nics=((8, "a", "x"), (8, "b", "y"))), "two NICs the same InstanceID"),
        (ovf((8, 4)), "its content is raw"),
    ],
)
def test_what_is_wrong_with_an_ova_is_told_and_nothing_stays(cloud, web, store, sent, tmp_path, description, told):  # noqa: F811
    web[0]["/t.qcow2"] = ova(description, {0: vmdk(tmp_path, 8 * MIB), 1: b"no disk" * 9000})
    cloud.ask("registerTemplate", **{**sent, "format": "OVA"})
    cloud.work()
    (seen,) = listed(cloud, user="admin")
    assert seen["isready"] is False and told in seen["status"] and files(store) == []


def test_all_disks_come_by_a_form(cloud, store, sent, tmp_path):  # noqa: F811
    cloud.account("ann")
    packed = ova(ovf((8, 4)), {0: vmdk(tmp_path, 8 * MIB), 1: vmdk(tmp_path, 4 * MIB)})
    assert send(form(cloud, {**sent, "format": "OVA"}), packed).error == ""
    assert [t["size"] for t in listed(cloud)] == [8 * MIB, 4 * MIB] and len(files(store)) == 2
    told = form(cloud, {**sent, "format": "OVA"})
    cloud.ask("updateResourceLimit", resourcetype=11, max=0, account="ann", domainid=root_domain(cloud))
    assert send(told, packed).error and len(files(store)) == 2 and broken() == []
