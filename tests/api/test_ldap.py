"""People of a directory (a real slapd): found, imported, logged in, put into domains and accounts by their groups."""

import pytest

from mgmt_server.api import callers
from mgmt_server.db import reading, write
from mgmt_server.drivers import ldap
from mgmt_server.errors import Unavailable
from mgmt_server.model.account import Account, LdapServer, User
from mgmt_server.resources.ldap import settings
from tests.browser import Browser, give_password
from tests.cloud import Refused
from tests.directory import ADMIN, ADMIN_PASSWORD, BASE, CLOUD, OPS, OUTER, PEOPLE, STAFF, STAR, asked_by, slapd
from tests.directory import certificate as make_certificate


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with slapd(tmp_path_factory.mktemp("slapd") / "ldap") as found:
        yield found


@pytest.fixture
def directory(cloud, server):
    """A cloud that asks the directory; a domain /a/."""
    cloud.account("boss", kind=2, domain="/a/")
    settle(cloud, login__attempts__per__address="1000")
    asked_by(cloud, server)
    return server


def settle(cloud, **more):
    for name, value in more.items():
        cloud.ask("updateConfiguration", name=name.replace("__", "."), value=value)


def domain(cloud, name="a"):
    return cloud.ask("listDomains", name=name)["domain"][0]["id"]


def row(name):
    with reading() as session:
        return session.query(User).filter_by(username=name, removed=None).one_or_none()


def account_of(name):
    with reading() as session:
        return session.get(Account, row(name).account_id)


def enter(cloud, name, password=None, place="/a"):
    return Browser(cloud).log_in(name, password if password is not None else f"{name}-password", domain=place)


def refused(cloud, name, password=None, place="/a"):
    with pytest.raises(Refused) as no:
        enter(cloud, name, password, place)
    assert no.value.status == 531


def link(cloud, name=CLOUD, kind="GROUP", **more):
    sent = {"domainid": domain(cloud), "type": kind, "accounttype": 0, "ldapdomain": name} | more
    return cloud.ask("linkDomainToLdap", **sent)["LinkDomainToLdap"]


# --- servers ---


def test_a_server_is_added_listed_and_deleted(cloud, directory):
    (listed,) = cloud.ask("listLdapConfigurations")["LdapConfiguration"]
    assert (listed["hostname"], listed["port"]) == ("127.0.0.1", directory.port)
    with pytest.raises(Refused, match="Duplicate"):
        cloud.ask("addLdapConfiguration", hostname="127.0.0.1", port=directory.port)
    own = cloud.ask("addLdapConfiguration", hostname="127.0.0.1", port=directory.port, domainid=domain(cloud))
    assert own["LdapAddConfiguration"]["domainid"] == domain(cloud)
    assert cloud.ask("listLdapConfigurations")["count"] == 2
    assert cloud.ask("listLdapConfigurations", listall=False)["count"] == 1
    assert cloud.ask("listLdapConfigurations", domainid=domain(cloud))["count"] == 1
    gone = cloud.ask("deleteLdapConfiguration", hostname="127.0.0.1", port=directory.port)["LdapDeleteConfiguration"]
    assert gone["id"] == listed["id"]
    cloud.ask("deleteLdapConfiguration", id=own["LdapAddConfiguration"]["id"])
    assert cloud.ask("listLdapConfigurations") == {}


def test_a_server_that_does_not_let_in_is_not_added_and_says_why(cloud, directory, server):
    settle(cloud, ldap__bind__password="wrong-secret")
    with pytest.raises(Refused, match="is refused: invalidCredentials") as no:
        cloud.ask("addLdapConfiguration", hostname="localhost", port=server.port)
    assert "wrong-secret" not in no.value.text
    with pytest.raises(Refused, match="127.0.0.1:9"):
        cloud.ask("addLdapConfiguration", hostname="127.0.0.1", port=9)
    assert cloud.ask("listLdapConfigurations")["count"] == 1


def test_the_commands_of_old(cloud, server):
    server.reset()
    told = cloud.ask(
        "ldapConfig", hostname="127.0.0.1", port=server.port, searchbase=BASE, binddn=ADMIN, bindpass=ADMIN_PASSWORD
    )["ldapconfig"]
    assert told == [
        {"hostname": "127.0.0.1", "port": str(server.port), "ssl": "false", "searchbase": BASE, "binddn": ADMIN}
    ]
    assert ADMIN_PASSWORD not in str(cloud.ask("ldapConfig", listall=True))
    assert cloud.ask("searchLdap", query="ann")["count"] == 1
    cloud.ask("ldapRemove")
    assert "ldapconfig" not in cloud.ask("ldapConfig", listall=True)


# --- who is there ---


def test_people_are_listed_and_searched(cloud, directory):
    found = cloud.ask("listLdapUsers")
    assert [u["username"] for u in found["LdapUser"]] == ["ann", "bob", "dan", "eve", STAR] and found["count"] == 5
    (ann,) = cloud.ask("searchLdap", query="ann")["LdapUser"]
    assert ann == {
        "username": "ann",
        "email": "ann@example.org",
        "firstname": "Given",
        "lastname": "Ann",
        "principal": f"uid=ann,{PEOPLE}",
        "domain": "people",
    }
    page = cloud.ask("listLdapUsers", page=2, pagesize=2)
    assert page["count"] == 5 and [u["username"] for u in page["LdapUser"]] == ["dan", "eve"]
    assert [u["username"] for u in cloud.ask("listLdapUsers", keyword="bo")["LdapUser"]] == ["bob"]


def test_more_people_than_a_page_of_the_directory_holds(cloud, directory):
    for n in range(12):
        directory.person(f"more{n:02d}")
    settle(cloud, ldap__request__page__size="5")
    assert cloud.ask("listLdapUsers")["count"] == 17


@pytest.mark.parametrize(
    "text", ["*)(uid=*", "*", ")", "(", "\\", "a*n", "ann)(|(uid=*", "\\2a", "*)(objectClass=*))(&(a=b"]
)
def test_a_text_stays_a_text_in_a_filter(cloud, directory, text):
    assert cloud.ask("searchLdap", query=text).get("count", 0) == (text in STAR)
    refused(cloud, text, "ann-password", "/")


def test_those_who_are_users_already_can_be_left_out(cloud, directory):
    cloud.account("ann", domain="/a/")
    cloud.account("bob", domain="/c/")
    cloud.ask("ldapCreateAccount", username="dan", domainid=domain(cloud))
    place = domain(cloud)

    def names(**more):
        return [u["username"] for u in cloud.ask("listLdapUsers", domainid=place, **more).get("LdapUser", [])]

    assert names(userfilter="LocalDomain") == ["bob", "eve", STAR]
    assert names(userfilter="AnyDomain") == names(listtype="new") == ["eve", STAR]
    assert names(userfilter="PotentialImport") == ["ann", "bob", "eve", STAR]
    (ann,) = [u for u in cloud.ask("listLdapUsers", domainid=place)["LdapUser"] if u["username"] == "ann"]
    assert ann["conflictingusersource"] == "native"


def test_a_group_may_be_asked_of_everybody(cloud, directory):
    settle(cloud, ldap__search__group__principle=CLOUD)
    assert [u["username"] for u in cloud.ask("listLdapUsers")["LdapUser"]] == ["ann", STAR]
    for name in ("ann", "bob"):
        if name == "ann":
            cloud.ask("ldapCreateAccount", username=name)
        else:
            with pytest.raises(Refused, match="No LDAP user exists"):
                cloud.ask("ldapCreateAccount", username=name)


# --- accounts for them ---


def test_an_account_is_made_for_somebody(cloud, directory):
    made = cloud.ask("ldapCreateAccount", username="ann", accounttype=0, domainid=domain(cloud))["account"]
    assert (made["name"], made["accounttype"], made["user"][0]["usersource"]) == ("ann", 0, "ldap")
    assert row("ann").password is None and row("ann").email == "ann@example.org"
    told = enter(cloud, "ann")
    assert told["account"] == "ann" and told["firstname"] == "Given"
    cloud.ask("ldapCreateAccount", username="bob", account="ann", domainid=domain(cloud))
    assert account_of("bob").name == "ann"
    with pytest.raises(Refused, match="No LDAP user exists"):
        cloud.ask("ldapCreateAccount", username="nobody")
    with pytest.raises(Refused):
        cloud.ask("ldapCreateAccount", username="eve", accounttype=1)


def test_many_are_imported_at_once(cloud, directory):
    found = cloud.ask("importLdapUsers", domainid=domain(cloud), accounttype=0, group="cloud")
    assert sorted(u["username"] for u in found["LdapUser"]) == ["ann", STAR]
    assert cloud.ask("importLdapUsers", domainid=domain(cloud), group=CLOUD) == {}
    more = cloud.ask("importLdapUsers", domainid=domain(cloud), account="all", keyword="bob")
    assert more["count"] == 1 and account_of("bob").name == "all"
    enter(cloud, STAR)
    with pytest.raises(Refused, match="name one by its DN"):
        cloud.ask("importLdapUsers", domainid=domain(cloud), group="nosuch")


def test_nobody_gets_a_role_that_may_do_more_than_the_caller(cloud, directory):
    cloud.account("deputy", kind=3, domain="/a/")
    with pytest.raises(Refused):
        cloud.ask("ldapCreateAccount", user="deputy", username="ann", roleid=cloud.ask("listRoles")["role"][0]["id"])
    cloud.account("chief", kind=3)  # in ROOT, where the root administrator's account is
    with pytest.raises(Refused, match="may do more"):
        cloud.ask("ldapCreateAccount", user="chief", username="ann", account="admin")
    assert row("ann") is None


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
    write(lambda tx: tx.query(LdapServer).filter_by(hostname="127.0.0.1").update({"port": 9}))
    enter(cloud, "ann")


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


def test_a_domain_has_settings_and_servers_of_its_own(cloud, directory):
    cloud.ask("updateConfiguration", name="ldap.basedn", value=STAFF, domainid=domain(cloud))
    assert [u["username"] for u in cloud.ask("listLdapUsers", user="boss")["LdapUser"]] == ["dan"]
    assert cloud.ask("listLdapUsers")["count"] == 5
    with pytest.raises(Refused):
        cloud.ask("listLdapUsers", user="boss", domainid=domain(cloud, "ROOT"))


# --- TLS ---


def test_links_are_tls_where_a_truststore_is_set(cloud, directory, tmp_path):
    settle(cloud, ldap__truststore=str(directory.certificate))
    cloud.ask("addLdapConfiguration", hostname="127.0.0.1", port=directory.tls_port)
    cloud.ask("deleteLdapConfiguration", hostname="127.0.0.1", port=directory.port)
    cloud.ask("ldapCreateAccount", username="ann", domainid=domain(cloud))
    enter(cloud, "ann")
    refused(cloud, "ann", "wrong")


def test_a_server_with_another_certificate_is_not_trusted(cloud, directory, tmp_path):
    make_certificate(tmp_path)
    settle(cloud, ldap__truststore=str(tmp_path / "certificate.pem"))
    with pytest.raises(Refused, match="(?i)certificate"):
        cloud.ask("addLdapConfiguration", hostname="127.0.0.1", port=directory.tls_port)
    settle(cloud, ldap__truststore="/nonexistent")
    with pytest.raises(Refused, match="Invalid truststore"):
        cloud.ask("addLdapConfiguration", hostname="127.0.0.1", port=directory.tls_port)


def test_a_truststore_may_be_pkcs12(cloud, directory, tmp_path):
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

    store = tmp_path / "trust.p12"
    trusted = x509.load_pem_x509_certificate(directory.certificate.read_bytes())
    store.write_bytes(
        pkcs12.serialize_key_and_certificates(None, None, None, [trusted], BestAvailableEncryption(b"store-word"))
    )
    settle(cloud, ldap__truststore=str(store), ldap__truststore__password="wrong-word")
    with pytest.raises(Refused, match="truststore password") as no:
        cloud.ask("addLdapConfiguration", hostname="127.0.0.1", port=directory.tls_port)
    assert "wrong-word" not in no.value.text
    settle(cloud, ldap__truststore__password="store-word")
    cloud.ask("addLdapConfiguration", hostname="127.0.0.1", port=directory.tls_port)


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
