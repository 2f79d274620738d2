"""Runs on a host: carries out what the management server asks, through libvirt, QEMU's tools and `ip`."""

from __future__ import annotations

from functools import cache
from importlib import metadata


@cache
def version() -> str:
    try:
        return metadata.version("cloudwright")
    except metadata.PackageNotFoundError:
        return "0"
