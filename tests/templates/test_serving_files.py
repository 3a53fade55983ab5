"""The deployment files of a new project are those that `tlkit deploy` renders, whatever the model is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlkit.scaffold.new import new_project, templates
from tlkit.serving.deploy import Deployment, render

SLUGS = ("bees", "7_bees-", "a__b", "x" * 63, "long-" * 9 + "_" * 9 + "end", "0")


@pytest.mark.parametrize("template", templates())
@pytest.mark.parametrize("slug", SLUGS)
def test_a_new_project_holds_what_deploy_renders(template: str, slug: str, tmp_path: Path):
    project = new_project(template, tmp_path / "project", {"project_slug": slug})
    files = {
        path.relative_to(project / "serving").as_posix(): path.read_text(encoding="utf-8")
        for path in (project / "serving").rglob("*")
        if path.is_file()
    }
    # Where they differ: run tools/render_serving.py.
    assert files == render(Deployment(slug))


@pytest.mark.parametrize("template", templates())
def test_the_project_s_readme_says_how_to_serve(template: str, tmp_path: Path):
    text = (new_project(template, tmp_path / "bees", {}) / "README.md").read_text(encoding="utf-8")
    assert "## Serving" in text
    assert "(serving/README.md)" in text
    assert "| `serving/` |" in text
