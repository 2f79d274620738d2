"""Give a flat TOML file some settings, and leave the others as they are.

    python3 - FILE JSON [BASE] < settings.py

With BASE the file becomes what BASE says and the settings, and nothing else; it is made if it is not there.

JSON: {KEY: value}; a value may be text, a number, a bool, a list or one level of table; null takes the key away.
Prints {"changed": bool, "keys": [what differs]}. The file is replaced at once and keeps its owner and mode.
"""

from __future__ import annotations

import json
import os
import sys
import tomllib
from pathlib import Path


def literal(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(literal(v) for v in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # JSON's text is a basic string of TOML
    raise SystemExit(f"{value!r} cannot be a setting: text, numbers, booleans, lists and one level of table can")


def rendered(content: dict[str, object]) -> str:
    lines = [f"{key} = {literal(value)}" for key, value in content.items() if not isinstance(value, dict)]
    for key, value in content.items():
        if isinstance(value, dict):
            lines += ["", f"[{key}]", *(f"{literal(k)} = {literal(v)}" for k, v in value.items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    path, wanted = Path(sys.argv[1]), json.loads(sys.argv[2])
    base = Path(sys.argv[3]) if len(sys.argv) > 3 else path
    before = tomllib.loads(path.read_text()) if path.exists() else {}
    after = {k: v for k, v in (tomllib.loads(base.read_text()) | wanted).items() if v is not None}
    keys = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    if keys or not path.exists():
        text = rendered(after)
        if tomllib.loads(text) != after:
            raise SystemExit(f"{path} was left as it is: the new settings do not survive being written")
        known, new = (path if path.exists() else base).stat(), path.with_name(path.name + ".new")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chown(new, known.st_uid, known.st_gid)
        new.chmod(known.st_mode & 0o7777)
        new.rename(path)
    print(json.dumps({"changed": bool(keys), "keys": keys}))


main()
