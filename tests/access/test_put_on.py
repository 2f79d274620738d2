"""Tags and annotations on each kind that carries them: the kinds are the product's own tables, so a new one joins."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from mgmt_server.api import callers
from mgmt_server.db import new_uuid, now, reading, write
from mgmt_server.model.account import Account, Project, ProjectMember, User
from mgmt_server.model.event import Annotation, Tag
from mgmt_server.model.network import Network
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.tag.kinds import ANNOTATED, OF_USERS, TAGGED
from mgmt_server.resources.tag.timers import follow
from tests.access.world import row
from tests.cloud import Refused

# What a plain row of a table needs besides, to be of a kind.
SHAPED: dict[str, dict[str, Any]] = {
    "VR": {"kind": "DomainRouter"}, "SYSTEM_VM": {"kind": "ConsoleProxy"}, "ISO": {"format": "ISO"},
    "Template": {"format": "QCOW2"}, "TEMPLATE": {"format": "QCOW2"}, "VM": {"kind": "User"},
    "UserVm": {"kind": "User"},
}  # fmt: skip
OF_ROOT = sorted(set(ANNOTATED) - set(OF_USERS))


@pytest.fixture
def two(world):
    """Two new accounts of one domain, each with a machine and a disk, to which other things refer."""
    names = []
    for _ in range(2):
        names.append(world.cloud.account(f"put-{new_uuid()[:8]}", domain="/a/b/"))
        write(_with_machine, names[-1])
    return names


def _with_machine(tx, name):
    owner = tx.scalar(select(Account).where(Account.name == name))
    for table in (Vm, Volume, Network):
        row(tx, table, owner)


def thing(name, kinds, whose):
    """The uuid of a row of a kind that an account owns: the account itself and its user where that is the kind."""
    kind = kinds[name]

    def make(tx):
        owner = tx.scalar(select(Account).where(Account.name == whose))
        if kind.table is Account:
            return owner.uuid
        if kind.table is User:
            return tx.scalar(select(User.uuid).where(User.account_id == owner.id))
        if kind.table is Project:
            purse = Account(name=f"of-{whose}", type=5, domain_id=owner.domain_id)
            tx.add(purse)
            tx.flush()
            made = row(tx, Project, purse)
            tx.add(ProjectMember(project_id=made.id, account_id=owner.id, role="Admin"))
            return made.uuid
        made = row(tx, kind.table, owner, **SHAPED.get(name, {}))
        tx.flush()
        there = tx.scalar(select(kind.table.id).where(kind.table.id == made.id, kind.there()))
        assert there, f"say in SHAPED what makes a row of {kind.table.__name__} a {name}"
        return made.uuid

    made = write(make)
    callers.forget()
    return made


def gone(kinds, name, uuid):
    def remove(tx):
        tx.scalar(select(kinds[name].table).where(kinds[name].table.uuid == uuid)).removed = now()

    write(remove)


def told(world, command, name, uuid, user, **more):
    """Status and text of a refusal, without the id."""
    with pytest.raises(Refused) as no:
        world.cloud.ask(command, user=user, **{name: uuid}, **more)
    return no.value.status, no.value.text.replace(uuid, "ID")


@pytest.mark.parametrize("name", TAGGED)
def test_each_kind_that_is_tagged(world, two, name):
    mine, other = two
    cloud, uuid = world.cloud, thing(name, TAGGED, mine)
    sent = {"resourcetype": name, "tags[0].key": "env", "tags[0].value": "prod"}
    refused = [told(world, "createTags", "resourceids", one, other, **sent) for one in (uuid, new_uuid())]
    assert refused[0] == refused[1] and refused[0][0] == 431

    cloud.job("createTags", user=mine, resourceids=uuid, **sent)
    within = {"projectid": uuid} if TAGGED[name].table is Project else {}
    (tag,) = cloud.ask("listTags", user=mine, resourceid=uuid, resourcetype=name, **within)["tag"]
    assert (tag["key"], tag["value"], tag["resourcetype"], tag["resourceid"]) == ("env", "prod", name, uuid)
    assert cloud.ask("listTags", user=other, resourceid=uuid, listall=True) == {}
    refused = [told(world, "deleteTags", "resourceids", one, other, resourcetype=name) for one in (uuid, new_uuid())]
    assert refused[0] == refused[1] and refused[0][0] == 431

    cloud.job("deleteTags", user=mine, resourceids=uuid, resourcetype=name, **{"tags[0].key": "env"})
    assert cloud.ask("listTags", user=mine, resourceid=uuid, **within) == {}
    cloud.job("createTags", user=mine, resourceids=uuid, **sent)
    gone(TAGGED, name, uuid)
    assert cloud.ask("listTags", listall=True, resourceid=uuid) == {}
    follow()
    assert left(Tag, Tag.resource_uuid, uuid) == 0


@pytest.mark.parametrize("name", OF_USERS)
def test_each_kind_that_users_annotate(world, two, name):
    mine, other = two
    cloud, uuid = world.cloud, thing(name, ANNOTATED, mine)
    sent = {"entitytype": name, "annotation": "rotate in May"}
    refused = [told(world, "addAnnotation", "entityid", one, other, **sent) for one in (uuid, new_uuid())]
    assert refused[0] == refused[1] and refused[0][0] == 431
    made = annotated(cloud, mine, name, uuid)
    refused = [told(world, "removeAnnotation", "id", one, other) for one in (made["id"], new_uuid())]
    assert refused[0][0] == refused[1][0] == 431
    asked = [told(world, "listAnnotations", "entityid", one, other, entitytype=name) for one in (uuid, new_uuid())]
    assert asked[0] == asked[1] and asked[0][0] == 431
    assert cloud.ask("listAnnotations", user=other, id=made["id"]) == {}
    taken_away(cloud, mine, name, uuid, made["id"])


@pytest.mark.parametrize("name", OF_ROOT)
def test_each_kind_that_root_administrators_annotate(world, two, name):
    cloud, uuid = world.cloud, thing(name, ANNOTATED, two[0])
    for user in (two[0], "dom", "res"):
        refused = told(world, "addAnnotation", "entityid", uuid, user, entitytype=name, annotation="x")
        assert refused[0] == 431 and "no kind of resource" in refused[1]
    made = annotated(cloud, "admin", name, uuid)
    assert cloud.ask("listAnnotations", user="dom", id=made["id"]) == {}
    taken_away(cloud, "admin", name, uuid, made["id"])


def annotated(cloud, user, name, uuid):
    sent = {"entitytype": name, "entityid": uuid}
    made = cloud.ask("addAnnotation", user=user, annotation="rotate in May", **sent)["annotation"]
    assert cloud.ask("listAnnotations", user=user, **sent)["annotation"] == [made]
    assert (made["entitytype"], made["entityid"], made["annotation"]) == (name, uuid, "rotate in May")
    assert made["entityname"] and made["username"] == user
    return made


def taken_away(cloud, user, name, uuid, annotation):
    cloud.ask("removeAnnotation", user=user, id=annotation)
    assert cloud.ask("listAnnotations", user=user, entitytype=name, entityid=uuid) == {}
    annotated(cloud, user, name, uuid)
    gone(ANNOTATED, name, uuid)
    if user != "admin":
        assert cloud.ask("listAnnotations", user=user) == {}
    follow()
    assert left(Annotation, Annotation.entity_uuid, uuid) == 0


def left(table, column, uuid):
    with reading() as session:
        return session.scalar(select(func.count()).select_from(table).where(column == uuid))
