import pytest

from tests.crash.world import world


@pytest.fixture
def cloud(loaded, tmp_path):
    """A server process of its own; `loaded` has the tables and the key that its database is read with."""
    with world(tmp_path) as made:
        yield made
