import pytest

from tests.crash.world import world
from tests.simulated import GIB


@pytest.fixture
def cloud(loaded, tmp_path):
    """A server process of its own with a zone of simulated hosts."""
    with world(tmp_path, 24 * GIB, hosts=4) as made:
        yield made
