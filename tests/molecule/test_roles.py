"""Every role on a fresh Debian: previewed, applied, applied again without a change, verified."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.molecule.project import Project, scenarios

pytestmark = [pytest.mark.molecule, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
AT_ONCE = 2  # a role waits for its machine half of the time


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future]]:
    """A run for each role that this session tests, `AT_ONCE` at a time; the long ones (with preparation) first."""
    tests = [item for item in request.session.items if getattr(item, "function", None) is test_role]
    roles = [item.callspec.params["role"] for item in tests]  # type: ignore[attr-defined]
    project = Project(tmp_path_factory.mktemp("roles"), roles)
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        project.up()
        roles.sort(key=lambda role: "prepare" not in project.sequence_of(role))
        yield {role: pool.submit(project.run, role) for role in roles}
    finally:
        pool.shutdown(cancel_futures=True)
        project.down()


@pytest.mark.parametrize("role", scenarios())
def test_role(role: str, runs: dict[str, Future]) -> None:
    print(runs[role].result())
