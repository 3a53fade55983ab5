"""Write an HTML file from a template. Values are escaped, nothing is loaded from other hosts."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from tlkit.errors import ConfigError
from tlkit.files import atomic_write

_NEWLINES = {0x85: "\n", 0x2028: "\n", 0x2029: "\n\n"}
_KEPT = {ord("\n"), ord("\t")}
_SUFFIXES = (".html", ".htm")


def render_page(template: str, /, **values: Any) -> str:
    """Fill a template of `tlkit/report/pages`.

    Example:
        >>> page = render_page("text_report.html.j2", title="Reviews <2026>", **values)
        >>> "<title>Reviews &lt;2026&gt;</title>" in page
        True

    Args:
        template: name of the file.
        **values: what it names; each is escaped where it is written, and control characters are made visible.

    Returns:
        The page, encodable as UTF-8.

    Raises:
        jinja2.UndefinedError: the template names a value that is not there.
    """
    return _environment().get_template(template).render(**values)


def check_place(path: str | Path, fix: str = "choose another path") -> None:
    """Refuse a page that could not be written, before anything is computed; its folder is made.

    Raises:
        ConfigError: the suffix is neither .html nor .htm, or the folder cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise ConfigError("the report must be an HTML file", received=str(path), allowed=_SUFFIXES)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the report cannot be written ({error.strerror})", received=str(path), fix=fix) from None
    if not os.access(path.parent, os.W_OK) or path.is_dir():
        raise ConfigError("the report cannot be written", received=str(path), fix=fix)


def write_page(path: str | Path, page: str) -> Path:
    """Write a page. Readers see the old file or the complete new one.

    Args:
        path: a file ending in .html or .htm; folders are made.
        page: its contents.

    Returns:
        The path.

    Raises:
        ConfigError: the suffix is another, or the folder cannot be written.
    """
    path = Path(path)
    check_place(path)
    with atomic_write(path) as file:
        file.write(page)
    return path


def visible(text: str) -> str:
    r"""Replace characters that HTML cannot have: control characters by their symbols, lone surrogates by U+FFFD.

    >>> visible("a\x00b\x85c")
    'a␀b\nc'
    """
    return "".join(character if character.isprintable() else _picture(character) for character in text)


def _picture(character: str) -> str:
    code = ord(character)
    if code in _KEPT:
        return character
    if code in _NEWLINES:
        return _NEWLINES[code]
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    # C1 controls and surrogates are no text; the rest (joiners, directions, spaces, private use) belongs to scripts.
    return "�" if code < 0xA0 or 0xD800 <= code < 0xE000 else character


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tlkit.report", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters["figure"] = lambda value: f"{value:.3f}"
    environment.filters["signed"] = lambda value: f"{value:+.3f}".replace("-", "−")
    environment.filters["whole"] = lambda value: f"{value:,}"
    return environment


def _finalize(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, markupsafe.Markup) else value
