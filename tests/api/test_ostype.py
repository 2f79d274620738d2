"""Guest operating systems over the wire."""

import pytest
from sqlalchemy import select

from mgmt_server.db import write
from mgmt_server.model.template import OsType, Template
from tests.cloud import Refused
from tests.simulated import build


def test_all_shown_types_are_there_under_their_names(cloud):
    cloud.account("ann")
    assert cloud.ask("listOsTypes", user="ann", pagesize=1, page=1)["count"] == 375
    found = cloud.ask("listOsTypes", user="ann", description="CentOS 7")["ostype"]
    assert [t["name"] for t in found] == ["CentOS 7", "CentOS 7.1", "CentOS 7.2"]
    assert {t["oscategoryname"] for t in found} == {"CentOS"}
    (other,) = cloud.ask("listOsTypes", description="Other Linux (64-bit)")["ostype"]
    assert cloud.ask("listOsTypes", id=99)["ostype"] == [other]
    assert cloud.ask("listOsTypes", fordisplay=False)["count"] == 2


def test_categories_are_listed_in_their_order_and_removed_ones_are_not(cloud):
    names = [c["name"] for c in cloud.ask("listOsCategories")["oscategory"]]
    assert names[:3] == ["Ubuntu", "Debian", "Fedora"] and len(names) == 11


def test_a_category_is_added_changed_and_deleted_unless_it_is_used(cloud):
    made = cloud.ask("addOsCategory", name="Mine")["oscategory"]
    assert made["isfeatured"] is False
    assert cloud.ask("updateOsCategory", id=made["id"], name="Ours", isfeatured=True)["oscategory"]["name"] == "Ours"
    assert cloud.ask("deleteOsCategory", id=made["id"]) == {"success": True}
    used = cloud.ask("listOsCategories", name="Debian")["oscategory"][0]
    with pytest.raises(Refused) as no:
        cloud.ask("deleteOsCategory", id=used["id"])
    assert no.value.status == 536


def test_categories_are_listed_by_what_the_caller_could_deploy(cloud):
    zone = build()

    def make(tx):
        template = tx.scalar(select(Template).where(Template.uuid == zone["template"]))
        template.os_type_id = tx.scalar(select(OsType.id).where(OsType.name == "CentOS 7"))

    write(make)

    def names(**sent):
        return [c["name"] for c in cloud.ask("listOsCategories", **sent).get("oscategory", [])]

    assert names(zoneid=zone["zone"]) == names(arch="x86_64") == names(isiso=False, isvnf=False) == ["CentOS"]
    assert names(arch="aarch64") == names(isiso=True) == names(isvnf=True) == []
