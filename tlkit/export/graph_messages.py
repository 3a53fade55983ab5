"""TensorFlow's messages about assertions that failed in a graph, as the sentence that the graph holds."""

from __future__ import annotations

import re

_WRAPPER = "assertion failed: ["
#: What TensorFlow appends: the graph's nodes, and the operation of an eager call.
_NODES = re.compile(r"\s*(?:\[\[\{\{(?:function_)?node |\[\[[A-Za-z_./0-9]+\]\]|\[Op:).*", re.DOTALL)
_ESCAPE = re.compile(r"\\([abfnrtv\\'\"?]|[0-7]{1,3}|x[0-9a-fA-F]{2})")
_ROW = re.compile(r"^(column .*?, row )([0-9]+)(: )", re.DOTALL)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def plain_message(message: str) -> str:
    """Return the sentence of a failed assertion without TensorFlow's wrapper; other messages stay as they are.

    Example:
        >>> plain_message("assertion failed: [the batch is empty] [Condition x > 0 did not hold] [0]\\n [[{{node A}}]]")
        'the batch is empty'

    Args:
        message: of a TensorFlow error, of this process or from a server's response.

    Returns:
        The values that the graph asserts with, joined by spaces, without escapes, stack and names of nodes.
    """
    _, found, rest = message.partition(_WRAPPER)
    if not found:
        return message
    # Newlines in the values are escaped, so the first one ends them.
    line = _NODES.sub("", rest.split("\n", 1)[0]).rstrip()
    parts = line.removesuffix("]").split("] [")
    # tf.debugging.assert_... append their condition and operands to the sentence.
    end = next((at for at, part in enumerate(parts) if at and part.lower().startswith("condition ")), len(parts))
    sentence = " ".join(_ESCAPE.sub(_unescaped, part).strip() for part in parts[:end])
    return re.sub(r"(?<!\.)\.$", "", sentence.strip()) or message


def shifted_row(message: str, by: int) -> str:
    """Return the sentence about a row with its number in a larger request.

    >>> shifted_row("column 'sold', row 3: 'garbage' cannot be read", 1000)
    "column 'sold', row 1003: 'garbage' cannot be read"
    """
    return _ROW.sub(lambda found: f"{found[1]}{int(found[2]) + by}{found[3]}", message, count=1)


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    if code in _ESCAPED:
        return _ESCAPED[code]
    if code[0] == "x":
        return chr(int(code[1:], 16))
    return chr(int(code, 8)) if code[0].isdigit() else code
