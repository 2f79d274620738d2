"""Images on their way into the lab's cloud and out of it, and what guests see of them."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

from tests.e2e.conftest import Lab, wait
from tests.e2e.machine import Machine


def send(lab: Lab, form: dict, file: Path) -> dict:
    """Post an image as a page of another site does in a browser, which first asks whether it may: what was answered."""
    names = ("x-signature", "x-expires", "x-metadata")
    asked = ["-H", "Origin: http://ui.example.org", "-H", f"Access-Control-Request-Headers: {','.join(names)}"]
    asked += ["-H", "Access-Control-Request-Method: POST"]
    allowed = lab.inside("curl", "-s", "-D-", "-o/dev/null", "-XOPTIONS", *asked, form["postURL"]).lower()
    assert " 204" in allowed.split("\n")[0] and all(name in allowed for name in names), allowed
    values = (form["signature"], form["expires"], form["metadata"])
    headers = [f"-H{name}: {value}" for name, value in zip(names, values, strict=True)]
    told = lab.inside("curl", "-s", *headers, "-F", f"file=@{file};filename=image", form["postURL"], seconds=120)
    return json.loads(told)


def fetched(lab: Lab, link: str, file: Path) -> Path:
    """The file that a link leads to."""
    lab.inside("curl", "-sf", "--retry", "2", "-o", str(file), link, seconds=120, check=True)
    return file


def digest(file: Path, *, length: int | None = None) -> str:
    """SHA-256 of a file; of a disk in it with `length`, the first bytes of what a guest would read."""
    if length is None:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    plain = file.with_suffix(".plain")
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(file), str(plain)], check=True)
    with plain.open("rb") as content:
        found = hashlib.sha256(content.read(length)).hexdigest()
    plain.unlink()
    return found


def name_of(guest: Machine, volume: str) -> str:
    """What a guest calls a disk, once it sees it."""
    return wait(lambda: guest.disk(volume), 60)["name"]


def content(guest: Machine, name: str, length: int) -> str:
    """SHA-256 of the first bytes of a guest's disk, as they are read anew."""
    fresh = "echo 3 > /proc/sys/vm/drop_caches"
    return guest.does(f"{fresh}; head -c {length} /dev/{name} | sha256sum | cut -d' ' -f1")
