"""Projects over the wire: made, changed, suspended, deleted, listed."""

import pytest
from sqlalchemy import select

from mgmt_server.db import reading
from mgmt_server.model.account import Account, Project
from tests.cloud import Refused
from tests.projects import add, project, world


@pytest.fixture
def people(cloud):
    return world(cloud)


def test_a_project_has_an_account_and_an_owner_and_totals(cloud, people):
    made = cloud.job("createProject", user="ann", name="alpha", displaytext="first")["project"]
    assert (made["name"], made["displaytext"], made["state"]) == ("alpha", "first", "Active")
    assert made["owner"] == [{"account": "ann"}]
    assert (made["vmtotal"], made["vmlimit"], made["vmrunning"], made["domain"]) == (0, "20", 0, "b")
    assert made["projectaccountname"].startswith("PrjAcct-alpha-")
    (listed,) = cloud.ask("listProjects", user="ann")["project"]
    assert listed == made
