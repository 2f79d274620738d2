"""What a machine's guest reads at its start, given anew and told: its password, its keys, its user data."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Length, Operate, Use
from mgmt_server.errors import InvalidValue, ParameterError
from mgmt_server.jobs import Accepted, Job
from mgmt_server.model.account import Account, Domain, Project
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import EVERYONE, ROOT
from mgmt_server.model.userdata import UserData
from mgmt_server.model.vm import Vm
from mgmt_server.resources.userdata.rules import Given
from mgmt_server.resources.vm.deploy import first_password, key_pairs
from mgmt_server.resources.vm.flows import password_of
from mgmt_server.resources.vm.lifecycle import only_users
from mgmt_server.resources.vm.telling import give_user_data, tell_routers
from mgmt_server.resources.vm.views import vm_view

Text = Annotated[str, Length(1_048_576)]


@command("resetPasswordForVirtualMachine", roles=EVERYONE, answers=vm_view, event="VM.RESETPASSWORD")
def reset_password(ctx: Context, id: Operate[Vm], password: str | None = None) -> Accepted:
    """Give a stopped machine a new password, which its guest takes at its next start and the answer tells.

    id: the machine
    password: the password; made up by default
    """
    _check_stopped(id, "its password is reset")
    template = _template(ctx, id)
    if template is None or not template.password_enabled:
        raise InvalidValue("The machine's template is not password enabled: its guest fetches no password")
    id.password = first_password(template, password)
    ctx.describe(f"resetting the password of machine {id.display_name}")
    return ctx.start(tell, id, True)


@command("resetSSHKeyForVirtualMachine", roles=EVERYONE, answers=vm_view, event="VM.RESETSSHKEY")
def reset_keys(
    ctx: Context,
    id: Operate[Vm],
    keypair: str | None = None,
    keypairs: list[str] | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> Accepted:
    """Give a stopped machine other SSH keys, and a new password where its template takes one.

    id: the machine
    keypair: name of a key pair
    keypairs: names of key pairs, instead
    account: whose key pairs they are; the machine's account by default
    domainid: that account's domain
    projectid: the project that they are of
    """
    _check_stopped(id, "its keys are reset")
    names = list(dict.fromkeys([*([keypair] if keypair else []), *(keypairs or [])]))
    if not names:
        raise ParameterError("keypair and keypairs are missing: send one of them")
    named = account or projectid is not None
    whose = owner(ctx, account, domainid, projectid) if named else ctx.session.get_one(Account, id.account_id)
    if whose.id != id.account_id:
        raise InvalidValue(f"The key pairs of {whose.name} are not the machine's: name those of its own account")
    id.key_pairs, id.public_keys = key_pairs(ctx.session, whose, names)
    template = _template(ctx, id)
    renewed = template is not None and template.password_enabled
    if renewed:
        id.password = first_password(template, None)
    ctx.describe(f"resetting the SSH keys of machine {id.display_name}")
    return ctx.start(tell, id, renewed)


@command("resetUserDataForVirtualMachine", roles=ROOT, answers=vm_view, event="VM.RESETUSERDATA")
def reset_user_data(
    ctx: Context,
    id: Operate[Vm],
    userdata: Text | None = None,
    userdataid: Use[UserData] | None = None,
    userdatadetails: dict[str, str] | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> Vm:
    """Give a stopped machine other user data. Without any it has that of its template, or none.

    id: the machine
    userdata: what it reads at its next start, base64
    userdataid: registered user data that it reads instead
    userdatadetails: values of the variables in its user data
    account: whose user data it is; the machine's account alone
    domainid: that account's domain
    projectid: the project that it is of
    """
    _check_stopped(id, "its user data is reset")
    if (account or projectid is not None) and owner(ctx, account, domainid, projectid).id != id.account_id:
        raise InvalidValue("The user data has to be of the machine's own account")
    give_user_data(ctx, id, Given(userdata, userdataid, userdatadetails or {}))
    ctx.describe(f"resetting the user data of machine {id.display_name}")
    return id


@command("getVMPassword", roles=EVERYONE, key="password", reads=True)
def get_password(ctx: Context, id: Operate[Vm]) -> dict[str, Any]:
    """Tell a machine's password, encrypted with the public key of its RSA key pair.

    id: the machine
    """
    only_users(id)
    if not id.password:
        raise InvalidValue(f"No password for VM with id '{id.uuid}' found: its template takes none")
    for line in (id.public_keys or "").splitlines():
        try:
            key = serialization.load_ssh_public_key(line.encode())
        except (ValueError, UnsupportedAlgorithm):
            continue
        if isinstance(key, rsa.RSAPublicKey):
            hidden = key.encrypt(id.password.encode(), padding.PKCS1v15())
            return {"encryptedpassword": base64.b64encode(hidden).decode()}
    raise InvalidValue(
        f"No password for VM with id '{id.uuid}' can be told: it has no RSA key pair to encrypt it with; "
        "resetSSHKeyForVirtualMachine gives it one"
    )


@command("getVirtualMachineUserData", roles=EVERYONE, key="virtualmachineuserdata", reads=True)
def get_user_data(ctx: Context, virtualmachineid: Use[Vm]) -> dict[str, Any]:
    """Tell what a machine reads at its start.

    virtualmachineid: the machine
    """
    only_users(virtualmachineid)
    told = {"userdata": virtualmachineid.user_data} if virtualmachineid.user_data else {}
    return {"virtualmachineid": virtualmachineid.uuid, **told}


def tell(job: Job, vm_id: int, password: bool) -> None:
    """Have the routers of the machine's networks hand out what is new."""
    tell_routers(job, vm_id)
    if password:
        job.answer(password=job.write(password_of, vm_id))


def _check_stopped(vm: Vm, what: str) -> None:
    only_users(vm)
    if vm.state != "Stopped":
        raise InvalidValue(f"The machine {vm.display_name} is {vm.state}: stop it before {what}")


def _template(ctx: Context, vm: Vm) -> Template | None:
    return ctx.session.get(Template, vm.template_id) if vm.template_id is not None else None
