"""What users read is written in plain words: no metaphors, no personified programs, no archaic syntax."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Pattern -> what to write instead.
WORDS = {
    r"\bdoors?\b": "endpoint, entry point",
    r"\broads?\b": "API, workflow",
    r"\bforet(?:ells?|old|elling)\b": "predict",
    r"\bsurest\b": "most confident",
    r"\b(?:tell|tells|told|telling)\b": "print, report, list, pass",
    r"\banew\b": "again",
    r"\bby heart\b": "memorize",
    r"\bfor ever\b": "permanently",
    r"\bfor life\b": "persistent",
    r"\bhungriest\b": "largest",
    r"\bwhoever\b": "clients that",
    r"\bas well as it can\b": "",
    r"\bwithout a word\b": "silently",
    r"\bspeaks? (?:of|for|against)\b": "mention",
    r"\bspoken here\b": "supported",
    r"\bknows? (?:no|nothing)\b": "has no, does not support",
    r"\bstands? for itself\b": "",
    r"\bin the words of\b": "",
    r"\blearned along\b": "trained",
    r"\bout of reach\b": "unreachable",
    r"\bhow alike\b": "domain similarity",
    r"\bthe line is\b": "threshold",
    r"\b(?:do|does) not go (?:together|with)\b": "cannot be combined",
    r"\bexclude each other\b": "cannot be combined",
    r"\bis not usable\b": "is invalid",
    r"\bwhat is no\b": "a value that is not",
    r"\brightly\b|\bwrongly\b": "correct, wrong",
    r"\btaken for\b": "predicted, treated as",
    r"\bin its own right\b": "",
}
TEXT_FILES = ("*.md", "*.toml", "*.j2", "*.yaml", "*.config")


def problems(text: str) -> list[str]:
    """Return each line with a word of the list, and what to write instead."""
    return [
        f"{line.strip()[:120]!r}: {found[0]!r}" + (f" -> {instead}" if instead else "")
        for line in text.splitlines()
        for pattern, instead in WORDS.items()
        if (found := re.search(pattern, line, re.IGNORECASE))
    ]


def documents() -> list[Path]:
    """Return the texts that users read as files: README, docs, templates, reports, the try-it page."""
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    for folder in ("templates", "tlkit/report/pages", "tlkit/serving/deploy_templates"):
        files += [path for pattern in TEXT_FILES for path in (ROOT / folder).rglob(pattern)]
    files += (ROOT / "templates").rglob("cookiecutter.json")
    files += (ROOT / "tlkit" / "serving" / "page").glob("*.html")
    return sorted(files)


def docstrings(tree: ast.AST) -> Iterator[tuple[ast.AST, ast.Constant]]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield node, first.value


def strings(source: str, with_docstrings: bool) -> str:
    """Return the strings with spaces of a module, one a line; docstrings only of commands, whose help they are."""
    tree = ast.parse(source)
    hidden = {id(text) for node, text in docstrings(tree) if not (with_docstrings and is_command(node))}
    return "\n".join(
        " ".join(node.value.split())
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and " " in node.value
        and id(node) not in hidden
    )


def is_command(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and "typer." in ast.unparse(node.args)


def page_strings(source: str) -> str:
    """Return the string literals of a script, without its comments."""
    code = re.sub(r"/\*.*?\*/|(?<!:)//[^\n]*", "", source, flags=re.DOTALL)
    return "\n".join(re.findall(r"\"[^\"\n]* [^\"\n]*\"|`[^`]* [^`]*`", code))


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_documents_use_plain_words(path: Path):
    assert problems(path.read_text(encoding="utf-8")) == []


def test_notebooks_use_plain_words():
    for path in (ROOT / "templates").rglob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert [problem for cell in cells for problem in problems("".join(cell["source"]))] == []


def test_projects_use_plain_words():
    for path in (ROOT / "templates").rglob("{{cookiecutter.project_slug}}/*.py"):
        assert problems(path.read_text(encoding="utf-8")) == [], path


@pytest.mark.parametrize(
    "package", sorted({path.parent for path in (ROOT / "tlkit").rglob("*.py")}), ids=lambda p: p.name
)
def test_messages_and_help_use_plain_words(package: Path):
    found = {
        path.name: problems(strings(path.read_text(encoding="utf-8"), with_docstrings=package.name == "cli"))
        for path in package.glob("*.py")
    }
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_the_page_uses_plain_words():
    for path in (ROOT / "tlkit" / "serving" / "page").glob("*.js"):
        assert problems(page_strings(path.read_text(encoding="utf-8"))) == [], path.name


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("The doors of the local server", "doors"),
        ("Texts take the same road.", "road"),
        ("what every step was told", "told"),
        ("A network on a table now foretells delays", "foretells"),
        ("Surest mistakes", "Surest"),
    ],
)
def test_words_of_the_list_are_found(text: str, word: str):
    assert f"{word!r}" in problems(text)[0]


def test_strings_are_found_where_users_read_them():
    source = '''
def command(name: Annotated[str, typer.Option(help="The road to it.")]):
    """Open the door."""
    raise ConfigError(f"{name} was told nothing", fix="the surest way")

def internal():
    """Told nobody."""
'''
    assert len(problems(strings(source, with_docstrings=True))) == 4
    assert problems(page_strings("say(`a door ${x}`); // told")) == ["'`a door ${x}`': 'door' -> endpoint, entry point"]
