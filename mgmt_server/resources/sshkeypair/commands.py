"""Key pairs: with which users log in to their machines."""

from __future__ import annotations

from typing import Annotated, Any

from sqlalchemy import delete as delete_rows
from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Length, Use
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Account, Domain, Project
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import SshKeyPair
from mgmt_server.resources.sshkeypair.keys import fingerprint, normal, pair
from mgmt_server.resources.sshkeypair.views import ssh_key_pair_view

Key = Annotated[str, Length(5120)]


def _keep(ctx: Context, account: Account, name: str, public: str) -> SshKeyPair:
    mark = fingerprint(public)
    mine = select(SshKeyPair).where(SshKeyPair.account_id == account.id, SshKeyPair.removed.is_(None))
    ctx.session.scalar(select(Account.id).where(Account.id == account.id).with_for_update())
    if ctx.session.scalar(mine.where(SshKeyPair.name == name)) is not None:
        raise InvalidValue(f"A key pair with name '{name}' already exists: choose another name, or delete that one")
    same = ctx.session.scalar(mine.where(SshKeyPair.fingerprint == mark))
    if same is not None:
        raise InvalidValue(f"A key pair with this key already exists for this account: it is called '{same.name}'")
    row = SshKeyPair(name=name, fingerprint=mark, public_key=public, account_id=account.id, domain_id=account.domain_id)
    ctx.session.add(row)
    ctx.session.flush()
    return row


@command("createSSHKeyPair", roles=EVERYONE, answers=ssh_key_pair_view, key="keypair")
def create(
    ctx: Context,
    name: str,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> dict[str, Any]:
    """Make a key pair. The private key is answered once and kept nowhere.

    name: its name
    account: whose it shall be; with domainid
    domainid: that account's domain
    projectid: the project that it is for
    """
    private, public = pair()
    row = _keep(ctx, owner(ctx, account, domainid, projectid), name, public)
    return {"privatekey": private, **ssh_key_pair_view.one(ctx.session, ctx.caller, row.id)}


@command("registerSSHKeyPair", roles=EVERYONE, answers=ssh_key_pair_view, key="keypair", event="REGISTER.SSH.KEYPAIR")
def register(
    ctx: Context,
    name: str,
    publickey: Key,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> SshKeyPair:
    """Make a public key known under a name.

    name: its name
    publickey: the key on one line, as in authorized_keys
    account: whose it shall be; with domainid
    domainid: that account's domain
    projectid: the project that it is for
    """
    ctx.describe(f"registering SSH key pair {name}")
    return _keep(ctx, owner(ctx, account, domainid, projectid), name, normal(publickey))


@command("deleteSSHKeyPair", roles=EVERYONE)
def delete(
    ctx: Context,
    name: str,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> None:
    """Forget a key pair. Machines that have it keep it.

    name: its name
    account: whose it is; with domainid
    domainid: that account's domain
    projectid: the project that it is of
    """
    whose = owner(ctx, account, domainid, projectid)
    row = ctx.session.scalar(
        select(SshKeyPair).where(
            SshKeyPair.account_id == whose.id, SshKeyPair.name == name, SshKeyPair.removed.is_(None)
        )
    )
    if row is None:
        domain = ctx.session.get_one(Domain, whose.domain_id)
        raise InvalidValue(
            f"A key pair with name '{name}' does not exist for account {whose.name} in specified domain id",
            uuids=((domain.uuid, "domainId"),),
        )
    ctx.session.execute(delete_rows(SshKeyPair).where(SshKeyPair.id == row.id))


@command("listSSHKeyPairs", roles=EVERYONE, answers=ssh_key_pair_view)
def list_pairs(
    ctx: Context, id: Use[SshKeyPair] | None = None, name: str | None = None, fingerprint: str | None = None
) -> Rows:
    """List key pairs.

    id: this one alone
    name: those of this name
    fingerprint: those with this fingerprint
    """
    return Rows(ssh_key_pair_view).where(id=id and id.id, name=name, fingerprint=fingerprint)
