"""Who sees the servers of directories, and links to groups that are taken away. No directory is asked for that."""

import pytest

from mgmt_server.db import write
from mgmt_server.model.account import Domain, LdapServer
from tests.cloud import Refused
from tests.directory import BASE, CLOUD, OPS, OUTER


@pytest.fixture
def linked(cloud):
    """The domains /a/ and /b/, each with a link of CLOUD and one of OPS; OUTER is an account's of /a/."""
    cloud.ask("updateConfiguration", name="ldap.basedn", value=BASE)
    found = {}
    for name in ("a", "b"):
        cloud.account(f"boss-{name}", kind=2, domain=f"/{name}/")
        found[name] = cloud.ask("listDomains", name=name)["domain"][0]["id"]
        for group in (CLOUD, OPS):
            cloud.ask("linkDomainToLdap", domainid=found[name], type="GROUP", accounttype=0, ldapdomain=group)
    cloud.ask("linkAccountToLdap", domainid=found["a"], account="team", ldapdomain=OUTER)
    return found


def links(cloud, domain):
    return [one["ldapdomain"] for one in cloud.ask("listLdapLinks", domainid=domain).get("ldaplink", [])]


@pytest.mark.parametrize(
    ("gone", "left"), [(CLOUD, [OPS, OUTER]), (OPS, [CLOUD, OUTER]), (OUTER, [CLOUD, OPS]), (None, [])]
)
def test_one_link_is_taken_away_or_all_of_the_domain(cloud, linked, gone, left):
    assert links(cloud, linked["a"]) == [CLOUD, OPS, OUTER]
    cloud.ask("unlinkDomainFromLdap", domainid=linked["a"], **({"ldapdomain": gone} if gone else {}))
    assert links(cloud, linked["a"]) == left
    assert links(cloud, linked["b"]) == [CLOUD, OPS], "of another domain"


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_does_not_mean_all_links(cloud, linked, name):
    with pytest.raises(Refused, match="ldapdomain is empty") as no:
        cloud.ask("unlinkDomainFromLdap", domainid=linked["a"], ldapdomain=name)
    assert no.value.status == 431 and links(cloud, linked["a"]) == [CLOUD, OPS, OUTER]


@pytest.mark.parametrize("name", [f"cn=nobody,{BASE}", "%", CLOUD.replace("cn=cloud", "cn=clou")])
def test_a_name_that_is_no_link_takes_none_away_and_is_told(cloud, linked, name):
    with pytest.raises(Refused, match=r"is not linked to .*listLdapLinks") as no:
        cloud.ask("unlinkDomainFromLdap", domainid=linked["a"], ldapdomain=name)
    assert no.value.status == 431
    assert links(cloud, linked["a"]) == [CLOUD, OPS, OUTER]


def test_everybody_sees_the_servers_for_all_and_for_their_domain(cloud):
    for name, kind, domain in (("ann", 0, "/a/"), ("below", 0, "/a/b/"), ("bob", 0, "/b/"), ("sam", 3, "/")):
        cloud.account(name, kind=kind, domain=domain)

    def add(tx):
        own = tx.query(Domain).filter_by(path="/a/").one()
        tx.add_all([LdapServer(hostname="all", port=9), LdapServer(hostname="own", port=9, domain_id=own.id)])

    write(add)
    for user, seen in (("admin", ["all", "own"]), ("sam", ["all", "own"]), ("ann", ["all", "own"]), ("bob", ["all"])):
        told = cloud.ask("listLdapConfigurations", user=user)["LdapConfiguration"]
        assert [s["hostname"] for s in told] == seen, user
    assert cloud.ask("listLdapConfigurations", user="below")["count"] == 2, "of the domain above"
    for command in ("addLdapConfiguration", "deleteLdapConfiguration"):
        with pytest.raises(Refused) as no:
            cloud.ask(command, user="sam", hostname="own", port=9)
        assert no.value.status == 432
