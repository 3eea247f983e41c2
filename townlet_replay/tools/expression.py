"""Conditions such as ``reward_mean > 0 and tags has 'night'``: parsed, never run as code.

Every name has one kind, so that a condition that makes no sense is refused before it meets data::

    condition  = both {"or" both}
    both       = negation {"and" negation}
    negation   = "not" negation | "(" condition ")" | comparison
    comparison = operand ("==" | "!=" | "<" | "<=" | ">" | ">=" | "has" | ["not"] "in") operand
    operand    = value | "null" | name | name "[" string "]" | "[" value {"," value} "]"
    value      = number | string
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from townlet_env.errors import nearest
from townlet_replay.errors import CaptureError

MAX_DEPTH = 50  # of parentheses and `not`
MAX_DIGITS = 30

Facts = Mapping[str, Any]
Test = Callable[[Facts], bool]
Getter = Callable[[Facts], Any]


class Kind(StrEnum):
    """What a value is; the wording is that of messages."""

    NUMBER = "a number"
    TEXT = "a text"
    TEXTS = "a list of texts"
    NUMBERS = "a list of numbers"
    TABLE = "a table of numbers"
    NULL = "null"


class KeyUse(NamedTuple):
    """A key that a condition looks up in a table."""

    table: str
    key: str
    position: int


@dataclass(frozen=True)
class Condition:
    """A parsed condition: call it with the value of every name.

    An unknown value (``None``) makes a comparison false; ``== null`` asks for it.
    """

    text: str
    test: Test
    keys: tuple[KeyUse, ...]

    def __call__(self, facts: Facts) -> bool:
        """Say whether the condition holds."""
        return self.test(facts)


class _Token(NamedTuple):
    kind: str  # number, string, name, sign, end
    text: str
    position: int


class _Operand(NamedTuple):
    kind: Kind
    get: Getter
    token: _Token


_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<string>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>==|!=|<=|>=|[<>()\[\],]))",
    re.ASCII | re.DOTALL,
)
_WORDS = ("and", "or", "not", "has", "in", "null")
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EQUALITY: dict[str, Callable[[Any, Any], bool]] = {"==": operator.eq, "!=": operator.ne}
_INSTEAD = {"=": "==", "&": "and", "|": "or", "!": "not"}
_ITEM = {Kind.TEXTS: Kind.TEXT, Kind.NUMBERS: Kind.NUMBER}


def fault(text: str, position: int, problem: str) -> CaptureError:
    """Return the error that points at a character of a condition."""
    return CaptureError(f"condition {text!r}, character {position + 1}: {problem}")


def parse_condition(text: str, names: Mapping[str, Kind]) -> Condition:
    """Parse a condition.

    Args:
        text: what was typed.
        names: the names that may be used, and what they are.

    Raises:
        CaptureError: not a condition; points at the character and says what was expected.
    """
    parser = _Parser(text, names, _tokens(text))
    test = parser.condition(0)
    parser.expect_end()
    return Condition(text, test, tuple(parser.keys))


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            start = len(text) - len(text[position:].lstrip())
            raise fault(text, start, _strange(text[start]))
        kind = str(match.lastgroup)
        found.append(_Token(kind, match[kind], match.start(kind)))
        position = match.end()
    return [*found, _Token("end", "", len(text))]


def _strange(character: str) -> str:
    if character in "'\"":
        return f"this text has no closing {character}"
    if character in _INSTEAD:
        return f"{character!r} is not known; did you mean {_INSTEAD[character]!r}?"
    return f"{character!r} is not known here"


@dataclass
class _Parser:
    """Recursive descent over the tokens; every rule returns a test or an operand."""

    text: str
    names: Mapping[str, Kind]
    tokens: list[_Token]
    keys: list[KeyUse] = field(default_factory=list)
    place: int = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.place]

    def take(self, *texts: str) -> _Token | None:
        """Return the next token and move on, if it is a sign or word out of ``texts``."""
        token = self.token
        if token.kind in {"sign", "name"} and token.text in texts:
            self.place += 1
            return token
        return None

    def expect(self, text: str) -> None:
        if self.take(text) is None:
            raise self.unexpected(repr(text))

    def expect_end(self) -> None:
        if self.token.kind != "end":
            raise self.unexpected("'and', 'or' or the end")

    def unexpected(self, expected: str) -> CaptureError:
        found = repr(self.token.text) if self.token.text else "the end"
        return fault(self.text, self.token.position, f"expected {expected}, found {found}")

    def condition(self, depth: int) -> Test:
        tests = [self.both(depth)]
        while self.take("or"):
            tests.append(self.both(depth))
        return tests[0] if len(tests) == 1 else lambda facts: any(test(facts) for test in tests)

    def both(self, depth: int) -> Test:
        tests = [self.negation(depth)]
        while self.take("and"):
            tests.append(self.negation(depth))
        return tests[0] if len(tests) == 1 else lambda facts: all(test(facts) for test in tests)

    def negation(self, depth: int) -> Test:
        if depth > MAX_DEPTH:
            raise fault(self.text, self.token.position, f"nested deeper than {MAX_DEPTH}")
        if self.take("not"):
            test = self.negation(depth + 1)
            return lambda facts: not test(facts)
        if self.take("("):
            test = self.condition(depth + 1)
            self.expect(")")
            return test
        return self.comparison()

    def comparison(self) -> Test:
        left = self.operand()
        sign = self.take(*_EQUALITY, *_ORDER, "has", "in", "not")
        if sign is None:
            raise self.unexpected("a comparison (==, !=, <, <=, >, >=, has, in, not in)")
        if sign.text == "not":
            self.expect("in")
        right = self.operand()
        again = self.take(*_EQUALITY, *_ORDER, "has", "in")
        if again is not None:
            raise fault(self.text, again.position, "join comparisons with 'and'")
        if sign.text in _ORDER:
            return self.order(left, sign, right)
        if sign.text in _EQUALITY:
            return self.equality(left, sign, right)
        if sign.text == "has":
            return self.membership(right, sign, left, wanted=True)
        return self.membership(left, sign, right, wanted=sign.text == "in")

    def order(self, left: _Operand, sign: _Token, right: _Operand) -> Test:
        for side in (left, right):
            if side.kind is not Kind.NUMBER:
                raise self.unfit(side, f"a number beside {sign.text!r}")
        return _known(_ORDER[sign.text], left.get, right.get)

    def equality(self, left: _Operand, sign: _Token, right: _Operand) -> Test:
        wanted = sign.text == "=="
        if right.kind is Kind.NULL:
            return lambda facts: (left.get(facts) is None) == wanted
        if left.kind not in (Kind.NUMBER, Kind.TEXT):
            raise self.unfit(left, f"a number or a text before {sign.text!r}")
        if right.kind is not left.kind:
            raise self.unfit(right, f"{left.kind} after {sign.text!r}")
        return _known(_EQUALITY[sign.text], left.get, right.get)

    def membership(self, item: _Operand, sign: _Token, group: _Operand, *, wanted: bool) -> Test:
        kind = _ITEM.get(group.kind)
        if kind is None:
            side = "before" if sign.text == "has" else "after"
            raise self.unfit(group, f"a list {side} {sign.text!r}")
        if item.kind is not kind:
            raise self.unfit(item, f"{kind} to look for")
        return _known(lambda one, many: (one in many) == wanted, item.get, group.get)

    def unfit(self, operand: _Operand, expected: str) -> CaptureError:
        token = operand.token
        problem = f"expected {expected}, found {operand.kind} ({token.text})"
        return fault(self.text, token.position, problem)

    def operand(self) -> _Operand:
        token = self.token
        if token.kind == "end" or (token.kind == "name" and token.text in _WORDS[:-1]):
            raise self.unexpected("a name, a number or a text")
        self.place += 1
        if token.kind == "number":
            return _Operand(Kind.NUMBER, _constant(self.number(token)), token)
        if token.kind == "string":
            return _Operand(Kind.TEXT, _constant(_unquote(token.text)), token)
        if token.text == "null":
            return _Operand(Kind.NULL, _constant(None), token)
        if token.kind == "name":
            return self.name(token)
        if token.text == "[":
            return self.items(token)
        self.place -= 1
        raise self.unexpected("a name, a number or a text")

    def number(self, token: _Token) -> int | float:
        if len(token.text) > MAX_DIGITS:
            raise fault(self.text, token.position, f"a number of more than {MAX_DIGITS} characters")
        if token.text.lstrip("-").isdigit():
            return int(token.text)  # exact, whatever the size of a seed
        return float(token.text)

    def name(self, token: _Token) -> _Operand:
        name = token.text
        kind = self.names.get(name)
        if kind is None:
            hint = nearest(name, self.names)
            raise fault(self.text, token.position, f"unknown name {name!r}{hint}")
        if kind is not Kind.TABLE:
            return _Operand(kind, lambda facts: facts[name], token)
        if self.take("[") is None:
            raise self.unexpected(f"[...] after {name}, a table: {name}['key']")
        entry = self.token
        if entry.kind != "string":
            raise self.unexpected("a text")
        self.place += 1
        self.expect("]")
        key = _unquote(entry.text)
        self.keys.append(KeyUse(name, key, entry.position))
        return _Operand(Kind.NUMBER, lambda facts: _entry(facts[name], key), token)

    def items(self, token: _Token) -> _Operand:
        found: list[_Operand] = []
        while True:
            item = self.operand()
            if item.kind not in (Kind.TEXT, Kind.NUMBER) or item.token.kind == "name":
                raise self.unfit(item, "a number or a text in a list")
            if found and item.kind is not found[0].kind:
                raise self.unfit(item, f"{found[0].kind} like the first of the list")
            found.append(item)
            if self.take("]"):
                break
            if self.take(",") is None:
                raise self.unexpected("',' or ']'")
        kind = Kind.TEXTS if found[0].kind is Kind.TEXT else Kind.NUMBERS
        return _Operand(kind, _constant([item.get({}) for item in found]), token)


def _constant(value: object) -> Getter:
    return lambda facts: value


def _known(compare: Callable[[Any, Any], bool], left: Getter, right: Getter) -> Test:
    """Compare two values; what is unknown is neither equal nor different, more nor less."""

    def test(facts: Facts) -> bool:
        one, other = left(facts), right(facts)
        return one is not None and other is not None and compare(one, other)

    return test


def _entry(table: Mapping[str, float] | None, key: str) -> float | None:
    """Return an entry of a table of sums and counts, which leave out what never happened."""
    return None if table is None else table.get(key, 0)


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
