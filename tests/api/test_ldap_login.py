"""People of a directory (a real slapd) log in, and are put into domains and accounts by their groups."""

import pytest

from mgmt_server.api import callers
from mgmt_server.db import reading, write
from mgmt_server.drivers import ldap
from mgmt_server.errors import Unavailable
from mgmt_server.model.account import LdapServer, User
from mgmt_server.resources.ldap import settings
from tests.api import test_ldap
from tests.api.test_ldap import account_of, domain, enter, refused, row, settle
from tests.browser import Browser, give_password
from tests.cloud import Refused
from tests.directory import ADMIN_PASSWORD, CLOUD, OPS, OUTER, PEOPLE, STAFF, STAR

server, directory = test_ldap.server, test_ldap.directory


def link(cloud, name=CLOUD, kind="GROUP", **more):
    sent = {"domainid": domain(cloud), "type": kind, "accounttype": 0, "ldapdomain": name} | more
    return cloud.ask("linkDomainToLdap", **sent)["LinkDomainToLdap"]


# --- log-in ---


@pytest.mark.parametrize(
    "password", ["", " ", "wrong", "ann-password ", "ann-password\0", "ANN-PASSWORD", "\0", "x" * 100_000]
)
def test_a_log_in_needs_the_password_of_the_directory(cloud, directory, password):
    cloud.ask("ldapCreateAccount", username="ann", domainid=domain(cloud))
    refused(cloud, "ann", password)
    enter(cloud, "ann")


@pytest.mark.parametrize("name", ["*", "a*", "ANN", "ann*", "*)(uid=*", f"uid=ann,{PEOPLE}", ""])
def test_names_that_a_directory_might_take_for_somebody_log_nobody_in(cloud, directory, name):
    link(cloud)
    refused(cloud, name, "ann-password")
    with reading() as session:
        assert session.query(User).filter_by(source="ldap").count() == 0


def test_wrong_passwords_lock_users_of_a_directory_out_too(cloud, directory):
    cloud.ask("ldapCreateAccount", username="ann", domainid=domain(cloud))
    for _ in range(5):
        refused(cloud, "ann", "wrong")
    assert row("ann").state == "disabled"
    refused(cloud, "ann")
    cloud.ask("enableUser", id=row("ann").uuid)
    enter(cloud, "ann")


def test_a_native_user_of_the_same_name_keeps_the_own_password(cloud, directory):
    cloud.account("ann", domain="/a/")
    give_password("ann", "native-one")
    link(cloud)
    refused(cloud, "ann")
    enter(cloud, "ann", "native-one")


def test_a_directory_that_does_not_answer_lets_nobody_in_and_disables_nobody(cloud, directory):
    cloud.ask("ldapCreateAccount", username="ann", domainid=domain(cloud))
    link(cloud)
    write(lambda tx: tx.query(LdapServer).update({"port": 9}))
    refused(cloud, "ann")
    assert row("ann").state == "enabled"
    write(lambda tx: tx.query(LdapServer).update({"port": directory.port}))
    enter(cloud, "ann")


def test_a_second_server_is_asked_when_the_first_is_away(cloud, directory):
    cloud.ask("ldapCreateAccount", username="ann", domainid=domain(cloud))
    cloud.ask("addLdapConfiguration", hostname="localhost", port=directory.port)
    for away, there in (("127.0.0.1", "localhost"), ("localhost", "127.0.0.1")):  # whichever is asked first
        write(lambda tx, name=away: tx.query(LdapServer).filter_by(hostname=name).update({"port": 9}))
        write(lambda tx, name=there: tx.query(LdapServer).filter_by(hostname=name).update({"port": directory.port}))
        enter(cloud, "ann")
        refused(cloud, "ann", "wrong")


# --- linked domains and accounts ---


def test_the_first_log_in_of_a_linked_groups_member_makes_the_account(cloud, directory):
    told = link(cloud)
    assert told == {"domainid": domain(cloud), "type": "GROUP", "name": CLOUD, "ldapdomain": CLOUD, "accounttype": 0}
    refused(cloud, "ann", "wrong")
    assert row("ann") is None
    assert enter(cloud, "ann")["account"] == "ann"
    assert (account_of("ann").type, row("ann").source) == (0, "ldap")
    refused(cloud, "bob")  # in the directory, not in the group
    refused(cloud, "ann", place="/")  # nor in a domain that is not linked
    assert row("bob") is None


def test_members_of_a_group_in_the_group_count_where_that_is_on(cloud, directory):
    link(cloud, OUTER)
    enter(cloud, "ann")
    refused(cloud, "bob")
    settle(cloud, ldap__nested__groups__enable="false")
    refused(cloud, STAR)
    settle(cloud, ldap__nested__groups__enable="true")
    enter(cloud, STAR)


def test_groups_that_hold_each_other_end(cloud, directory):
    directory.members(CLOUD, OUTER)
    directory.members(OUTER, CLOUD)
    link(cloud, OUTER)
    refused(cloud, "ann")
    assert cloud.ask("importLdapUsers", domainid=domain(cloud), group=OUTER) == {}


def test_who_left_the_group_is_disabled_at_the_next_log_in(cloud, directory):
    link(cloud)
    first = Browser(cloud)
    first.log_in("ann", "ann-password", domain="/a")
    directory.members(CLOUD, f"uid=bob,{PEOPLE}")
    refused(cloud, "ann")
    assert row("ann").state == "disabled" and not first.may_call()
    told = cloud.ask("listEvents", type="USER.DISABLE", listall=True)["event"]
    assert any("in no group or unit" in e["description"] for e in told)
    enter(cloud, "bob")
    directory.members(CLOUD, f"uid=ann,{PEOPLE}")
    refused(cloud, "ann")  # being back is not enough: an administrator may have had a reason
    cloud.ask("enableUser", id=row("ann").uuid)
    enter(cloud, "ann")


def test_who_left_the_directory_is_disabled(cloud, directory):
    link(cloud)
    enter(cloud, "ann")
    directory.link.delete(f"uid=ann,{PEOPLE}")
    refused(cloud, "ann")
    assert row("ann").state == "disabled"


def test_a_unit_is_linked(cloud, directory):
    link(cloud, STAFF, "OU", accounttype=2)
    refused(cloud, "ann")
    enter(cloud, "dan")
    assert account_of("dan").type == 2
    assert cloud.ask("listDomains", user="boss")["count"] == 1


def test_an_administrator_is_made_with_the_link(cloud, directory):
    told = link(cloud, admin="ann")
    assert told["accountid"] == account_of("ann").uuid and account_of("ann").type == 2
    assert "accountid" not in link(cloud, OPS, admin="eve")


@pytest.mark.parametrize("more", [
    {"accounttype": 1}, {"accounttype": 3}, {"accounttype": 7}, {"type": "CN"}, {"ldapdomain": "cloud"},
    {"ldapdomain": "*)(uid=*"}, {"ldapdomain": ""},
])  # fmt: skip
def test_what_is_no_link(cloud, directory, more):
    with pytest.raises(Refused):
        link(cloud, **more)
    assert cloud.ask("listLdapLinks") == {}


def test_groups_are_linked_to_accounts(cloud, directory):
    place = domain(cloud)
    told = cloud.ask("linkAccountToLdap", user="boss", domainid=place, account="team", ldapdomain=CLOUD, admin="ann")
    assert told["linkAccountToLdap"]["account"] == "team" and account_of("ann").name == "team"
    cloud.ask("linkAccountToLdap", domainid=place, account="ops", ldapdomain=OPS)
    assert enter(cloud, "bob")["account"] == "ops"
    listed = cloud.ask("listLdapLinks", user="boss")["ldaplink"]
    assert [(one["account"], one["ldapdomain"]) for one in listed] == [("team", CLOUD), ("ops", OPS)]
    directory.members(CLOUD, f"uid=eve,{PEOPLE}")
    directory.members(OPS, f"uid=ann,{PEOPLE}", f"uid=bob,{PEOPLE}")
    assert enter(cloud, "ann")["account"] == "ops"  # moved with the group
    directory.members(CLOUD, f"uid=ann,{PEOPLE}")
    refused(cloud, "ann")  # two accounts: which?
    assert row("ann").state == "disabled"


def test_nobody_links_a_group_to_an_account_that_may_do_more(cloud, directory):
    cloud.account("chief", kind=2)  # a domain administrator of ROOT, where the root administrators are
    root = domain(cloud, "ROOT")
    for account in ("admin", "system"):
        for user in ("chief", "admin"):
            with pytest.raises(Refused):
                cloud.ask("linkAccountToLdap", user=user, domainid=root, account=account, ldapdomain=CLOUD)
    with pytest.raises(Refused):
        cloud.ask("linkAccountToLdap", user="boss", domainid=root, account="new", ldapdomain=CLOUD)
    refused(cloud, "ann", place="/")


def test_a_link_is_taken_away(cloud, directory):
    link(cloud)
    enter(cloud, "ann")
    cloud.ask("unlinkDomainFromLdap", domainid=domain(cloud))
    enter(cloud, "ann")
    refused(cloud, STAR)
    assert cloud.ask("listLdapLinks") == {}


def test_the_link_of_an_account_that_is_gone_lets_nobody_in(cloud, directory):
    told = cloud.ask("linkAccountToLdap", domainid=domain(cloud), account="team", ldapdomain=CLOUD)
    cloud.job("deleteAccount", id=told["linkAccountToLdap"]["accountid"])
    refused(cloud, "ann")
    assert row("ann") is None and cloud.ask("listLdapLinks") == {}


def test_z3_passwords_of_people_and_of_the_bind_are_heard_of_nowhere(cloud, directory, caplog):
    link(cloud)
    enter(cloud, "ann")
    refused(cloud, "ann", "planted-guess")
    write(lambda tx: tx.query(LdapServer).update({"port": 9}))
    refused(cloud, "ann", "planted-other")
    with reading() as session:
        found = settings.directory(session, None)
    with pytest.raises(Unavailable) as no:
        ldap.check(found)
    heard = caplog.text + str(no.value) + str(cloud.ask("listEvents", listall=True))
    heard += str(cloud.ask("listConfigurations", keyword="ldap")) + str(cloud.ask("listUsers", listall=True))
    for secret in ("ann-password", "planted-", ADMIN_PASSWORD):
        assert secret not in heard
    callers.forget()
