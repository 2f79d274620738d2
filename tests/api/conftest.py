import pytest
from sqlalchemy import select

from mgmt_server.db import reading
from mgmt_server.model.event import Event
from mgmt_server.resources.event.types import types
from tests.cloud import Cloud
from tests.protocol import witnessed


@pytest.fixture
def cloud(database):
    yield Cloud()
    with reading() as session:
        told = {t for t in session.scalars(select(Event.type).distinct()) if t.isupper()}  # others are made up by tests
    assert told <= set(types()), f"listEventTypes leaves out {told - set(types())}"


@pytest.fixture(autouse=True)
def as_the_protocol_says():
    """Every answer that any of these tests is given, in both formats."""
    with witnessed() as seen:
        yield
    assert not seen.wrong, "\n".join(sorted(seen.wrong))
