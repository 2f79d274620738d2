"""Events and alerts over the wire."""

import pytest

from mgmt_server.db import write
from mgmt_server.model.event import Alert
from tests.cloud import Refused

ZONE = {"networktype": "Advanced", "dns1": "192.0.2.53", "internaldns1": "192.0.2.54"}


def test_events_are_listed_by_what_and_when(cloud):
    zone = cloud.ask("createZone", name="east", **ZONE)["zone"]["id"]
    cloud.ask("updateZone", id=zone, dns2="192.0.2.55")
    first, second = cloud.ask("listEvents", keyword="ZONE.")["event"]
    assert (first["type"], second["type"]) == ("ZONE.EDIT", "ZONE.CREATE")
    assert (first["username"], first["account"], first["level"], first["state"]) == (
        "admin",
        "admin",
        "INFO",
        "Completed",
    )
    assert cloud.ask("listEvents", resourceid=zone)["count"] >= 1
    assert cloud.ask("listEvents", type="ZONE.CREATE", startdate="2000-01-01")["count"] == 1
    assert cloud.ask("listEvents", type="ZONE.CREATE", enddate="2000-01-01") == {}
    assert cloud.ask("listEvents", level="ERROR") == {}
    assert cloud.ask("listEvents", type="BOGUS") == {}
    with pytest.raises(Refused) as no:
        cloud.ask("listEvents", startdate="2020-01-02", enddate="2020-01-01")
    assert "before startdate" in no.value.text


def test_the_events_of_one_job_belong_together(cloud):
    os_type = cloud.ask("listOsTypes", description="Other Linux (64-bit)")["ostype"][0]["id"]
    zone = cloud.ask("createZone", name="east", **ZONE)["zone"]["id"]
    made = cloud.ask(
        "registerTemplate", name="t", url="http://h/x.qcow2", format="QCOW2", hypervisor="Simulator", ostypeid=os_type,
        zoneid=zone,
    )["template"][0]  # fmt: skip
    cloud.job("deleteTemplate", id=made["id"])
    done, scheduled = cloud.ask("listEvents", type="TEMPLATE.DELETE")["event"]
    assert (scheduled["state"], done["state"], done["parentid"]) == ("Scheduled", "Completed", scheduled["id"])
    assert cloud.ask("listEvents", startid=scheduled["id"])["count"] == 2


def test_tenants_see_their_own_events_and_no_alerts(cloud):
    cloud.account("ann")
    cloud.ask("createSSHKeyPair", user="ann", name="k")
    cloud.ask("createZone", name="east", **ZONE)
    assert all(e["account"] == "ann" for e in cloud.ask("listEvents", user="ann", listall=True).get("event", []))
    with pytest.raises(Refused) as no:
        cloud.ask("listAlerts", user="ann")
    assert no.value.status == 432


def test_alerts(cloud):
    write(lambda tx: tx.add(Alert(type=9, name="ALERT.SERVICE.DOMAINROUTER", subject="router r-4-VM fails")))
    (seen,) = cloud.ask("listAlerts", type=9)["alert"]
    assert (seen["type"], seen["description"]) == (9, "router r-4-VM fails") and seen["sent"]
    assert cloud.ask("listAlerts", type=1) == {}


def test_types_of_events(cloud):
    names = {t["name"] for t in cloud.ask("listEventTypes")["eventtype"]}
    assert {"ZONE.CREATE", "SERVICE.OFFERING.CREATE", "REGISTER.USER.KEY"} <= names
