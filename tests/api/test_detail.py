"""Details over the wire."""

import pytest
from sqlalchemy import select

from mgmt_server.agent.domain import ALLOWED
from mgmt_server.db import write
from mgmt_server.model.account import Account
from mgmt_server.model.vm import Volume
from mgmt_server.model.zone import Zone
from mgmt_server.resources.detail.flows import MOST
from mgmt_server.resources.detail.options import OPTIONS
from mgmt_server.resources.vm.tuning import FORMS
from tests.cloud import Refused


@pytest.fixture
def disk(cloud):
    cloud.ask("createZone", name="east", networktype="Advanced", dns1="192.0.2.53", internaldns1="192.0.2.54")
    cloud.account("ann")
    cloud.account("bob")

    def make(tx):
        owner = tx.scalar(select(Account).where(Account.name == "ann"))
        row = Volume(
            name="d", size=1, zone_id=tx.scalar(select(Zone.id)), account_id=owner.id, domain_id=owner.domain_id
        )
        tx.add(row)
        tx.flush()
        return row.uuid

    return write(make)


def test_details_are_put_on_changed_and_taken_off(cloud, disk):
    what = {"resourceid": disk, "resourcetype": "Volume"}
    cloud.job("addResourceDetail", **what, **{"details[0].key": "a", "details[0].value": "1",
              "details[1].key": "b", "details[1].value": "2"})  # fmt: skip
    cloud.job("addResourceDetail", **what, **{"details[0].key": "a", "details[0].value": "3"})
    first, second = cloud.ask("listResourceDetails", **what)["resourcedetail"]
    assert (first["key"], first["value"], first["resourceid"], first["fordisplay"]) == ("a", "3", disk, True)
    assert (second["key"], second["value"]) == ("b", "2")
    assert cloud.ask("listResourceDetails", resourcetype="Volume", listall=True, value="2")["count"] == 1
    assert cloud.ask("listResourceDetails", resourcetype="Volume", listall=True, key="c") == {}
    cloud.job("removeResourceDetail", **what, key="a")
    assert [d["key"] for d in cloud.ask("listResourceDetails", **what)["resourcedetail"]] == ["b"]
    cloud.job("removeResourceDetail", **what)
    assert cloud.ask("listResourceDetails", **what) == {}


def test_hidden_details_are_for_root_and_what_is_foreign_for_its_owner(cloud, disk):
    what = {"resourceid": disk, "resourcetype": "Volume"}
    one = {"details[0].key": "cost", "details[0].value": "9"}
    cloud.job("addResourceDetail", **what, **one, fordisplay=False)
    assert cloud.ask("listResourceDetails", user="ann", **what) == {}
    assert cloud.ask("listResourceDetails", **what, fordisplay=False)["count"] == 1
    assert cloud.ask("listResourceDetails", **what, fordisplay=True) == {}
    cloud.job("addResourceDetail", **what, **one)
    (seen,) = cloud.ask("listResourceDetails", user="ann", **what)["resourcedetail"]
    assert seen["value"] == "9" and "fordisplay" not in seen
    assert cloud.ask("listResourceDetails", user="bob", resourcetype="Volume", listall=True) == {}
    with pytest.raises(Refused) as no:
        cloud.ask("listResourceDetails", user="bob", **what)
    assert "entity does not exist" in no.value.text
    with pytest.raises(Refused) as no:
        cloud.ask("addResourceDetail", user="ann", **what, **one)
    assert no.value.status == 432
    assert cloud.ask("listResourceDetails", user="ann", resourcetype="Zone") == {}


def test_a_resource_has_a_bounded_number_of_details(cloud, disk):
    many = {f"details[{n}].{f}": f"x{n}" for n in range(MOST + 1) for f in ("key", "value")}
    with pytest.raises(Refused) as no:
        cloud.job("addResourceDetail", resourceid=disk, resourcetype="Volume", **many)
    assert f"at most {MOST}" in no.value.text
    assert cloud.ask("listResourceDetails", resourceid=disk, resourcetype="Volume") == {}


def test_details_of_what_has_no_column_for_them_are_kept_too(cloud, disk):
    user = cloud.ask("listUsers", username="ann", listall=True)["user"][0]["id"]
    what = {"resourceid": user, "resourcetype": "user"}
    cloud.job("addResourceDetail", **what, **{"details[0].key": "floor", "details[0].value": "2"})
    assert cloud.ask("listResourceDetails", user="ann", **what)["resourcedetail"][0]["value"] == "2"


def test_the_options_told_are_those_that_hosts_take(cloud):
    told = cloud.ask("listDetailOptions", resourcetype="UserVm")["detailoptions"]["details"]
    taken = ALLOWED | FORMS
    assert told.keys() == taken.keys()
    wrong = [(k, v) for k, texts in OPTIONS["UserVm"].items() for v in texts if not taken[k].fullmatch(v)]
    assert not wrong
    assert cloud.ask("listDetailOptions", resourcetype="Volume")["detailoptions"] == {"details": {}}
