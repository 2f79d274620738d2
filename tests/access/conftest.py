import pytest

from tests.access.world import tenants


@pytest.fixture(scope="module")
def world(fresh_file, tmp_path_factory):
    with tenants(fresh_file, tmp_path_factory.mktemp("access")) as made:
        yield made
