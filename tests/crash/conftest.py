import pytest

from tests.crash.world import world
from tests.simulated import GIB


@pytest.fixture
def cloud(loaded, tmp_path, request):
    """A server process of its own; `loaded` has the tables and the key that its database is read with.
    A parameter is the memory of each of its two hosts."""
    with world(tmp_path, getattr(request, "param", 256 * GIB)) as made:
        yield made
