import pytest

from tests.cloud import Cloud


@pytest.fixture
def cloud(database):
    return Cloud()
