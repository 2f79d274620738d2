"""The list of Debian packages names all that the tools need: a machine that lacks one is not the builder's."""

from pathlib import Path

from mgmt_server.systemvm import debian

ROOT = Path(__file__).parents[2]


def test_the_list_has_what_images_are_built_with():
    listed = {line for line in (ROOT / "tools/debian-packages.txt").read_text().split("\n") if line[:1] not in "# "}
    assert {*debian.TOOLS.values(), "syslinux", "syslinux-common"} <= listed
