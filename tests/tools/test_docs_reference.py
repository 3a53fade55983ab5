"""tools/docs_reference.py: comments and arguments are whole on the generated pages."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "docs_reference.py"


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_reference", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_comment_of_several_lines_is_one_meaning(pages: ModuleType, tmp_path: Path):
    file = tmp_path / "config.toml"
    indent = " " * 31
    file.write_text(f'[train]\nkind = "a"      # a, or\n#{indent[1:]}b\nkeep = "last"   # which\n# Of all keys.\n')
    assert pages.comments(file) == {"train.kind": "a, or b", "train.keep": "which"}


def test_arguments_that_may_be_left_out_have_no_half_brackets(pages: ModuleType):
    page = pages.cli()
    assert "| `INPUT...` |" in page
    assert "]..." not in page
