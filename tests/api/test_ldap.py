"""A directory (a real slapd): its servers, who is there, accounts for them, TLS."""

import pytest

from mgmt_server.db import reading
from mgmt_server.model.account import Account, User
from tests.browser import Browser
from tests.cloud import Refused
from tests.directory import ADMIN, ADMIN_PASSWORD, BASE, CLOUD, PEOPLE, STAFF, STAR, asked_by, slapd
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
