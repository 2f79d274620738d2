"""From words of a command line to parameters of the wire, with what listApis says of them."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mgmt_server.errors import InvalidValue
from mgmt_server.shell.profiles import Profile

STANDS = 24 * 3600.0  # seconds that what a server can do is kept for completion
INDEXED = re.compile(r"(\w+)\[\d+\]\..+")


def parameters(words: Sequence[str], told: Mapping[str, Any] | None) -> dict[str, str]:
    """name=value words as parameters. name=@FILE takes a file's content, @- the standard input; tags.env=prod is
    tags[0].key=env and tags[0].value=prod; details.cpu=2 is details[0].cpu=2. Raises InvalidValue.

    told: the command as listApis tells it; None lets everything through
    """
    known = {p["name"].lower(): p for p in told["params"]} if told else {}
    found: dict[str, str] = {}
    tags = 0
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InvalidValue(f"{word!r} is no parameter: write name=value")
        outer, dot, inner = name.partition(".")
        base = INDEXED.fullmatch(name)
        if known and (base[1] if base else outer).lower() not in known:
            raise InvalidValue(f"{told and told['name']} has no parameter {name}: {_near(name, known)}")
        value = _content(value)
        if dot and not base and known.get(outer.lower(), {}).get("type", "map") == "map":
            if outer == "tags":
                found |= {f"tags[{tags}].key": inner, f"tags[{tags}].value": value}
                tags += 1
            else:
                found[f"{outer}[0].{inner}"] = value
        else:
            found[name] = value
    given = {n.lower().partition("[")[0] for n in found}
    missing = [p["name"] for p in known.values() if p["required"] and p["name"].lower() not in given]
    if missing:
        raise InvalidValue(f"{told and told['name']} needs {', '.join(missing)}: see --help after the command")
    return found


def _content(value: str) -> str:
    if not value.startswith("@"):
        return value[1:] if value.startswith("\\@") else value
    if value == "@-":
        return sys.stdin.read()
    try:
        return Path(value[1:]).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValue(f"{value[1:]} cannot be read: {error}; a value that begins with @ is written \\@") from None


def _near(name: str, known: Mapping[str, Any]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name.lower(), known, 3)
    if close:
        return f"did you mean {' or '.join(known[c]['name'] for c in close)}?"
    return f"it has {', '.join(sorted(known)) or 'none'}" if len(known) < 100 else "cloudwright api lists all"


class Apis:
    """What the server's commands are, kept for a day in the user's cache for completion and help."""

    def __init__(self, profile: Profile, ask: Callable[[], list[dict[str, Any]]]) -> None:
        self._ask = ask
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cloudwright"
        name = re.sub(r"\W", "_", f"{profile.name}_{profile.endpoint}_{profile.key[:8]}")
        self._file = root / f"apis-{name}.json"
        self._found: dict[str, dict[str, Any]] = {}

    def all(self, fresh: bool = False) -> dict[str, dict[str, Any]]:
        if not self._found and not fresh:
            self._found = self._kept()
        if not self._found or fresh:
            self._found = {c["name"]: c for c in self._ask()}
            self._keep()
        return self._found

    def of(self, command: str) -> dict[str, Any]:
        """The command in any case. Raises InvalidValue."""
        found = _any_case(self.all(), command) or _any_case(self.all(fresh=True), command)
        if found is None:
            raise InvalidValue(
                f"there is no command {command}, or not for this key: {_near(command, _lower(self.all()))}"
            )
        return found

    def _kept(self) -> dict[str, dict[str, Any]]:
        try:
            if time.time() - self._file.stat().st_mtime > STANDS:
                return {}
            found: dict[str, dict[str, Any]] = json.loads(self._file.read_bytes())
            return found
        except (OSError, ValueError):
            return {}

    def _keep(self) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file.write_text(json.dumps(self._found))
        except OSError:
            return  # a cache that cannot be written makes completion slow, nothing else


def _lower(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name.lower(): c for name, c in found.items()}


def _any_case(found: Mapping[str, dict[str, Any]], command: str) -> dict[str, Any] | None:
    return _lower(found).get(command.lower())


def completions(apis: Mapping[str, Mapping[str, Any]], words: Sequence[str]) -> list[str]:
    """What the last of `words` (those after `cloudwright api`) may become."""
    last = words[-1] if words else ""
    plain = [w for w in words[:-1] if not w.startswith("-")]
    if last.startswith("-"):
        return [o for o in OPTIONS if o.startswith(last)]
    if not plain:
        return sorted(name for name in apis if name.lower().startswith(last.lower()))
    told = _lower(apis).get(plain[0].lower())
    if told is None or "=" in last:
        if told is not None and _type_of(told, last.partition("=")[0]) == "boolean":
            return [v for v in ("true", "false") if v.startswith(last.partition("=")[2])]
        return []
    given = {w.partition("=")[0].lower() for w in plain[1:]}
    return [f"{p['name']}=" for p in told["params"] if p["name"].startswith(last) and p["name"] not in given]


def _type_of(told: Mapping[str, Any], name: str) -> str:
    return next((str(p["type"]) for p in told["params"] if p["name"] == name), "")


OPTIONS = ("--profile", "--output", "--columns", "--all", "--no-wait", "--timeout", "--help")
BASH = """\
_cloudwright_api() {
  local IFS=$'\\n'
  if [ "${COMP_WORDS[1]}" != api ]; then return; fi
  COMPREPLY=($(cloudwright api --complete "${COMP_WORDS[@]:2:COMP_CWORD-1}" 2>/dev/null))
  [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -F _cloudwright_api cloudwright
"""
