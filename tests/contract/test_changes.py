"""What commands answer that change something, and their jobs: each at least once, beside the protocol's facts.

`tests/protocol.py` looks at every answer on its way to the wire, and renders it in JSON and in XML.
"""

import shutil

import pytest
from sqlalchemy import select

from mgmt_server import db
from mgmt_server.api import callers
from mgmt_server.model import settings
from mgmt_server.model.event import Event
from mgmt_server.resources.event.types import types
from tests.cloud import Cloud
from tests.contract import walk_machines, walk_people, walk_places
from tests.contract.test_registry import ALL
from tests.contract.test_shapes import SHAPES, differences
from tests.contract.walk import walked
from tests.contract.whole import only_reads
from tests.protocol import witnessed

CHANGES = [name for name in ALL if not only_reads(name)]
NEVER: dict[str, str] = {}  # what cannot end well on a simulated cloud, and why
PARTS = (
    *(walk_people.tenants, walk_people.notes, walk_people.projects, walk_people.logging_in),
    *(walk_machines.machines, walk_machines.disks, walk_machines.images),
    *(walk_places.ranges, walk_places.pools, walk_places.hosts, walk_places.system_vms),
    *(walk_places.dedications, walk_places.a_place_that_goes),
)


@pytest.fixture(scope="module")
def done(fresh_file, tmp_path_factory):
    """What was answered on the walk, and who looked on."""
    folder = tmp_path_factory.mktemp("walk")
    shutil.copyfile(fresh_file, folder / "cloud.db")
    db.connect(f"sqlite:///{folder}/cloud.db")
    callers.forget()
    settings.forget()
    try:
        with witnessed() as seen:
            walk = walked(Cloud())
            for part in PARTS:
                part(walk)
            walk_people.directories(walk, folder / "ldap")
        with db.reading() as session:
            events = set(session.scalars(select(Event.type).distinct()))
        return walk.answers, seen, events
    finally:
        db.disconnect()


def test_each_answer_is_the_protocols_in_both_formats(done):
    assert not done[1].wrong, "\n".join(sorted(done[1].wrong))


def test_each_event_on_the_way_is_of_a_type_that_is_listed(done):
    assert len(done[2]) > 150 and not done[2] - set(types())


@pytest.mark.parametrize("name", CHANGES)
def test_each_command_is_met(done, name):
    assert (name in done[1].met) != (name in NEVER), NEVER.get(name, "let the walk of tests/contract meet it")


def test_what_changes_something_has_the_fields_that_were_recorded(done):
    found = []
    for name, answers in done[0].items():
        found += differences(SHAPES.get(name, {}), answers, name)
    print(f"{len(set(done[0]) & set(SHAPES))} answers of {len(done[0])} beside recorded ones")
    assert not found, "\n".join(found)
    recorded = {n for n in (s.removeprefix("job ") for s in SHAPES) if n in CHANGES}
    assert recorded <= {n.removeprefix("job ") for n in done[0]}, "the walk should meet what was recorded"
