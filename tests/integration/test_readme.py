"""The README's Python snippet, as it stands, with real pretrained weights on real photographs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tlkit.data import samples

README = Path(__file__).parents[2] / "README.md"


def snippet() -> str:
    return re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1]


def test_the_snippet_uses_only_public_names():
    import tlkit

    for name in re.findall(r"tlkit\.(\w+)", snippet()):
        assert name in tlkit.__all__


@pytest.mark.real
def test_the_snippet_works_as_it_stands(tmp_path, monkeypatch):
    samples.get("surfaces", tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(snippet(), "README.md", "exec"), names)
    assert names["metrics"].accuracy > 0.9
    assert (tmp_path / "lr.png").stat().st_size > 5000
    assert (tmp_path / "saved_models" / "photos" / "1" / "saved_model.pb").is_file()


@pytest.mark.real
def test_ants_and_bees_are_told_apart(hymenoptera):
    import tlkit

    data = tlkit.images_from_folder(hymenoptera, size=288)
    learn = tlkit.Learner(tlkit.image_classifier("efficientnet-lite0", data.class_names, size=288), data)
    learn.fit(10, learn.find_lr().suggestion)
    assert learn.evaluate().accuracy >= 0.935
