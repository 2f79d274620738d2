"""Rules over tags, as data: comparisons that are read into a tree and worked out here, by no interpreter.

    tags.includes('ssd') || tags.length == 0
    tags[0] === "gold" && !(tags.indexOf('slow') > -1)

They are written as the protocol has them, in the part of JavaScript's expressions that compares: && || ! == === != !==
< <= > >=, parentheses, texts, whole numbers, true and false, `tags` (the list of those that an offering asks for), its
elements, and of a list or a text .length, .includes(), .indexOf(), .startsWith() and .endsWith(). A list that is
compared with a text is its elements with commas between.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from mgmt_server.errors import InvalidValue

LONGEST, DEEPEST = 1000, 40  # characters, and expressions one inside the other
Value = Any  # bool, int, str, the tuple of tags, or None for an element that is not there
Rule = Callable[[tuple[str, ...]], Value]

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'[^'\\]*'|\"[^\"\\]*\")|(?P<number>\d{1,9})|(?P<name>[A-Za-z]+)"
    r"|(?P<sign>&&|\|\||===|!==|==|!=|<=|>=|[<>!()\[\].,-]))"
)
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_OF_TEXTS: dict[str, Callable[[str, str], Value]] = {
    "includes": lambda text, part: part in text,
    "indexOf": lambda text, part: text.find(part),
    "startsWith": lambda text, part: text.startswith(part),
    "endsWith": lambda text, part: text.endswith(part),
}
_OF_LISTS: dict[str, Callable[[tuple[str, ...], str], Value]] = {
    "includes": lambda tags, tag: tag in tags,
    "indexOf": lambda tags, tag: tags.index(tag) if tag in tags else -1,
}


class Unfit(Exception):
    """A rule that says nothing of these tags."""


@lru_cache(maxsize=1024)
def read(text: str) -> Rule:
    """The rule that a text stands for. Raises InvalidValue."""
    if not text.strip() or len(text) > LONGEST:
        raise InvalidValue(f"A tag rule has 1 to {LONGEST} characters")
    return _Reader(text).whole()


def holds(text: str, tags: Sequence[str]) -> bool:
    """Whether it holds for these tags. Raises Unfit where it is neither true nor false, InvalidValue for no rule."""
    return _truth(read(text)(tuple(tags)))


def _truth(value: Value) -> bool:
    if not isinstance(value, bool):
        raise Unfit(f"{_shown(value)} is neither true nor false")
    return value


def _shown(value: Value) -> str:
    return "an element that is not there" if value is None else repr(value)


class _Reader:
    """Reads one rule from left to right."""

    def __init__(self, text: str) -> None:
        self.text, self.depth, self.at = text, 0, 0
        self.tokens: list[tuple[str, str]] = []
        end = 0
        while text[end:].strip():
            found = _TOKEN.match(text, end)
            if found is None:
                raise self._wrong(f"{text[end:].strip()[:20]!r} cannot stand there")
            self.tokens.append((str(found.lastgroup), found[found.lastgroup or 0]))
            end = found.end()

    def whole(self) -> Rule:
        rule = self._any()
        if self.at < len(self.tokens):
            raise self._wrong(f"{self._next()!r} cannot follow")
        return rule

    def _wrong(self, why: str) -> InvalidValue:
        return InvalidValue(
            f"The tag rule {self.text[:200]!r} is no comparison of tags: {why}. Write for example "
            "tags.includes('ssd') || tags.length == 0"
        )

    def _next(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def _take(self, *signs: str) -> str:
        """The next token if it is one of these signs; else nothing."""
        if self.at < len(self.tokens) and self.tokens[self.at][0] == "sign" and self._next() in signs:
            self.at += 1
            return self.tokens[self.at - 1][1]
        return ""

    def _need(self, sign: str) -> None:
        if not self._take(sign):
            raise self._wrong(
                f"{sign!r} is missing before {self._next()!r}" if self._next() else f"{sign!r} is missing"
            )

    def _any(self) -> Rule:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self._wrong(f"it has more than {DEEPEST} expressions one inside the other")
        parts = [self._all()]
        while self._take("||"):
            parts.append(self._all())
        self.depth -= 1
        return parts[0] if len(parts) == 1 else lambda tags: any(_truth(part(tags)) for part in parts)

    def _all(self) -> Rule:
        parts = [self._compared()]
        while self._take("&&"):
            parts.append(self._compared())
        return parts[0] if len(parts) == 1 else lambda tags: all(_truth(part(tags)) for part in parts)

    def _compared(self) -> Rule:
        left = self._unary()
        sign = self._take("===", "!==", "==", "!=", *_COMPARED)
        if not sign:
            return left
        right = self._unary()
        return lambda tags: _compare(sign, left(tags), right(tags))

    def _unary(self) -> Rule:
        denials = 0
        while self._take("!"):
            denials += 1
        value = self._value()
        if not denials:
            return value
        return lambda tags: _truth(value(tags)) == (denials % 2 == 0)

    def _value(self) -> Rule:
        if self._take("("):
            inner = self._any()
            self._need(")")
            return inner
        minus = bool(self._take("-"))
        kind, word = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        self.at += 1
        if kind == "number":
            number = -int(word) if minus else int(word)
            return lambda _: number
        if minus or kind not in ("text", "name"):
            raise self._wrong(f"a value is missing before {word!r}" if word else "a value is missing at its end")
        if kind == "text":
            return self._parts(lambda _: word[1:-1])
        if word in ("true", "false"):
            return lambda _: word == "true"
        if word != "tags":
            raise self._wrong(f"{word!r} is not known")
        return self._parts(lambda tags: tags)

    def _parts(self, value: Rule) -> Rule:
        """What is asked of a list or a text: an element, its length, whether something is in it."""
        while True:
            if self._take("["):
                value = _element(value, self._any())
                self._need("]")
            elif self._take("."):
                kind, word = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
                self.at += 1
                if word == "length":
                    value = _length(value)
                    continue
                if kind != "name" or word not in _OF_TEXTS:
                    raise self._wrong(f".{word} is not known")
                self._need("(")
                value = _asked(value, word, self._any())
                self._need(")")
            else:
                return value


def _compare(sign: str, left: Value, right: Value) -> bool:
    if sign in _COMPARED:
        if not (type(left) is type(right) and isinstance(left, int | str)):
            raise Unfit(f"{_shown(left)} and {_shown(right)} have no order")
        return _COMPARED[sign](left, right)
    if isinstance(left, tuple) and isinstance(right, str):
        left = ",".join(left)
    elif isinstance(right, tuple) and isinstance(left, str):
        right = ",".join(right)
    same = type(left) is type(right) and left == right
    return same == (sign in ("==", "==="))


def _element(value: Rule, index: Rule) -> Rule:
    def found(tags: tuple[str, ...]) -> Value:
        row, number = value(tags), index(tags)
        if not isinstance(row, tuple | str) or isinstance(number, bool) or not isinstance(number, int):
            raise Unfit(f"{_shown(row)} has no element {_shown(number)}")
        return row[number] if 0 <= number < len(row) else None

    return found


def _length(value: Rule) -> Rule:
    def found(tags: tuple[str, ...]) -> Value:
        row = value(tags)
        if not isinstance(row, tuple | str):
            raise Unfit(f"{_shown(row)} has no length")
        return len(row)

    return found


def _asked(value: Rule, what: str, of: Rule) -> Rule:
    def found(tags: tuple[str, ...]) -> Value:
        row, part = value(tags), of(tags)
        known = _OF_LISTS.get(what) if isinstance(row, tuple) else _OF_TEXTS[what] if isinstance(row, str) else None
        if known is None or not isinstance(part, str):
            raise Unfit(f".{what}({_shown(part)}) cannot be asked of {_shown(row)}")
        return known(row, part)  # type: ignore[arg-type]

    return found
