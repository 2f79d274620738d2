"""Annotations over the wire."""

import pytest

from tests.api.infrastructure import cluster, host, zone_with_pod
from tests.cloud import Refused


@pytest.fixture
def keys(cloud):
    """Key pairs of ann and bob: things that users own and that need no host."""
    found = {}
    for name in ("ann", "bob"):
        cloud.account(name)
        cloud.ask("createSSHKeyPair", user=name, name=f"key-{name}")
        found[name] = cloud.ask("listSSHKeyPairs", user=name)["sshkeypair"][0]["id"]
    return found


def remark(cloud, uuid, text="rotate in May", user="ann", **more):
    sent = {"entitytype": "SSH_KEYPAIR", "entityid": uuid, "annotation": text, **more}
    return cloud.ask("addAnnotation", user=user, **sent)["annotation"]


def test_a_remark_is_left_seen_and_taken_away(cloud, keys):
    made = remark(cloud, keys["ann"])
    assert (made["annotation"], made["entitytype"], made["entityid"]) == ("rotate in May", "SSH_KEYPAIR", keys["ann"])
    assert (made["username"], made["entityname"], made["adminsonly"]) == ("ann", "key-ann", False)
    (seen,) = cloud.ask("listAnnotations", user="ann", entitytype="ssh_keypair", entityid=keys["ann"])["annotation"]
    assert seen == made
    assert cloud.ask("listSSHKeyPairs", user="ann")["sshkeypair"][0]["hasannotations"] is True
    assert cloud.ask("listAnnotations", annotationfilter="self") == {}
    assert cloud.ask("listAnnotations", keyword="may", userid=made["userid"])["count"] == 1
    gone = cloud.ask("removeAnnotation", user="ann", id=made["id"])["annotation"]
    assert gone["removed"]
    assert cloud.ask("listAnnotations", user="ann") == {}
    assert cloud.ask("listSSHKeyPairs", user="ann")["sshkeypair"][0]["hasannotations"] is False


def test_foreign_things_take_and_show_no_remarks(cloud, keys):
    made = remark(cloud, keys["bob"], user="bob")
    missing = "00000000-0000-4000-8000-000000000000"
    for command, name, more in (
        ("addAnnotation", "entityid", {"entitytype": "SSH_KEYPAIR", "annotation": "x"}),
        ("listAnnotations", "entityid", {"entitytype": "SSH_KEYPAIR"}),
        ("removeAnnotation", "id", {}),
    ):
        foreign = made["id"] if name == "id" else keys["bob"]
        told = []
        for uuid in (foreign, missing):
            with pytest.raises(Refused) as no:
                cloud.ask(command, user="ann", **{name: uuid}, **more)
            told.append((no.value.status, no.value.text.replace(uuid, "X")))
        assert told[0] == told[1], command
    assert cloud.ask("listAnnotations", user="ann") == {}
    assert cloud.ask("listAnnotations", user="ann", id=made["id"]) == {}


def test_a_remark_for_administrators_is_unseen_by_users(cloud, keys):
    made = remark(cloud, keys["ann"], user="admin", adminsonly=True)
    assert cloud.ask("listAnnotations", user="ann") == {}
    assert cloud.ask("listSSHKeyPairs", user="ann")["sshkeypair"][0]["hasannotations"] is False
    assert cloud.ask("listSSHKeyPairs", listall=True, name="key-ann")["sshkeypair"][0]["hasannotations"] is True
    shown = cloud.ask("updateAnnotationVisibility", id=made["id"], adminsonly=False)["annotation"]
    assert shown["adminsonly"] is False and cloud.ask("listAnnotations", user="ann")["count"] == 1
    with pytest.raises(Refused) as no:
        cloud.ask("removeAnnotation", user="ann", id=made["id"])
    assert "only who wrote" in no.value.text
    with pytest.raises(Refused):
        remark(cloud, keys["ann"], adminsonly=True)


def test_users_do_not_remark_on_what_is_the_operators(cloud, keys):
    zone = cloud.ask("createZone", name="east", networktype="Advanced", dns1="192.0.2.53", internaldns1="192.0.2.54")
    sent = {"entitytype": "ZONE", "entityid": zone["zone"]["id"], "annotation": "x"}
    with pytest.raises(Refused) as no:
        cloud.ask("addAnnotation", user="ann", **sent)
    assert "no kind of resource" in no.value.text
    assert cloud.ask("addAnnotation", **sent)["annotation"]["entityname"] == "east"
    assert cloud.ask("listZones")["zone"][0]["hasannotations"] is True
    assert cloud.ask("listAnnotations", user="ann") == {}


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"entitytype": ""}, "all needed"),
        ({"annotation": "  "}, "all needed"),
        ({"annotation": "x" * 256}, "max allowed length"),
        ({"entitytype": "SHOE"}, "no kind of resource"),
        ({"entitytype": "VM"}, "entity does not exist"),
    ],
)
def test_what_is_no_remark_is_refused(cloud, keys, sent, told):
    with pytest.raises(Refused) as no:
        cloud.ask("addAnnotation", user="ann",
                  **{"entitytype": "SSH_KEYPAIR", "entityid": keys["ann"], "annotation": "x", **sent})  # fmt: skip
    assert no.value.status == 431 and told in no.value.text


def test_hosts_and_domains_say_that_there_is_a_remark(cloud):
    zone, pod = zone_with_pod(cloud)
    made = host(cloud, zone, pod, cluster(cloud, zone, pod))
    assert cloud.ask("listHosts", id=made["id"])["host"][0]["hasannotations"] is False
    domain = cloud.ask("listDomains", name="ROOT")["domain"][0]["id"]
    for kind, uuid in (("HOST", made["id"]), ("DOMAIN", domain)):
        cloud.ask("addAnnotation", entitytype=kind, entityid=uuid, annotation="fan is loud")
    assert cloud.ask("listHosts", id=made["id"])["host"][0]["hasannotations"] is True
    assert cloud.ask("listDomains", id=domain)["domain"][0]["hasannotations"] is True
