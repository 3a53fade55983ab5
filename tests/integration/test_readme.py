"""The README's Python snippet, as it stands, with real pretrained weights on real photographs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tlkit.samples import registry as samples

README = Path(__file__).parents[2] / "README.md"


def snippets() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_the_snippet_uses_only_public_names():
    import tlkit

    assert len(snippets()) == 5
    for name in re.findall(r"tlkit\.(\w+)", "".join(snippets())):
        assert name in tlkit.__all__


def test_the_lines_for_any_keras_model_work_as_they_stand(capsys):
    import keras
    import tensorflow as tf

    import tlkit

    x, y = np.random.default_rng(0).normal(size=(2, 64, 3)).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices((x, y[:, :1])).batch(8)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    exec(compile(snippets()[4], "README.md", "exec"), {"model": model, "dataset": dataset, "tlkit": tlkit})
    assert "recommended" in capsys.readouterr().out


def test_the_lines_for_tables_work_as_they_stand(tmp_path, monkeypatch, capsys):
    import tlkit

    draw = np.random.default_rng(0)
    rooms, town = draw.integers(1, 6, 400), draw.choice(["Bern", "Kiel", "Lyon"], 400)
    rows = [f"{r},{t},{100 * r + 50 * (t == 'Kiel') + draw.uniform():.2f}" for r, t in zip(rooms, town, strict=True)]
    (tmp_path / "train.csv").write_text("\n".join(["rooms,town,price", *rows]) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names = {"tlkit": tlkit}
    exec(compile(snippets()[3], "README.md", "exec"), names)
    assert "RMSE" in capsys.readouterr().out
    assert names["learn"].data.steps_per_epoch == 2
    assert (tmp_path / "saved_models" / "houses" / "1" / "saved_model.pb").is_file()


@pytest.mark.real
def test_the_snippet_works_as_it_stands(tmp_path, monkeypatch):
    samples.get("surfaces", tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for code in snippets()[:2]:
        exec(compile(code, "README.md", "exec"), names)
    assert names["metrics"].accuracy > 0.9
    assert (tmp_path / "lr.png").stat().st_size > 5000
    assert (tmp_path / "rates.png").stat().st_size > 5000
    assert np.mean(names["scores"].argmax(1) == names["labels"]) > 0.9
    assert (tmp_path / "saved_models" / "photos" / "1" / "saved_model.pb").is_file()


@pytest.mark.real
def test_the_lines_for_texts_work_as_they_stand(tmp_path, monkeypatch):
    import tlkit

    samples.get("reviews", tmp_path / "reviews")
    monkeypatch.chdir(tmp_path)
    rows = (tmp_path / "reviews" / "train.csv").read_text(encoding="utf-8").splitlines()[:801]
    (tmp_path / "reviews.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    names = {"tlkit": tlkit}
    exec(compile(snippets()[2], "README.md", "exec"), names)
    assert names["learn"].evaluate().accuracy > 0.7
    assert (tmp_path / "saved_models" / "reviews" / "1" / "saved_model.pb").is_file()


@pytest.mark.real
def test_ants_and_bees_are_told_apart(hymenoptera):
    import tlkit

    data = tlkit.images_from_folder(hymenoptera, size=320)
    learn = tlkit.Learner(tlkit.image_classifier("efficientnet-lite0", data.class_names, size=320), data)
    learn.fit(10, learn.find_lr().suggestion)
    assert learn.evaluate().accuracy >= 0.94
