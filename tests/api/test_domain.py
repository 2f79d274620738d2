"""Domains over the wire: the tree, what hangs on its paths, and what they count."""

import pytest

from tests.cloud import Refused


def test_domains_and_their_children(cloud):
    cloud.account("boss", kind=2, domain="/a/")
    cloud.account("deep", domain="/a/b/c/")
    domains = {d["path"]: d for d in cloud.ask("listDomains")["domain"]}
    assert set(domains) == {"ROOT", "ROOT/a", "ROOT/a/b", "ROOT/a/b/c"}
    assert (domains["ROOT/a"]["haschild"], domains["ROOT/a/b/c"]["haschild"]) == (True, False)
    assert domains["ROOT/a/b"]["parentdomainname"] == "a" and domains["ROOT/a/b"]["level"] == 2
    assert [d["name"] for d in cloud.ask("listDomains", user="boss")["domain"]] == ["a"]
    assert [d["name"] for d in cloud.ask("listDomains", user="boss", listall=True)["domain"]] == ["a", "b", "c"]
    a = domains["ROOT/a"]["id"]
    assert [d["name"] for d in cloud.ask("listDomainChildren", id=a)["domain"]] == ["b"]
    assert [d["name"] for d in cloud.ask("listDomainChildren", id=a, isrecursive=True)["domain"]] == ["b", "c"]
    with pytest.raises(Refused):
        cloud.ask("listDomainChildren", user="boss", id=domains["ROOT"]["id"])
