import pytest

from mgmt_server import db
from tests.access.world import tenants
from tests.cloud import Cloud


@pytest.fixture(scope="module")
def built(fresh_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("security")
    with tenants(fresh_file, folder) as made:
        yield made, f"sqlite:///{folder}/cloud.db"


@pytest.fixture
def world(built):
    """Tenants, made once; other tests of a module may open databases of their own in between."""
    made, url = built
    db.connect(url)
    return made


@pytest.fixture
def cloud(database):
    return Cloud()
