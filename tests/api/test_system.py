"""What the installation says of itself."""

import base64
import hashlib
import hmac

import pytest
from sqlalchemy import select

from mgmt_server.db import reading
from mgmt_server.model.account import User
from tests.cloud import Refused


def secret_of(name):
    with reading() as session:
        return session.execute(select(User.uuid, User.secret_key).where(User.username == name)).one()


def test_the_cloud_has_one_name_that_users_sign_with_their_own_key(cloud):
    cloud.account("ann")
    ann, secret = secret_of("ann")
    told = cloud.ask("getCloudIdentifier", user="ann", userid=ann)["cloudidentifier"]
    signed = hmac.new(secret.encode(), told["cloudidentifier"].encode(), hashlib.sha1).digest()
    assert told["userid"] == ann and base64.b64decode(told["signature"]) == signed
    admin, _ = secret_of("admin")
    again = cloud.ask("getCloudIdentifier", userid=admin)["cloudidentifier"]
    assert again["cloudidentifier"] == told["cloudidentifier"] and again["signature"] != told["signature"]
    with pytest.raises(Refused) as no:
        cloud.ask("getCloudIdentifier", user="ann", userid=admin)
    assert no.value.status == 431
    assert cloud.ask("listConfigurations", name="cloud.identifier") == {}


def test_the_types_of_affinity_groups_are_the_protocols(cloud):
    told = cloud.ask("listAffinityGroupTypes")["affinityGroupType"]
    assert [t["type"] for t in told] == [
        "host anti-affinity", "host affinity", "non-strict host anti-affinity", "non-strict host affinity"]  # fmt: skip
    assert cloud.ask("listAffinityGroupTypes", keyword="non-strict")["count"] == 2
    assert len(cloud.ask("listAffinityGroupTypes", page=2, pagesize=3)["affinityGroupType"]) == 1
