"""Checksums of images, as clients send and read them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mgmt_server.errors import Failed, InvalidValue

DIGESTS = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}


def digest_of(text: str) -> tuple[str, str]:
    """Algorithm and hexadecimal digest of a checksum as clients send it: {SHA-256}ab12..., or the digest alone."""
    algorithm, _, digest = text.strip().rpartition("}")
    digest = digest.lower()
    name = algorithm.strip("{").replace("-", "").lower() or DIGESTS.get(len(digest), "")
    known = {v: k for k, v in DIGESTS.items()}
    if name not in known or len(digest) != known[name] or set(digest) - set("0123456789abcdef"):
        raise InvalidValue(
            f"checksum={text[:100]} is none: send a hexadecimal MD5, SHA-1 or SHA-2 digest, or {{SHA-256}}digest"
        )
    return name, digest


def checked(file: Path, expected: str) -> str:
    """The digest of a file, as clients read it. Raises Failed when it is not the expected one."""
    name, digest = digest_of(expected) if expected else ("sha256", "")
    with open(file, "rb") as source:
        found = hashlib.file_digest(source, name).hexdigest()
    if digest and found != digest:
        raise Failed(
            f"the checksum is wrong: the file's {name.upper()} is {found}, and {digest} was registered. Either the "
            "file was changed, or the checksum is of another one"
        )
    return expected or f"{{SHA-256}}{found}"
