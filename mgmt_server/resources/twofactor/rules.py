"""Who has to give a second factor, and whether a code is right."""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import dataclass

import pyotp
from sqlalchemy import update
from sqlalchemy.orm import Session

from mgmt_server.api import passwords
from mgmt_server.api.scopes import INHERITED, of_domain
from mgmt_server.db import changed, reading
from mgmt_server.model.account import User
from mgmt_server.model.settings import Scope, Setting

ENABLED = Setting("enable.user.2fa", "Whether users may ask for a second factor at their log-in")
MANDATED = Setting("mandate.user.2fa", "Whether all users have to set up a second factor; needs enable.user.2fa")
DEFAULT = Setting(
    "user.2fa.default.provider", "What makes the codes, where the user does not say", options=("totp", "staticpin")
)
ISSUER = Setting("user.2fa.issuer", "The name under which authenticator applications show the code")

CODE, PASSWORD = "two_factor", "password"  # what a session is for alone
STEP = 30  # seconds that a time-based code is shown


@dataclass(frozen=True)
class Provider:
    name: str
    description: str


PROVIDERS = {
    p.name: p
    for p in (
        Provider("totp", "Codes from an authenticator application, by time (RFC 6238)"),
        Provider("staticpin", "A fixed code of six digits, told once when it is set up"),
    )
}


def is_mandated(alone: bool, domain_id: int) -> bool:
    """For lists of users."""
    if alone or not MANDATED.somewhere():
        return alone
    scopes: tuple[Scope, ...] = (Scope("Domain", domain_id),)
    if INHERITED.flag():
        with reading() as session:
            scopes = of_domain(session, domain_id)
    return MANDATED.flag(*scopes) and ENABLED.flag(*scopes)


def pending(session: Session, user: User, domain_id: int) -> str:
    """What a new session of the user is for alone. A set-up that no code has proven is taken back."""
    if user.two_factor_secret and not user.two_factor:
        forget(session, user.id)
    if user.two_factor or is_mandated(user.two_factor_mandated, domain_id):
        return CODE
    return after_code(session, user, domain_id)


def after_code(session: Session, user: User, domain_id: int) -> str:
    return PASSWORD if passwords.is_due(session, domain_id, user) else ""


def shown(session: Session, user: User, domain_id: int) -> tuple[str, str]:
    """The issuer, and the provider of a user who has one, for the answer of the log-in."""
    provider = user.two_factor_provider if user.two_factor else None
    return ISSUER.text(*of_domain(session, domain_id)), provider or ""


def new_secret(provider: str) -> str:
    return pyotp.random_base32() if provider == "totp" else f"{secrets.randbelow(10**6):06d}"


def keep(tx: Session, user_id: int, **values: object) -> bool:
    """Change a user's second factor, without ending the session in which that is done."""
    mine = update(User).where(User.id == user_id).values(**values)
    return changed(tx.execute(mine.execution_options(synchronize_session="fetch"))) == 1


def forget(tx: Session, user_id: int) -> None:
    keep(tx, user_id, two_factor=False, two_factor_secret=None, two_factor_provider=None, two_factor_used=0)


def right(tx: Session, user: User, code: str) -> bool:
    """Whether it is the user's code now. A time-based one is taken once: two at once meet the same condition."""
    secret = user.two_factor_secret or ""
    if user.two_factor_provider == "staticpin":
        return bool(secret) and hmac.compare_digest(code.encode(), secret.encode())
    if not secret:
        return False
    now = int(time.time()) // STEP
    found = [step for step in (now - 1, now, now + 1) if _same(secret, step, code)]
    if not found:
        return False
    mine = update(User).where(User.id == user.id, User.two_factor_used < found[0]).values(two_factor_used=found[0])
    return changed(tx.execute(mine.execution_options(synchronize_session="fetch"))) == 1


def _same(secret: str, step: int, code: str) -> bool:
    return hmac.compare_digest(pyotp.TOTP(secret).generate_otp(step).encode(), code.encode())
