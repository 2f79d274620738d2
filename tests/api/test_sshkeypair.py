"""Key pairs over the wire."""

import pytest
from cryptography.hazmat.primitives import serialization

from mgmt_server.resources.sshkeypair.keys import pair
from tests.cloud import Refused

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl user@host"
MARK = "65:96:2d:fc:e8:d5:a9:11:64:0c:0f:ea:00:6e:5b:bd"


def test_the_private_key_is_told_once_and_fits(cloud):
    made = cloud.ask("createSSHKeyPair", name="k")["keypair"]
    private = serialization.load_pem_private_key(made.pop("privatekey").encode(), None)
    assert private.key_size >= 2048
    assert (made["name"], made["account"], made["domain"]) == ("k", "admin", "ROOT")
    (listed,) = cloud.ask("listSSHKeyPairs", name="k")["sshkeypair"]
    assert listed == made
    with pytest.raises(Refused) as no:
        cloud.ask("createSSHKeyPair", name="k")
    assert no.value.status == 431 and "A key pair with name 'k' already exists" in no.value.text


def test_a_public_key_is_registered_once(cloud):
    made = cloud.ask("registerSSHKeyPair", name="r", publickey=KEY)["keypair"]
    assert made["fingerprint"] == MARK
    with pytest.raises(Refused) as no:
        cloud.ask("registerSSHKeyPair", name="r2", publickey=KEY)
    assert "it is called 'r'" in no.value.text
    cloud.account("ann")
    assert cloud.ask("registerSSHKeyPair", user="ann", name="r", publickey=KEY)["keypair"]["account"] == "ann"
    assert cloud.ask("deleteSSHKeyPair", name="r") == {"success": True}
    assert cloud.ask("listSSHKeyPairs") == {}
    assert cloud.ask("listSSHKeyPairs", user="ann")["count"] == 1
    cloud.ask("registerSSHKeyPair", name="r", publickey=KEY)


@pytest.mark.parametrize("key", ["nonsense", 'command="rm" ' + KEY, "ssh-rsa AAAA"])
def test_what_is_no_key_is_refused(cloud, key):
    with pytest.raises(Refused) as no:
        cloud.ask("registerSSHKeyPair", name="bad", publickey=key)
    assert no.value.status == 431 and "Public key is invalid" in no.value.text
    assert cloud.ask("listSSHKeyPairs") == {}


def test_a_stranger_sees_and_deletes_nothing(cloud):
    cloud.account("ann")
    cloud.account("bob")
    cloud.ask("registerSSHKeyPair", user="ann", name="r", publickey=pair()[1])
    assert cloud.ask("listSSHKeyPairs", user="bob", listall=True) == {}
    with pytest.raises(Refused) as no:
        cloud.ask("deleteSSHKeyPair", user="bob", name="r")
    assert "does not exist for account bob" in no.value.text
    assert cloud.ask("listSSHKeyPairs", user="ann")["count"] == 1
