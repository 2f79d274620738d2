"""Public keys of SSH: read, checked, and told by their fingerprint."""

from __future__ import annotations

import base64
import binascii
import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mgmt_server.errors import InvalidValue
from mgmt_server.model.settings import Setting

BITS = Setting("ssh.key.length", "Bits of the RSA keys that are made for users", default="3072", least=2048, most=8192)
LEAST_BITS = 1024


def normal(text: str) -> str:
    """A public key on one line, as authorized_keys has it; also from base64 of it. Raises InvalidValue.

    Options before the key are refused: they would be written to guests with it.
    """
    for candidate in (text, _unwrapped(text)):
        if candidate is None:
            continue
        line = " ".join(candidate.split())
        try:
            key = serialization.load_ssh_public_key(line.encode())
        except (ValueError, UnsupportedAlgorithm, UnicodeEncodeError):
            continue
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < LEAST_BITS:
            raise InvalidValue(f"the RSA key has {key.key_size} bits: use one of {LEAST_BITS} at least")
        return line
    raise InvalidValue(
        "Public key is invalid: send one line as in authorized_keys, such as 'ssh-ed25519 AAAA... name', URL encoded"
    )


def _unwrapped(text: str) -> str | None:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def fingerprint(line: str) -> str:
    """MD5 of the key's bytes, as clients of this protocol compare it: 45:a4:..."""
    digest = hashlib.md5(base64.b64decode(line.split()[1]), usedforsecurity=False).hexdigest()
    return ":".join(digest[n : n + 2] for n in range(0, 32, 2))


def pair() -> tuple[str, str]:
    """A new RSA key: private (PEM) and public (one line)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=BITS.number())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode(), public.decode()
