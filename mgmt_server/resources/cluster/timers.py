"""Factors of clusters follow the settings."""

from __future__ import annotations

from mgmt_server.db import write
from mgmt_server.jobs.worker import every
from mgmt_server.resources.cluster.rows import follow_settings


@every(15, "cluster.factors")
def factors() -> None:
    write(follow_settings)
