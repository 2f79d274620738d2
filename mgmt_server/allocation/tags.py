"""Whether a host or a pool fits the tags that an offering asks for: by its own tags, or by a rule that it has instead.

Where an administrator names the host, or a machine that runs gets another offering, only tags that settings call
strict decide.

A rule is a comparison over `tags`, the list of those asked for: `tags.includes('ssd') || tags.length == 0`. It fits
where that is true (tag_rules).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import tag_rules
from mgmt_server.allocation.limits import HOST_TAGS
from mgmt_server.allocation.need import Need
from mgmt_server.db import after_commit
from mgmt_server.db.kept import Kept
from mgmt_server.errors import InvalidValue
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Setting
from mgmt_server.model.storage import Pool

STRICT = Setting(
    "vm.strict.host.tags",
    "Tags of hosts, comma separated, that decide even where an administrator names the host of a machine, or a machine "
    "that runs gets another offering",
)
LIMITED_STRICT = Setting(
    "vm.strict.resource.limit.host.tag.check", "Whether the tags of resource.limit.host.tags are strict likewise"
)


def tagged(have: str | None, wanted: Sequence[str]) -> bool:
    return set(wanted) <= {t.strip() for t in (have or "").split(",")}


def lacking(row: Host | Pool, wanted: Sequence[str]) -> str:
    """Why a host or a pool does not fit these tags; empty when it does."""
    if row.tag_rule is not None:
        return _told(row.tag_rule, tuple(wanted))
    missing = [t for t in wanted if not tagged(row.tags, [t])]
    return f"lacks the tag {', '.join(missing)}" if missing else ""


def strict(wanted: Sequence[str]) -> tuple[str, ...]:
    """Those of the tags that decide in any case."""
    told = {*STRICT.words(), *(HOST_TAGS.words() if LIMITED_STRICT.flag() else ())}
    return tuple(t for t in wanted if t in told)


def lacking_strict(host: Host, wanted: Sequence[str]) -> str:
    """Why a host that was named, or that has the machine, does not fit these tags; empty when it does."""
    found = strict(wanted)
    return lacking(host, found) if found else ""


def against(host: Host, need: Need) -> str:
    """Why a host does not fit the tags that a machine needs; empty when it does."""
    return lacking_strict(host, need.tags) if need.named else lacking(host, need.tags)


def _told(rule: str, wanted: tuple[str, ...]) -> str:
    try:
        fits = tag_rules.holds(rule, wanted)
    except (tag_rules.Unfit, InvalidValue) as failure:
        return f"has a tag rule that failed: {failure}"
    asked = f"the tags {', '.join(wanted)}" if wanted else "an offering without tags"
    return "" if fits else f"has a tag rule that does not fit {asked}"


def fitting_hosts(wanted: Sequence[str]) -> list[str]:
    """The rules of hosts that fit these tags."""
    return sorted(rule for rule in known() if not _told(rule, tuple(wanted)))


def put(row: Host | Pool, text: str, *, rule: bool) -> None:
    """Give a host or a pool tags, or a rule instead of them. Raises InvalidValue for a rule that cannot be."""
    if rule:
        tag_rules.read(text)
    row.tags, row.tag_rule = (None, text) if rule else (text or None, None)
    if isinstance(row, Host):
        after_commit(forget)


def _rules(session: Session) -> frozenset[str]:
    rows = select(Host.tag_rule).where(Host.tag_rule.is_not(None), Host.removed.is_(None)).distinct()
    return frozenset(rule for rule in session.scalars(rows) if rule is not None)


known = Kept(_rules)  # the rules that hosts have
forget = known.forget
