import pytest

from tests.cloud import Cloud
from tests.protocol import witnessed


@pytest.fixture
def cloud(database):
    return Cloud()


@pytest.fixture(autouse=True)
def as_the_protocol_says():
    """Every answer that any of these tests is given, in both formats."""
    with witnessed() as seen:
        yield
    assert not seen.wrong, "\n".join(sorted(seen.wrong))
