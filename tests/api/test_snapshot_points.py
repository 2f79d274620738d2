"""What a disk remembers of its snapshots: points that its host is to forget, at once or later."""

# ruff: noqa: F811  the fixtures are imported

import pytest

from mgmt_server.drivers.storage import simulator
from tests.api.test_snapshot import (  # noqa: F401
    counts_are_right,
    deploy,
    fail,
    files,
    incremental,
    on_stores,
    points,
    snap,
    sweep,
    used,
    zone,
)  # fmt: skip
from tests.cloud import Refused


@pytest.fixture
def dropped(monkeypatch):
    """What hosts were told to follow changes from no more, as far as it reached them."""
    names, really = [], simulator.SimulatedStorage.forget_point

    def forget_point(self, call, host, disk, machine, point):
        really(self, call, host, disk, machine, point)
        names.append(point)

    monkeypatch.setattr(simulator.SimulatedStorage, "forget_point", forget_point)
    return names


def test_a_snapshot_that_fails_stays_in_error_and_counts_for_nothing(cloud, zone):
    _, volume = deploy(cloud, zone)
    fail(cloud, "save_disk")
    with pytest.raises(Refused):
        snap(cloud, volume, name="bad")
    (found,) = cloud.ask("listSnapshots")["snapshot"]
    assert (found["state"], found["revertable"]) == ("Error", False) and files() == []
    assert cloud.ask("listVolumes", id=volume)["volume"][0]["state"] == "Ready"
    assert used("snapshot") == 0 == used("secondary_storage")
    counts_are_right()
    with pytest.raises(Refused):
        cloud.job("revertSnapshot", id=found["id"])
    cloud.job("deleteSnapshot", id=found["id"])
    assert cloud.ask("listSnapshots") == {} and on_stores() == 0
    snap(cloud, volume)


def test_a_disk_that_could_not_be_told_to_forget_a_failed_snapshot_is_told_later(cloud, zone):
    incremental(cloud)
    _, volume = deploy(cloud, zone)
    good = snap(cloud, volume)
    fail(cloud, "save_disk")
    fail(cloud, "forget_point")
    with pytest.raises(Refused):
        snap(cloud, volume, name="bad")
    assert points()[0] == good["id"] and points()[1] is not None
    assert snap(cloud, volume)["parent"] == good["id"], "it stands on none that failed"
    assert points()[:2] == [None, None] and points()[2] is not None


@pytest.mark.parametrize("what", ["deleted", "failed", "replaced"])
def test_a_disk_is_told_again_and_again_what_it_could_not_be_told(cloud, zone, dropped, what):
    incremental(cloud)
    _, volume = deploy(cloud, zone)
    lost = cloud.ask("configureSimulator", name="forget_point", value="lost:true")["mock"]["id"]
    if what == "failed":
        fail(cloud, "save_disk")
        with pytest.raises(Refused):
            snap(cloud, volume)
    else:
        made = snap(cloud, volume)
        if what == "deleted":
            cloud.job("deleteSnapshot", id=made["id"])
            assert cloud.ask("listSnapshots") == {} and files() == [], "it goes all the same"
        else:
            snap(cloud, volume)
    first = points()[0]
    sweep(cloud)
    assert first is not None and (points()[0], dropped) == (first, []), "no host answers yet"
    cloud.ask("cleanupSimulatorMock", id=lost)
    sweep(cloud)
    assert (points()[0], dropped) == (None, [first])
    sweep(cloud)
    assert dropped == [first], "it is told once"


def test_what_a_disk_followed_is_gone_with_it(cloud, zone, dropped):
    incremental(cloud)
    vm, volume = deploy(cloud, zone)
    cloud.ask("configureSimulator", name="forget_point", value="lost:true")
    cloud.job("deleteSnapshot", id=snap(cloud, volume)["id"])
    cloud.job("destroyVirtualMachine", id=vm, expunge=True)
    sweep(cloud)
    assert (points(), dropped) == ([None], [])
