"""Where a machine runs that two hosts have: moved by somebody else, or twice."""

from uuid import uuid4

import pytest

from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.errors import Unavailable
from mgmt_server.protocol.machine import MachineState
from mgmt_server.resources.reconcile.machines import Asked, find
from mgmt_server.resources.vm import elsewhere

NAME = "i-2-7-VM"
FROM, TO = HostRef("from", "kvm1", "KVM"), HostRef("to", "kvm2", "KVM")
# what both hosts say while a machine goes over, one moment after the other
MOVE = [("Running", "Stopped"), ("Running", "Paused"), ("Paused", "Paused"), ("Paused", "Running"),
        ("Stopped", "Running")]  # fmt: skip


@pytest.fixture
def hosts(monkeypatch):
    """Sets what the hosts say, one pair of states for each question; None: a host that does not answer."""
    told: list[tuple[str | None, str | None]] = []

    def machines(host):
        pair = told.pop(0) if len(told) > 1 else told[0]
        state = pair[host is TO]
        if state is None:
            raise Unavailable(f"{host.name} does not answer")
        other = MachineState("other", str(uuid4()), "Running")
        return [other] if state == "Stopped" else [other, MachineState(NAME, str(uuid4()), state)]

    monkeypatch.setattr(elsewhere.dispatch, "machines", machines)
    monkeypatch.setattr(elsewhere, "HANDING_OVER", 0)

    def say(*pairs):
        told[:] = pairs

    return say


def where():
    return elsewhere.where(uuid4(), elsewhere.Both(FROM, TO, NAME, True, True))


def found():
    return find(uuid4(), Asked(NAME, (TO, FROM)))


@pytest.mark.parametrize("first", range(len(MOVE)))
@pytest.mark.parametrize("passed", range(len(MOVE)))
def test_a_machine_on_its_way_never_runs_twice(hosts, first, passed):
    """Whatever passes between the two questions: what came back from a lost host is ended for that."""
    hosts(MOVE[first], *MOVE[first + passed : first + passed + 1] or [MOVE[-1]])
    assert where() != "both"


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        ("Running", "Running", "both"),
        ("Running", "Paused", "home"),
        ("Paused", "Running", ""),
        ("Paused", "Stopped", "home"),
        ("Stopped", "Running", "seen"),
        ("Stopped", "Paused", "seen"),
        ("Stopped", "Stopped", ""),
    ],
)
def test_it_is_where_it_runs(hosts, here, there, expected):
    hosts((here, there))
    assert where() == expected


def test_one_that_is_handed_over_in_this_moment_is_waited_for(hosts, monkeypatch):
    monkeypatch.setattr(elsewhere, "HANDING_OVER", 60)
    monkeypatch.setattr(elsewhere, "PAUSE", 0)
    hosts(*[("Paused", "Running")] * 6, ("Stopped", "Running"))
    assert where() == "seen"


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        ("Running", "Stopped", "from"),
        ("Running", "Paused", "from"),
        ("Paused", "Running", "to"),
        ("Stopped", "Running", "to"),
        ("Stopped", "Paused", "to"),
        ("Paused", "Stopped", "from"),
        ("Stopped", "Stopped", ""),
        ("Running", None, "from"),
        (None, "Running", "to"),
    ],
)
def test_one_that_was_left_on_its_way_is_where_it_runs(hosts, here, there, expected):
    hosts((here, there))
    assert found() == expected


@pytest.mark.parametrize("here, there", [("Paused", "Paused"), ("Paused", None), (None, "Paused"), (None, "Stopped")])
def test_nobody_knows_yet_where_it_will_run(hosts, here, there):
    hosts((here, there))
    with pytest.raises(Unavailable):
        found()
