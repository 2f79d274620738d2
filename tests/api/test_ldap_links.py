"""Links to groups of a directory that are taken away one by one. No directory is asked for that."""

import pytest

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


@pytest.mark.parametrize("name", [f"cn=nobody,{BASE}", "%", CLOUD.replace("cn=cloud", "cn=clou")])
def test_a_name_that_is_no_link_takes_none_away_and_is_told(cloud, linked, name):
    with pytest.raises(Refused, match=r"is not linked to .*listLdapLinks") as no:
        cloud.ask("unlinkDomainFromLdap", domainid=linked["a"], ldapdomain=name)
    assert no.value.status == 431
    assert links(cloud, linked["a"]) == [CLOUD, OPS, OUTER]
