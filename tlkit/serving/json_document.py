"""JSON requests as text: parsed as TensorFlow Serving's RapidJSON parses them, at any depth of nesting.

Python's own parser does the work. Where its recursion ends, the value in question is checked token by token and
stands as `Nested`: no tensor is so deep, but a request may carry such a value under a key that nobody reads.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from tlkit.serving.status import Code, ServingError

#: TensorFlow Serving cuts the values that it shows in its messages at so many bytes.
MAX_SHOWN = 256
_SPACE = " \t\r\n"
_TOO_BIG_FOR_A_DOUBLE = "JSON Parse error: Number too big to be stored in double."
_TOO_BIG = re.compile(r"[eE]\+?[0-9]{3}|[0-9]{300}")
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_STRING = r'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*"'
_TOKEN = re.compile(
    rf"[{_SPACE}]*(?:(?P<open>\[(?:[{_SPACE}]*\[)*)|(?P<close>\](?:[{_SPACE}]*\])*)|(?P<string>{_STRING})"
    rf"|(?P<scalar>{_NUMBER}|-?Infinity|NaN|true|false|null)|(?P<mark>[{{}}:,]))"
)
#: RapidJSON knows more words for numbers that are not finite than Python does.
_ODD_NUMBER = re.compile(r"-?(?:Inf(?!i)|NaN)")
_NOT_FINITE = re.compile(rf"{_STRING}|-?(?:Infinity|Inf(?!i)|NaN)")
#: An escape; alone is half of a surrogate pair without its other half.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<alone>u[dD][89a-fA-F])|.)", re.DOTALL
)
#: So many brackets are looked at to say which one is missing.
_MOST_BRACKETS = 1_000_000
#: What RapidJSON says where Python's parser says the key.
_MESSAGES = {
    "Expecting value": "Invalid value.",
    "Expecting property name": "Missing a name for object member.",
    "Illegal trailing comma": "Missing a name for object member.",
    "Expecting ':'": "Missing a colon after a name of object member.",
    "Unterminated string": "Missing a closing quotation mark in string.",
    "Invalid \\u": "Incorrect hex digit after \\u escape in string.",
    "Invalid \\": "Invalid escape character in string.",
    "Invalid control": "Invalid encoding in string.",
}


class BadRequestError(ServingError, ValueError):
    """The body is not a request that the signature can take: INVALID_ARGUMENT, HTTP 400."""

    def __init__(self, message: str):
        super().__init__(Code.INVALID_ARGUMENT, message)


@dataclass(frozen=True)
class Nested:
    """A value that is nested too deeply to be held: `kind` is "Array" or "Object"."""

    kind: str


class Repeated(dict[str, Any]):
    """An object in which a key stands more than once: as a dict it holds each key's first value.

    Args:
        pairs: all keys and values, in their order.
    """

    def __init__(self, pairs: list[tuple[str, Any]]):
        super().__init__(reversed(pairs))
        self.pairs = pairs


@dataclass(frozen=True)
class Document:
    """A parsed body: its members by key, and its text."""

    text: str
    members: dict[str, Any]

    def check_infinity(self) -> None:
        """Refuse a number that only became infinite because no double holds it.

        To be called where an infinity was met: a hook for every number would cost each request time.

        Raises:
            BadRequestError: there is such a number.
        """
        if not _TOO_BIG.search(self.text):
            return
        for number in re.finditer(_NUMBER, re.sub(_STRING, '""', self.text)):
            if math.isinf(float(number[0])):
                raise BadRequestError(_TOO_BIG_FOR_A_DOUBLE)


def parse(body: bytes) -> Document:
    """Parse the body of a request.

    As in TensorFlow Serving, text after the document is ignored, of keys that occur twice the first one counts
    (see `Repeated`), and Inf, -Inf and -NaN are numbers too.

    Example:
        >>> parse(b'{"instances": [1, NaN]} and so on').members
        {'instances': [1, nan]}

    Args:
        body: JSON in UTF-8, with or without a byte order mark.

    Returns:
        The members of the object.

    Raises:
        BadRequestError: not JSON, or not an object.
    """
    try:
        text = body.decode("utf-8").removeprefix("\ufeff").lstrip(_SPACE)
    except UnicodeDecodeError as error:
        raise BadRequestError(f"JSON Parse error: the document is not UTF-8: {error.reason}") from None
    if not text:
        raise BadRequestError("JSON Parse error: The document is empty")
    try:
        try:
            document, end = _decoded(text)
        except json.JSONDecodeError as error:
            if not _ODD_NUMBER.match(text, error.pos):
                raise
            text = _NOT_FINITE.sub(_as_python_writes, text)
            document, end = _decoded(text)
    except json.JSONDecodeError as error:
        raise BadRequestError(f"JSON Parse error: {_what_is_wrong(error)} at offset: {error.pos}") from None
    except ValueError:  # an integer of more digits than Python converts, which no double holds either
        raise BadRequestError(_TOO_BIG_FOR_A_DOUBLE) from None
    if "\\ud" in text or "\\uD" in text:
        alone = next((escape for escape in _ESCAPE.finditer(text, 0, end) if escape["alone"]), None)
        if alone is not None:
            message = f"JSON Parse error: The surrogate pair in string is invalid. at offset: {alone.start()}"
            raise BadRequestError(message)
    if not isinstance(document, dict):
        raise BadRequestError(f"JSON Value: {shown(document)} Is not object")
    return Document(text, document)


def signature_name(document: Document) -> str:
    """Return the name under "signature_name", or an empty string.

    Raises:
        BadRequestError: it is not a string.
    """
    name = document.members.get("signature_name", "")
    if not isinstance(name, str):
        raise BadRequestError(
            f"JSON Value: {shown(document.members)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name


def type_name(value: Any) -> str:
    """Return RapidJSON's word for the type of a parsed value.

    >>> type_name(None), type_name(True), type_name(0.5)
    ('Null', 'True', 'Number')
    """
    if isinstance(value, Nested):
        return value.kind
    if isinstance(value, bool):
        return "True" if value else "False"
    names: dict[type, str] = {list: "Array", dict: "Object", str: "String", type(None): "Null"}
    return names.get(type(value), "Number")


def shown(value: Any) -> str:
    """Write a parsed value for a message, cut at 256 characters.

    >>> shown({"a": [1, "b"]})
    '{"a": [1, "b"]}'
    """
    parts: list[str] = []
    _show(value, parts, MAX_SHOWN)
    return "".join(parts)[:MAX_SHOWN]


def _show(value: Any, parts: list[str], room: int) -> int:
    """Append the text of `value` until `room` characters are used up, which also bounds the recursion."""
    if isinstance(value, Nested):
        return _add("[...]" if value.kind == "Array" else "{...}", parts, room)
    if isinstance(value, list | dict):
        first, last = "[]" if isinstance(value, list) else "{}"
        room = _add(first, parts, room)
        for i, item in enumerate(value):
            if room <= 0:
                return room
            room = _add(", ", parts, room) if i else room
            if isinstance(value, dict):
                room = _add(json.dumps(item[:MAX_SHOWN], ensure_ascii=False) + ": ", parts, room)
                item = value[item]
            room = _show(item, parts, room)
        return _add(last, parts, room)
    return _add(json.dumps(value[:MAX_SHOWN] if isinstance(value, str) else value, ensure_ascii=False), parts, room)


def _add(text: str, parts: list[str], room: int) -> int:
    parts.append(text)
    return room - len(text)


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Repeated(pairs)


_DECODER = json.JSONDecoder(object_pairs_hook=_first_wins)


def _decoded(text: str) -> tuple[Any, int]:
    """Return the document, and where it ends."""
    try:
        return _DECODER.raw_decode(text)
    except RecursionError:
        return _deep(text)


def _as_python_writes(match: re.Match[str]) -> str:
    """Return a string as it is, and a number that is not finite as Python's parser knows it."""
    word = match[0]
    if word.startswith('"'):
        return word
    if word.endswith("NaN"):
        return "NaN"
    return "-Infinity" if word.startswith("-") else "Infinity"


def _what_is_wrong(error: json.JSONDecodeError) -> str:
    """Say it in RapidJSON's words."""
    if not error.msg.startswith("Expecting ','"):
        return next((text for start, text in _MESSAGES.items() if error.msg.startswith(start)), error.msg)
    if error.pos and error.doc[error.pos - 1].isdigit():
        if error.doc[error.pos : error.pos + 1] == ".":
            return "Miss fraction part in number."
        if error.doc[error.pos : error.pos + 1] in ("e", "E"):
            return "Miss exponent in number."
    brackets = re.findall(r"[][{}]", re.sub(_STRING, "", error.doc[: error.pos]))
    open_ones = 0
    for bracket in reversed(brackets[-_MOST_BRACKETS:]):
        open_ones += 1 if bracket in "[{" else -1
        if open_ones > 0:
            return f"Missing a comma or {'] after an array element' if bracket == '[' else '} after an object member'}."
    return "Missing a comma or a closing bracket after an element."


def _deep(text: str) -> tuple[Any, int]:
    """Parse an object of which some value is nested too deeply, member by member."""
    if text[0] != "{":
        return Nested("Array"), _skip(text, 0)
    members: dict[str, Any] = {}
    at = _after_space(text, 1)
    if text[at : at + 1] == "}":
        return members, at + 1
    while True:
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("Expecting property name", text, at)
        key, at = _DECODER.raw_decode(text, at)
        at = _after_space(text, at)
        if text[at : at + 1] != ":":
            raise json.JSONDecodeError("Expecting ':'", text, at)
        at = _after_space(text, at + 1)
        try:
            value, end = _DECODER.raw_decode(text, at)
        except RecursionError:
            value, end = Nested("Array" if text[at] == "[" else "Object"), _skip(text, at)
        members.setdefault(key, value)
        at = _after_space(text, end)
        mark = text[at : at + 1]
        if mark == "}":
            return members, at + 1
        if mark != ",":
            raise json.JSONDecodeError("Expecting ','", text, at)
        at = _after_space(text, at + 1)


def _after_space(text: str, at: int) -> int:
    while text[at : at + 1] in tuple(_SPACE):
        at += 1
    return at


def _skip(text: str, at: int) -> int:
    """Check one value without holding it, and return where it ends."""
    kinds: list[str] = []  # the open brackets, a row of equal ones as one
    counts: list[int] = []
    state = "value"
    while True:
        match = _TOKEN.match(text, at)
        if match is None:
            raise json.JSONDecodeError("Expecting value", text, at)
        kind, token, at = str(match.lastgroup), str(match[str(match.lastgroup)]), match.end()
        top = kinds[-1] if kinds else ""
        if kind == "open" and state in ("value", "first"):
            if top != "[":
                kinds.append("[")
                counts.append(0)
            counts[-1] += token.count("[")
            state = "first"
            continue
        if kind == "mark" and token == "{" and state in ("value", "first"):
            kinds.append("{")
            counts.append(1)
            state = "first key"
            continue
        if kind == "string" and state in ("key", "first key"):
            state = "colon"
            continue
        if kind == "mark" and token == ":" and state == "colon":
            state = "value"
            continue
        if kind == "mark" and token == "," and state == "after":
            state = "value" if top == "[" else "key"
            continue
        if kind == "close" and state in ("first", "after") and top == "[":
            found = [bracket.end() for bracket in re.finditer("]", token)]
            closed = min(len(found), counts[-1])
            counts[-1] -= closed
            at = match.start("close") + found[closed - 1]  # what follows is not of this list, or is wrong
        elif kind == "mark" and token == "}" and state in ("first key", "after") and top == "{":
            counts[-1] = 0
        elif not (kind in ("string", "scalar") and state in ("value", "first")):
            raise json.JSONDecodeError("Expecting value", text, match.end() - len(token))
        if counts and not counts[-1]:
            kinds.pop()
            counts.pop()
        state = "after"
        if not kinds:
            return at
