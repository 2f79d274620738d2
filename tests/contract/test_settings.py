"""Settings of the protocol: each is declared where it is used, or it is told why it has no effect."""

import importlib
import tomllib
from collections import Counter
from pathlib import Path

import mgmt_server
from mgmt_server.model import settings as declared
from mgmt_server.model.settings import settings

ALL = 948
HERE = Path(mgmt_server.__file__).parent
ARGUED = tomllib.loads(Path(__file__).with_name("unused_settings.toml").read_text())


def ours() -> set[str]:
    """Names of all settings that any module declares, whether or not a server would have loaded it."""
    for file in HERE.rglob("*.py"):
        if "Setting(" in file.read_text():
            parts = file.relative_to(HERE.parent).with_suffix("").parts
            importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return {name for name in settings if not name.startswith("test.")}


def test_each_setting_of_the_protocol_is_declared_or_has_a_reason_why_not():
    known, mine = set(declared._facts()), ours()
    argued = [name for group in ARGUED.values() for name in group["names"]]
    assert len(known) == ALL
    assert [name for name, times in Counter(argued).items() if times > 1] == []
    assert set(argued) & mine == set(), "declared, and said to have no effect"
    assert set(argued) - known == set(), "names that the protocol does not have"
    assert known - mine - set(argued) == set(), "neither declared nor argued"


def test_each_reason_is_one():
    for key, group in ARGUED.items():
        assert group.keys() == {"why", "names"}, key
        assert group["names"] and len(group["why"]) > 20, key
    reasons = [group["why"] for group in ARGUED.values()]
    assert len(set(reasons)) == len(reasons)


# type and scopes that clients could not use: a server's own scope, and a number that is told as a text
OTHERWISE = {
    "alert.smtp.useAuth": ("Boolean", ("Global",)),
    "project.smtp.useAuth": ("Boolean", ("Global",)),
    "storage.stats.interval": ("Integer", ("Global",)),
}


def test_what_is_declared_has_the_type_and_the_scopes_that_clients_know():
    ours()
    for name, fact in declared._facts().items():
        if name in settings:
            wanted = OTHERWISE.get(name, (fact["type"], tuple(fact["scope"])))
            assert (settings[name].type, settings[name].scopes) == wanted, name


TLS = "the versions that today's libraries speak; older ones are broken"
TAKEN = "the protocol's facts name no options, and these are the values that have an effect"
OPTIONS_HERE = {  # options that are others than those that clients know, and why
    **dict.fromkeys(
        (
            "alert.smtp.enabledSecurityProtocols",
            "project.smtp.enabledSecurityProtocols",
            "user.password.reset.smtp.enabledSecurityProtocols",
        ),
        TLS,
    ),
    **dict.fromkeys(
        (
            "api.sessionkey.check.locations",
            "api.sessionkey.cookie.samesite",
            "kvm.storage.pool.io.policy",
            "ldap.provider",
            "secstorage.nfs.version",
            "user.2fa.default.provider",
        ),
        TAKEN,
    ),
}


def test_what_is_declared_has_the_options_that_clients_know():
    ours()
    known = {name: {o for o in fact.get("options") or () if o} for name, fact in declared._facts().items()}
    others = {name for name, options in known.items() if name in settings and set(settings[name].options) != options}
    assert others == set(OPTIONS_HERE)
    assert {name for name in others if not known[name]} == {n for n, why in OPTIONS_HERE.items() if why == TAKEN}
