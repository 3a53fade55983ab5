"""The model card: content, header, what belongs to its owner, intervals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import photos
import pytest
import yaml
from scipy import stats
from tiny import tiny_task, tiny_value_task

import tlkit
from tlkit.cli.card import card_to_export
from tlkit.cli.main import run
from tlkit.errors import ConfigError, ExportError
from tlkit.export.saved_model import export_task
from tlkit.report.bootstrap import bootstrap_intervals, resamples
from tlkit.report.calibration import calibration_curve
from tlkit.scaffold.new import new_project
from tlkit.tasks.base import spec_of
from tlkit.trust.card.facts import TrainingCost, card_of, limits_of
from tlkit.trust.card.kept import is_untouched, kept_parts, sealed, write_card
from tlkit.trust.card.markdown import card_text

HASH = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"  # printf weights | sha256sum
COST = TrainingCost(7200.0, 65.0, "assumed")


# Intervals


def test_the_interval_of_a_mean_is_that_of_scipy():
    values = np.random.default_rng(3).exponential(size=200)
    found = bootstrap_intervals(lambda rows: {"mean": values[rows].mean(), "none": None}, 200)
    oracle = stats.bootstrap((values,), np.mean, method="percentile", rng=0, n_resamples=4000).confidence_interval
    assert found["mean"].value == values.mean()
    assert found["mean"].low == pytest.approx(oracle.low, rel=0.02)
    assert found["mean"].high == pytest.approx(oracle.high, rel=0.02)
    assert found["none"] == (None, None, None)
    again = bootstrap_intervals(lambda rows: {"mean": values[rows].mean()}, 200)
    assert again["mean"] == found["mean"]
    assert [resamples(n) for n in (10, 2000, 4000, 10**6)] == [1000, 1000, 500, 200]


def test_of_fewer_than_30_items_there_is_no_interval():
    found = bootstrap_intervals(lambda rows: {"mean": float(len(rows))}, 29)
    assert found["mean"] == (29.0, None, None)


def test_the_interval_of_the_calibration_error_holds_it_and_covers_a_calibrated_model():
    covered = 0
    for seed in range(40):
        draw = np.random.default_rng(seed)
        chances = draw.uniform(size=200)
        labels = (draw.random(200) < chances).astype(int)
        curve = calibration_curve(np.stack([1 - chances, chances], 1), labels, ["a", "b"], interval=True)
        low, high = curve.ece_interval
        assert 0 <= low <= curve.ece <= high
        covered += high >= 0.02
    assert covered == 40
    far = calibration_curve([[0.1, 0.9]] * 300, [0, 1, 0] * 100, ["a", "b"], interval=True)
    assert far.ece_interval[0] > 0.4
    assert calibration_curve([[0.1, 0.9]] * 29, [1] * 29, ["a", "b"], interval=True).ece_interval is None
    assert "ece_interval" in far.to_dict()


# Content


@pytest.fixture(scope="module")
def learn(tmp_path_factory):
    root = photos.write_folder(tmp_path_factory.mktemp("card") / "photos", {"ants": 45, "<b>|_": 45})
    for number in range(0, 45, 5):  # labelled wrongly
        names = [root / name / f"{number:02d}.jpg" for name in ("ants", "<b>|_")]
        contents = [name.read_bytes() for name in names]
        for name, content in zip(names, reversed(contents), strict=True):
            name.write_bytes(content)
    data = tlkit.images_from_folder(root, size=32, val_fraction=0.4)
    learner = tlkit.Learner(tiny_task(tuple(data.class_names)), data)
    learner.fit(1, 1e-4)
    return learner


@pytest.fixture
def few_samples(monkeypatch):
    monkeypatch.setattr("tlkit.report.bootstrap._MOST", 200)


def evidence_of(learn, **options):
    return spec_of(learn.task.kind).measured(learn, "val", **options)


def header_of(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_a_card_says_how_good_the_model_is_and_where_it_came_from(learn, tmp_path, few_samples):
    weights = tmp_path / "best.weights.h5"
    weights.write_bytes(b"weights")
    rules = {"shift": {"title": "Shift", "status": "warn", "summary": "AUC 0.7"}}
    (tmp_path / "check.json").write_text(json.dumps({"failed": [], "warned": ["shift"], "rules": rules}))
    found = card_of(
        learn, evidence_of(learn, check=tmp_path / "check.json"), name='Bees "2026": <x>', cost=COST, weights=weights
    )
    json.dumps(found, allow_nan=False)
    metrics = learn.evaluate()
    accuracy = found["evaluation"]["metrics"]["accuracy"]
    assert accuracy["value"] == metrics.accuracy
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    # Of a proportion the interval is close to the binomial one.
    spread = 1.96 * np.sqrt(metrics.accuracy * (1 - metrics.accuracy) / metrics.n)
    assert accuracy["high"] - accuracy["low"] == pytest.approx(2 * spread, rel=0.25)
    assert found["lineage"]["trained_weights_sha256"] == HASH
    assert found["training"]["energy_kwh"] == pytest.approx(0.13)
    assert found["check"]["warned"] == 1
    assert any("optimistic" in one for one in found["limits"])
    assert any("AUC 0.7" in one for one in found["limits"])
    assert any("not calibrated" in one for one in found["limits"])
    assert not any("No evaluated item" in one for one in found["limits"])
    found["evaluation"]["per_class"]["ants"]["n"] = 0
    assert "No evaluated item is of these classes: ants." in limits_of(found)
    found["evaluation"]["per_class"]["ants"]["n"] = 18
    text = card_text(found)
    header = header_of(text)
    assert header["license"] == "unknown"
    assert header["pipeline_tag"] == "image-classification"
    assert header["model-index"][0]["name"] == 'Bees "2026": <x>'
    listed = {one["type"]: one["value"] for one in header["model-index"][0]["results"][0]["metrics"]}
    assert listed["accuracy"] == metrics.accuracy
    assert "<b>" not in text
    assert "&lt;b&gt;\\|\\_" in text
    assert "0.13 kWh" in text
    assert "2.0 h" in text
    assert "Licence of the data: unknown" in text


def test_too_few_items_and_values_are_said(tmp_path):
    table = photos.write_values(tmp_path, 40)
    data = tlkit.images_with_targets(table, "brightness", path_column="file", size=32)
    learner = tlkit.Learner(tiny_value_task(data.targets), data)
    found = card_of(learner, evidence_of(learner), name="x", cost=TrainingCost(None, 65.0, "assumed"))
    json.dumps(found, allow_nan=False)
    assert found["evaluation"]["metrics"]["rmse"]["low"] is None
    assert "8 items were evaluated: too few for intervals, calibration or groups." in found["limits"]
    text = card_text(found)
    assert "Intervals: none, 8 items are too few, 30 are needed." in text
    assert "The time was not recorded." in text
    assert "Not run." in text
    assert "pipeline_tag" not in header_of(text)  # Hugging Face has none


# What belongs to its owner


def test_what_the_owner_wrote_is_kept_and_nothing_else_is_overwritten_unasked(learn, tmp_path, few_samples):
    text = card_text(card_of(learn, evidence_of(learn), name="bees", cost=COST))
    path = tmp_path / "MODEL_CARD.md"
    write_card(path, text)
    first = path.read_text()
    assert is_untouched(first)
    assert set(kept_parts(first)) == {"licence", "intended-use", "data-licence", "further-limits", "contact"}
    own = "For counting bees.\n\n- not for ants: $1 \\1\n"
    edited = first.replace("license: unknown\n", "license: mit\nlanguage: en\n")
    edited = edited.replace(kept_parts(first)["intended-use"], own)
    path.write_text(edited)
    write_card(path, text.replace("| tlkit |", "| new |"))
    written = path.read_text()
    assert kept_parts(written)["intended-use"] == own
    assert header_of(written)["license"] == "mit"
    assert header_of(written)["language"] == "en"
    assert "| new |" in written
    path.write_text(written.replace("## Limits", "## Limits of mine"))
    with pytest.raises(ConfigError, match="edited outside of the parts.*--force"):
        write_card(path, text)
    assert "## Limits of mine" in path.read_text()
    write_card(path, text, force=True)
    assert kept_parts(path.read_text())["intended-use"] == own
    assert "## Limits of mine" not in path.read_text()
    for content in (b"# My card\n", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="not from tlkit|not UTF-8"):
            write_card(path, text)
        assert path.read_bytes() == content


def test_a_seal_holds_the_generated_text_alone():
    text = sealed("# A\n\n<!-- keep x: edit -->\none\n<!-- end x -->\n\nB\n")
    assert is_untouched(text)
    assert is_untouched(text.replace("one", "two\n\nthree"))
    assert not is_untouched(text.replace("B", "C"))
    assert not is_untouched("# A\n")


# The command


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    answers = {"data_path": "photos", "weights": "none", "backbone": "mobilenetv2-0.35", "image_size": "32"}
    project = new_project("image-classification", tmp_path_factory.mktemp("cards") / "bees", answers)
    photos.write_folder(project / "photos", {"ants": 80, "bees": 80})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        assert run(["train", "--set", "train.policy=head"]) == 0
    return project


@pytest.fixture
def inside(trained, tmp_path, monkeypatch, capsys) -> Path:
    project = tmp_path / "bees"
    shutil.copytree(trained, project)
    monkeypatch.chdir(project)
    capsys.readouterr()
    return project


def test_only_a_card_about_the_same_weights_is_exported(tmp_path, capsys):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.weights.h5").write_bytes(b"weights")
    project = SimpleNamespace(root=tmp_path, checkpoints=tmp_path / "checkpoints")
    assert card_to_export(project) is None
    path = tmp_path / "model_card.json"
    same = json.dumps({"lineage": {"trained_weights_sha256": HASH}})
    for content, found in ((same, path), ("{}", None), ("{", None)):
        path.write_text(content)
        assert card_to_export(project) == found
        assert ("other weights" in capsys.readouterr().err) == (found is None)


def test_further_files_of_an_export_are_verified_with_it(tmp_path):
    export = export_task(tiny_task(), tmp_path / "tiny", extra={"model_card.json": b"{}"})
    assert (export / "assets.extra" / "model_card.json").read_bytes() == b"{}"
    assert "assets.extra/model_card.json" in json.loads((export / "manifest.json").read_text())["files"]
    with pytest.raises(ExportError, match="name of a further file"):
        export_task(tiny_task(), tmp_path / "tiny", extra={"../card.json": b"{}"})
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["1"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*random")
def test_card_then_export_has_the_card_and_a_report_opens(inside, capsys):
    assert run(["card", "--watts", "100"]) == 0
    assert capsys.readouterr().out.split() == [str(inside / name) for name in ("MODEL_CARD.md", "model_card.json")]
    card = json.loads((inside / "model_card.json").read_text())
    assert card["evaluation"]["n"] == 32
    assert card["training"]["watts"] == 100
    seconds = json.loads((inside / "checkpoints" / "run.json").read_text())["seconds"]
    assert 0 < seconds == card["training"]["seconds"]
    assert card["training"]["energy_kwh"] == pytest.approx(seconds * 100 / 3.6e6)
    assert card["calibration"]["fitted"]["examples"] == 32
    assert run(["export"]) == 0
    export = Path(capsys.readouterr().out.split()[-1])
    exported = export / "assets.extra" / "model_card.json"
    assert json.loads(exported.read_text()) == card
    manifest = json.loads((export / "manifest.json").read_text())
    assert "assets.extra/model_card.json" in manifest["files"]
    assert run(["verify", str(export)]) == 0
    exported.write_text("{}")
    assert run(["verify", str(export)]) == 1
    # A card about other weights is not exported.
    card["lineage"]["trained_weights_sha256"] = "0"
    (inside / "model_card.json").write_text(json.dumps(card))
    capsys.readouterr()
    assert run(["export"]) == 0
    said = capsys.readouterr()
    assert "is about other weights and is not exported" in said.err
    assert not (Path(said.out.split()[-1]) / "assets.extra" / "model_card.json").exists()


def test_bad_input_is_one_line_exit_code_2_and_nothing_is_lost(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tlkit.cli.output.import_tensorflow", lambda: pytest.fail("TensorFlow was loaded first"))
    inside = new_project("image-classification", tmp_path / "bees", {"data_path": "photos", "weights": "none"})
    monkeypatch.chdir(inside)
    (inside / "photos").mkdir()
    (inside / "checkpoints").mkdir()
    (inside / "checkpoints" / "best.weights.h5").touch()
    (inside / "MODEL_CARD.md").write_text("mine\n")
    (tmp_path / "file").touch()
    cases = {
        (): "edited outside of the parts",
        ("--split", "train"): "split",
        ("--data", "nowhere"): "nowhere does not exist",
        ("--data", "photos", "--split", "val"): "cannot be combined",
        ("--to", str(tmp_path / "file" / "x")): "the card cannot be written",
        ("--watts", "-1"): "watts",
    }
    for words, message in cases.items():
        assert run(["card", *words]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("error:") == 1
    assert (inside / "MODEL_CARD.md").read_text() == "mine\n"
    (inside / "checkpoints" / "best.weights.h5").unlink()
    assert run(["card", "--force"]) == 2
    assert "run `tlkit train" in capsys.readouterr().err
    assert (inside / "MODEL_CARD.md").read_text() == "mine\n"
