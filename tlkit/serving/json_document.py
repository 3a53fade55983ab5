"""JSON requests: parsed by Python's json module where TensorFlow Serving's parser (RapidJSON) accepts the same text.

What differs is here, since the conformance vectors test it: of equal keys the first one counts, values may be nested
without limit, and text after the document is ignored.
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
#: Python's parser is recursive: deeper values are parsed in layers of so many levels. No tensor has as many dimensions.
LAYER = 256
_SPACE = " \t\r\n"
_TOO_BIG_FOR_A_DOUBLE = "JSON Parse error: Number too big to be stored in double."
_TOO_BIG = re.compile(r"[eE]\+?[0-9]{3}|[0-9]{300}")
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_STRING = r'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*"'
_STRING_OR_BRACKET = re.compile(rf'{_STRING}|["{{}}[\]]')
#: Numbers that are not finite, as RapidJSON knows them and as Python does.
_NOT_FINITE = re.compile(rf"{_STRING}|-?Inf(?:inity)?\b|-?NaN\b")
_NOT_FINITE_HERE = re.compile(r"-?(?:Inf|NaN)")
_PYTHON_WORDS = {"Inf": "Infinity", "-Inf": "-Infinity", "-NaN": "NaN"}
#: An escape; alone is half of a surrogate pair without its other half.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<alone>u[dD][89a-fA-F])|.)", re.DOTALL
)


class BadRequestError(ServingError, ValueError):
    """The body is not a request that the signature can take: INVALID_ARGUMENT, HTTP 400."""

    def __init__(self, message: str):
        super().__init__(Code.INVALID_ARGUMENT, message)


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
            if not _NOT_FINITE_HERE.match(error.doc, error.pos):
                raise
            text = _NOT_FINITE.sub(lambda match: _PYTHON_WORDS.get(match[0], match[0]), text)
            document, end = _decoded(text)
    except json.JSONDecodeError as error:
        where = f"at offset: {error.pos}" if error.doc is text else f"in a value of more than {LAYER} levels"
        raise BadRequestError(f"JSON Parse error: {error.msg} {where}") from None
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
    if isinstance(value, bool):
        return "True" if value else "False"
    names: dict[type, str] = {list: "Array", dict: "Object", str: "String", type(None): "Null"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "Number")


def shown(value: Any) -> str:
    """Write a parsed value for a message, cut at 256 characters.

    >>> shown({"a": [1, "b"]})
    '{"a": [1, "b"]}'
    """
    text = ""
    for part in json.JSONEncoder(ensure_ascii=False).iterencode(value):  # lazy, so a large value costs nothing
        text += part
        if len(text) >= MAX_SHOWN:
            break
    return text[:MAX_SHOWN]


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Repeated(pairs)


_DECODER = json.JSONDecoder(object_pairs_hook=_first_wins)


def _decoded(text: str) -> tuple[Any, int]:
    """Return the document, and where it ends."""
    try:
        return _DECODER.raw_decode(text)
    except RecursionError:
        return _in_layers(text)


def _in_layers(text: str) -> tuple[Any, int]:
    """Parse every value at the bottom of a layer on its own, innermost first; an empty list stands in its place."""
    layers: list[list[str]] = [[]]  # the pieces of the values that are open
    depth = start = end = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        token, end = match[0], match.end()
        if token in "[{":
            if depth and depth % LAYER == 0:
                layers[-1].append(text[start : match.start()])
                layers.append([])
                start = match.start()
            depth += 1
        elif token in "]}":
            depth -= 1
            if depth <= 0:
                break
            if depth % LAYER == 0:
                value = "".join([*layers.pop(), text[start:end]])
                _, length = _DECODER.raw_decode(value)
                if length < len(value):
                    raise json.JSONDecodeError("Expecting ',' delimiter", value, length)
                layers[-1].append("[]")
                start = end
        elif token == '"':
            raise json.JSONDecodeError("Invalid string", text, match.start())
    document, _ = _DECODER.raw_decode("".join([*layers[0], text[start:end] if len(layers) == 1 else ""]))
    return document, end
