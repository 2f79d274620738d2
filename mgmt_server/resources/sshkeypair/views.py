"""Key pairs as clients see them."""

from __future__ import annotations

from mgmt_server.api.view import View
from mgmt_server.model.vm import SshKeyPair
from mgmt_server.resources.annotation.marks import has_annotations
from mgmt_server.resources.views import owner_fields, owner_joins

ssh_key_pair_view = View(
    "sshkeypair",
    SshKeyPair,
    response="SSHKeyPairResponse",
    keyword=(SshKeyPair.name, SshKeyPair.fingerprint),
    joins=owner_joins(SshKeyPair),
    id=SshKeyPair.uuid,
    name=SshKeyPair.name,
    fingerprint=SshKeyPair.fingerprint,
    hasannotations=has_annotations("SSH_KEYPAIR", SshKeyPair.uuid),
    **owner_fields(path=False),
)
