"""Templates over the wire, on simulated hosts."""

import pytest
from sqlalchemy import select

from mgmt_server.db import reading, write
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.zone import Zone
from mgmt_server.resources.template import flows
from tests.cloud import Refused
from tests.counts import used as used_of

ZONE = {"networktype": "Advanced", "dns1": "192.0.2.53", "internaldns1": "192.0.2.54", "allocationstate": "Enabled"}


@pytest.fixture
def zones(cloud):
    """Two zones, each with a secondary storage: name -> (uuid, number, number of the storage)."""
    return {name: _zone(cloud, name) for name in ("east", "west")}


def _zone(cloud, name):
    uuid = cloud.ask("createZone", name=name, **ZONE)["zone"]["id"]
    with reading() as session:
        number = session.scalar(select(Zone.id).where(Zone.uuid == uuid))
    return uuid, number, write(_store, number)


def _store(tx, zone):
    store = ImageStore(name=f"sec{zone}", url=f"nfs://192.0.2.9/sec{zone}", protocol="nfs", zone_id=zone)
    tx.add(store)
    tx.flush()
    return store.id


@pytest.fixture
def sent(cloud, zones):
    os_type = cloud.ask("listOsTypes", description="Other Linux (64-bit)")["ostype"][0]["id"]
    return {
        "name": "t",
        "displaytext": "a template",
        "url": "http://127.0.0.1:1/none.qcow2",
        "format": "QCOW2",
        "hypervisor": "Simulator",
        "ostypeid": os_type,
        "zoneid": zones["east"][0],
    }


def names(cloud, chosen, user="admin", **more):
    return [t["name"] for t in cloud.ask("listTemplates", user=user, templatefilter=chosen, **more).get("template", [])]


def test_a_simulated_template_is_ready_at_once(cloud, sent, zones):
    answer = cloud.ask("registerTemplate", **sent)
    (made,) = answer["template"]
    assert answer["count"] == 1
    assert (made["isready"], made["status"], made["zonename"]) == (True, "Download Complete", "east")
    assert made["size"] > 0 and made["account"] == "admin" and made["domainpath"] == "ROOT"
    assert names(cloud, "self") == ["t"] and names(cloud, "featured") == []
    changed = cloud.ask("updateTemplate", id=made["id"], displaytext="changed", **{"details[0].k1": "v1"})["template"]
    assert (changed["displaytext"], changed["details"]) == ("changed", {"k1": "v1"})
    assert cloud.job("deleteTemplate", id=made["id"]) == {"success": True}
    assert cloud.ask("listTemplates", templatefilter="all", id=made["id"]) == {}
    with pytest.raises(Refused) as no:
        cloud.ask("deleteTemplate", id=made["id"])
    assert no.value.status == 431


def test_a_template_for_all_zones_has_an_entry_in_each_and_in_later_ones(cloud, sent, zones):
    made = cloud.ask("registerTemplate", **{**sent, "zoneid": -1})["template"]
    assert {t["zonename"] for t in made} == {"east", "west"} and all(t["crossZones"] for t in made)
    assert names(cloud, "self", showunique=True) == ["t"]
    assert names(cloud, "self", zoneid=zones["west"][0]) == ["t"]
    write(flows.store_added, _zone(cloud, "north")[2])
    assert names(cloud, "self") == ["t", "t", "t"]


def test_zones_are_named_by_one_or_by_several_parameters(cloud, sent, zones):
    cloud.account("ann")
    without = {k: v for k, v in sent.items() if k != "zoneid"}
    made = cloud.ask("registerTemplate", **without, zoneids="-1")["template"]
    assert {t["zonename"] for t in made} == {"east", "west"} and all(t["crossZones"] for t in made)
    both = [zones["west"][0], zones["east"][0], zones["west"][0]]
    made = cloud.ask("registerTemplate", user="ann", **without, zoneids=both)["template"]
    assert {t["zonename"] for t in made} == {"east", "west"} and not any(t["crossZones"] for t in made)
    for wrong, said in (
        ({}, "zoneid is missing"), ({"zoneids": "-1"}, "zoneids=-1 is for root"),
        ({"zoneids": [zones["east"][0], "nowhere"]}, "zoneids value=nowhere"),
        ({"zoneids": both, "zoneid": both[0]}, "exclude each other"),
    ):  # fmt: skip
        with pytest.raises(Refused, match=said):
            cloud.ask("registerTemplate", user="ann", **without, **wrong)


def test_the_built_in_one_is_featured_once_it_is_there(cloud, zones):
    cloud.account("ann")
    assert names(cloud, "featured") == []
    for _ in range(2):
        write(flows.have_builtin, zones["east"][1])
    assert names(cloud, "featured", user="ann") == ["CentOS 5.6 (64-bit) no GUI (Simulator)"]
    assert "SystemVM Template (simulator)" in names(cloud, "all")
    assert "SystemVM Template (simulator)" not in names(cloud, "executable", user="ann")


def test_the_system_template_is_ready_where_its_image_stands(cloud, zones):
    assert cloud.ask("listTemplates", templatefilter="all", hypervisor="KVM") == {}
    _, zone, store = zones["east"]
    write(flows.have_system_template, zone, store, path="template/tmpl/1/3/x.qcow2", size=5, physical_size=4)
    (seen,) = cloud.ask("listTemplates", templatefilter="all", hypervisor="KVM")["template"]
    assert (seen["templatetype"], seen["isready"], seen["size"], seen["physicalsize"]) == ("SYSTEM", True, 5, 4)
    with pytest.raises(Refused) as no:
        cloud.ask("deleteTemplate", id=seen["id"])
    assert "issystem=true" in no.value.text


def test_who_sees_what(cloud, sent):
    for name in ("ann", "bob"):
        cloud.account(name)
    private = cloud.ask("registerTemplate", user="ann", **{**sent, "name": "private"})["template"][0]
    cloud.ask("registerTemplate", user="ann", **{**sent, "name": "public"}, ispublic=True)
    assert names(cloud, "self", user="ann") == ["private", "public"]
    assert names(cloud, "community", user="bob") == ["public"]
    assert names(cloud, "executable", user="bob") == ["public"]
    assert names(cloud, "self", user="bob") == []
    for command, more in (("updateTemplate", {"name": "x"}), ("deleteTemplate", {}), ("listTemplatePermissions", {})):
        with pytest.raises(Refused) as no:
            cloud.ask(command, user="bob", id=private["id"], **more)
        assert no.value.status == 431
    cloud.ask("updateTemplatePermissions", user="ann", id=private["id"], op="add", accounts="bob")
    assert names(cloud, "shared", user="bob") == ["private"]
    assert names(cloud, "sharedexecutable", user="bob") == ["private"]
    told = cloud.ask("listTemplatePermissions", user="ann", id=private["id"])["templatepermission"]
    assert told["account"] == ["bob"] and told["ispublic"] is False
    cloud.ask("updateTemplatePermissions", user="ann", id=private["id"], op="remove", accounts="bob")
    assert names(cloud, "shared", user="bob") == []
    with pytest.raises(Refused) as no:
        cloud.ask("updateTemplatePermissions", user="ann", id=private["id"], op="bogus", accounts="bob")
    assert "Given operation is 'bogus'" in no.value.text
    with pytest.raises(Refused):
        names(cloud, "all", user="bob")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"hypervisor": "Nonsense"}, "Hypervisor Type: Nonsense is invalid"),
        ({"format": "FLOPPY"}, "does not run on"),
        ({"url": "ftp:/bad"}, "no http or https URL"),
        ({"url": "file:///etc/passwd"}, "no http or https URL"),
        ({"url": "http://u:p@h/x.qcow2"}, "holds a user or a password"),
        ({"ostypeid": ""}, "guest OS type"),
        ({"zoneid": ""}, "zoneid is missing"),
        ({"zoneid": "nonsense"}, "Invalid parameter zoneid"),
        ({"checksum": "xyz"}, "checksum=xyz is none"),
        ({"templatetype": "SYSTEM"}, "none of USER, VNF, BUILTIN"),
    ],
)
def test_what_cannot_be_registered(cloud, sent, wrong, told):
    with pytest.raises(Refused) as no:
        cloud.ask("registerTemplate", **{**sent, **wrong})
    assert no.value.status == 431 and told in no.value.text
    assert names(cloud, "self") == []


def test_users_feature_nothing_and_without_storage_nothing_is_fetched(cloud, sent, zones):
    cloud.account("ann")
    for wrong in ({"isfeatured": True}, {"zoneid": -1}):
        with pytest.raises(Refused) as no:
            cloud.ask("registerTemplate", user="ann", **{**sent, **wrong})
        assert "root administrators" in no.value.text
    north = cloud.ask("createZone", name="north", **ZONE)["zone"]["id"]
    with pytest.raises(Refused) as no:
        cloud.ask("registerTemplate", **{**sent, "hypervisor": "KVM", "zoneid": north, "url": "http://h.example/x"})
    assert "no secondary storage" in no.value.text


def test_a_domain_may_keep_its_public_templates_to_itself(cloud, sent):
    for name, domain in (("ann", "/a/"), ("kid", "/a/k/"), ("eve", "/c/")):
        cloud.account(name, domain=domain)
    made = cloud.ask("registerTemplate", user="ann", **sent, ispublic=True)["template"][0]
    everybody = ("ann", "kid", "eve")
    assert [names(cloud, "community", user=u) for u in everybody] == [["t"]] * 3
    domain = cloud.ask("listDomains", name="a")["domain"][0]["id"]
    setting = "share.public.templates.with.other.domains"
    cloud.ask("updateConfiguration", name=setting, value="false", domainid=domain)
    assert [names(cloud, "community", user=u) for u in everybody] == [["t"], ["t"], []]
    with pytest.raises(Refused):
        cloud.job("extractTemplate", user="eve", id=made["id"], mode="HTTP_DOWNLOAD")
    cloud.ask("updateTemplatePermissions", id=made["id"], op="add", accounts="ann")
    cloud.ask("updateConfiguration", name=setting, value="true", domainid=domain)
    cloud.ask("updateConfiguration", name=setting, value="false")
    assert [names(cloud, "community", user=u) for u in everybody] == [["t"]] * 3
    cloud.ask("resetConfiguration", name=setting, domainid=domain)
    assert [names(cloud, "community", user=u) for u in everybody] == [["t"], ["t"], []]


def test_a_builtin_template_counts_for_nobody_and_an_appliance_is_found(cloud, sent):
    cloud.ask("registerTemplate", **{**sent, "name": "router", "templatetype": "vnf"})
    plain = cloud.ask("registerTemplate", **{**sent, "name": "plain"})["template"][0]
    assert names(cloud, "self", isvnf=True) == ["router"] and names(cloud, "self", isvnf=False) == ["plain"]
    assert names(cloud, "self", templatetype="VNF") == ["router"]

    def used():
        return {k: v for k, v in used_of(2).items() if k in ("template", "secondary_storage")}

    before = used()
    assert cloud.ask("updateTemplate", id=plain["id"], templatetype="BUILTIN")["template"]["templatetype"] == "BUILTIN"
    assert used()["template"] == before["template"] - 1
    assert used()["secondary_storage"] == before["secondary_storage"] - plain["physicalsize"]
    cloud.ask("updateTemplate", id=plain["id"], templatetype="USER")
    assert used() == before
    cloud.account("ann")
    for wrong in ("BUILTIN", "SYSTEM", "ROUTING"):
        with pytest.raises(Refused):
            cloud.ask("registerTemplate", user="ann", **{**sent, "templatetype": wrong})
