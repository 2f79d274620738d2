"""Domains, accounts, users and roles made, used and deleted in any order; what the API lists is what a model says."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from tests.fuzz.walk import NAMES, Walk, run

PASSWORD = "Long-enough-1"  # noqa: S105
ROOT = ""  # the parent that every domain may have
LISTS = {"domain": "listDomains", "account": "listAccounts", "user": "listUsers", "role": "listRoles"}


class Tenants(Walk, RuleBasedStateMachine):
    domains, accounts, users, roles = Bundle("domains"), Bundle("accounts"), Bundle("users"), Bundle("roles")

    def __init__(self):
        super().__init__()
        self.there = {kind: {} for kind in LISTS}  # number -> (of what, name)
        self.before = {kind: set(self.listed(kind)) for kind in LISTS}
        self.role_of = {}

    def listed(self, kind):
        rows = self.cloud.ask(LISTS[kind], **({} if kind == "role" else {"listall": True})).get(kind, [])
        return {row["id"]: row["username" if kind == "user" else "name"] for row in rows}

    def of(self, kind, owner):
        return {number for number, (whose, _) in self.there[kind].items() if whose == owner}

    def gone(self, kind, number):
        del self.there[kind][number]
        assert self.ask(f"delete{kind.capitalize()}", id=number) is None, "what is gone is gone"

    @rule(target=domains, parent=st.one_of(st.just(ROOT), domains), name=NAMES)
    def make_domain(self, parent, name):
        made = self.ask("createDomain", name=name, **({"parentdomainid": parent} if parent else {}))
        taken = (parent, name) in self.there["domain"].values() or (parent and parent not in self.there["domain"])
        assert made is None or not taken
        if made is None:
            return multiple()
        self.there["domain"][made["domain"]["id"]] = (parent, name)
        return made["domain"]["id"]

    @rule(domain=domains)
    def delete_domain(self, domain):
        used = self.of("domain", domain) | self.of("account", domain)
        there = domain in self.there["domain"]
        assert (self.finish("deleteDomain", id=domain) is not None) == (there and not used)
        if there and not used:
            self.gone("domain", domain)

    @rule(target=accounts, domain=domains, role=st.one_of(st.none(), roles), name=NAMES)
    def make_account(self, domain, role, name):
        person = {"email": "a@b.example", "firstname": "A", "lastname": "B", "password": PASSWORD}
        kind = {"roleid": role} if role else {"accounttype": 0}
        made = self.ask("createAccount", username=name, account=name, domainid=domain, **person, **kind)
        lacks = domain not in self.there["domain"] or (role and role not in self.there["role"])
        assert made is None or not (lacks or (domain, name) in self.there["account"].values())
        if made is None:
            return multiple()
        account = made["account"]
        self.there["account"][account["id"]] = (domain, account["name"])
        self.there["user"][account["user"][0]["id"]] = (account["id"], name)
        self.role_of[account["id"]] = role
        return account["id"]

    @rule(account=accounts)
    def delete_account(self, account):
        done = self.finish("deleteAccount", id=account)
        assert (done is not None) == (account in self.there["account"])
        if done:
            for user in self.of("user", account):
                del self.there["user"][user]
            self.gone("account", account)

    @rule(target=users, account=accounts, name=NAMES)
    def make_user(self, account, name):
        domain, called = self.there["account"].get(account, ("", ""))
        person = {"email": "a@b.example", "firstname": "A", "lastname": "B", "password": PASSWORD}
        sent = {"account": called, "domainid": domain} if domain else {"accountid": account}
        made = self.ask("createUser", username=name, **person, **sent) if domain else None
        if made is None:
            return multiple()
        self.there["user"][made["user"]["id"]] = (account, name)
        return made["user"]["id"]

    @rule(user=users)
    def delete_user(self, user):
        done = self.ask("deleteUser", id=user)
        assert (done is not None) == (user in self.there["user"])
        if done:
            self.gone("user", user)

    @rule(target=roles, name=NAMES)
    def make_role(self, name):
        made = self.ask("createRole", name=name, type="User")
        assert made is None or name not in {n for _, n in self.there["role"].values()}
        if made is None:
            return multiple()
        self.there["role"][made["role"]["id"]] = (ROOT, name)
        return made["role"]["id"]

    @rule(role=consumes(roles))
    def delete_role(self, role):
        used = role in {self.role_of[account] for account in self.there["account"]}
        assert (self.ask("deleteRole", id=role) is None) == used
        if not used:
            self.gone("role", role)

    @invariant()
    def lists_are_the_model(self):
        for kind in LISTS:
            found = {number: name for number, name in self.listed(kind).items() if number not in self.before[kind]}
            assert found == {number: name for number, (_, name) in self.there[kind].items()}, kind


@pytest.mark.parametrize("examples", [8, pytest.param(100, marks=pytest.mark.long)])
def test_any_order_of_tenants_is_as_the_model_says(fresh_file, tmp_path, examples):
    run(Tenants, fresh_file, tmp_path, examples)
