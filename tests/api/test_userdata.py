"""Registered user data, and templates that bring some."""

import base64
import email

import pytest

from mgmt_server.errors import InvalidValue
from mgmt_server.resources.userdata.rules import joined
from tests.cloud import Refused
from tests.simulated import build


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_it_is_registered_under_a_name_once_and_forgotten(cloud):
    made = cloud.ask("registerUserData", name="u", userdata=encoded("#!/bin/sh\n"), params="size, colour")["userdata"]
    assert (made["name"], made["params"], made["account"]) == ("u", "size,colour", "admin")
    assert cloud.ask("listUserData", name="u")["userdata"] == [made]
    with pytest.raises(Refused) as no:
        cloud.ask("registerUserData", name="u", userdata=encoded("x"))
    assert no.value.status == 431 and "already exists" in no.value.text
    cloud.account("ann")
    assert cloud.ask("listUserData", user="ann", listall=True) == {}
    with pytest.raises(Refused):
        cloud.ask("deleteUserData", user="ann", id=made["id"])
    assert cloud.ask("deleteUserData", id=made["id"]) == {"success": True}
    assert cloud.ask("listUserData") == {}


@pytest.mark.parametrize(
    "sent,told",
    [
        ({"userdata": "no base64!"}, "no base64"),
        ({"userdata": encoded("x" * 33_000)}, "vm.userdata.max.length"),
        ({"userdata": encoded("x"), "params": "a b"}, "is no name"),
        ({"userdata": encoded("x"), "params": "instance-id"}, "is told to every machine anyway"),
    ],
)
def test_what_cannot_be_read_by_a_machine_is_refused(cloud, sent, told):
    with pytest.raises(Refused) as no:
        cloud.ask("registerUserData", name="bad", **sent)
    assert no.value.status == 431 and told in no.value.text


def test_a_template_brings_user_data_and_says_so(cloud):
    zone = build()
    made = cloud.ask("registerUserData", name="u", userdata=encoded("x"), params="size")["userdata"]
    cloud.ask("updateTemplate", id=zone["template"], passwordenabled=False)
    with pytest.raises(Refused) as no:  # the template is the system's
        cloud.ask("linkUserDataToTemplate", templateid=zone["template"], userdataid=made["id"])
    assert "belong to different accounts" in no.value.text
    for wrong in ({}, {"templateid": zone["template"], "isoid": zone["template"]}, {"isoid": zone["template"]}):
        with pytest.raises(Refused):
            cloud.ask("linkUserDataToTemplate", userdataid=made["id"], **wrong)
    told = cloud.ask("linkUserDataToTemplate", templateid=zone["template"])["template"]
    assert told["id"] == zone["template"] and "userdataid" not in told


def test_pieces_joined_are_taken_apart_again(cloud):
    whole = base64.b64decode(joined(encoded("#cloud-config\na: 1\n"), encoded("#!/bin/sh\ntrue\n")))
    parts = email.message_from_bytes(whole).get_payload()
    assert [p.get_content_type() for p in parts] == ["text/cloud-config", "text/x-shellscript"]
    assert parts[1].get_payload(decode=True) == b"#!/bin/sh\ntrue\n"
    with pytest.raises(InvalidValue):
        joined(encoded("x" * 20_000), encoded("y" * 20_000))
