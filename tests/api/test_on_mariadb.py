"""This folder's tests once more on a MariaDB of the run's own: what one database forgives, the other may not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import mariadb

HERE = Path(__file__).parent
DATABASE = "CLOUDWRIGHT_TEST_DATABASE"


@pytest.mark.mariadb
@pytest.mark.timeout(1500)
@pytest.mark.skipif(bool(os.environ.get(DATABASE)), reason="this is that run")
def test_the_api_on_mariadb():
    assert mariadb.available(), "install mariadb-server: tools/debian-packages.txt has it"
    with mariadb.server() as url:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", HERE, "tests/unit/test_jobs.py"],
            env=os.environ | {DATABASE: url}, capture_output=True, text=True, cwd=HERE.parents[1], check=False,
        )  # fmt: skip
    tail = "\n".join(done.stdout.splitlines()[-60:])
    assert done.returncode == 0, f"{tail}\n{done.stderr[-2000:]}"
    print(done.stdout.splitlines()[-1])
