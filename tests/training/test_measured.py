"""Fine-tuning that has to beat the probe: the comparison, what it trains on, and its place in a run."""

from __future__ import annotations

import numpy as np
import pytest
from photos import read_once, write_folder
from tiny import tiny_task

import tlkit
from tlkit.errors import ConfigError
from tlkit.targets.objective import classification
from tlkit.training import measured
from tlkit.training.measured import MIXES, epochs_for
from tlkit.training.verdict import Verdict, judge

CLASSES = ("blue", "green", "red")


def answers(sure, right, n=60, classes=3, seed=0):
    """Logits that are right in that share of the rows, and the targets."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    said = np.where(np.arange(n) < right * n, labels, (labels + 1) % classes)
    return sure * np.eye(classes)[said] + draw.normal(size=(n, classes)) * 0.1, np.eye(classes)[labels]


def test_a_network_that_is_right_more_often_wins():
    probe, targets = answers(3.0, 0.6)
    better, _ = answers(3.0, 0.9)
    verdict = judge(probe, {1.0: better, 0.5: probe}, targets, classification(range(targets.shape[1])))
    assert (verdict.mix, verdict.errors, verdict.probe_errors, verdict.examples) == (1.0, 6, 24, 60)
    assert verdict.gain > verdict.standard_error > 0
    assert judge(better, {1.0: probe}, targets, classification(range(targets.shape[1]))).mix == 0.0


def test_what_may_be_chance_does_not_win():
    probe, targets = answers(3.0, 0.6)
    assert judge(probe, {1.0: probe}, targets, classification(range(targets.shape[1]))).mix == 0.0
    nearly = probe.copy()
    nearly[-1] = 3.0 * targets[-1]  # one error fewer
    found = judge(probe, {1.0: nearly}, targets, classification(range(targets.shape[1])))
    assert found.gain > 0
    assert found.mix == 0.0 or found.gain > found.standard_error


def test_one_error_more_does_not_outweigh_a_lower_loss():
    """Errors count beyond chance only; many more lose whatever the loss is."""
    probe, targets = answers(1.0, 0.8, n=60)
    objective = classification(range(targets.shape[1]))
    tuned = np.where((probe.argmax(1) == targets.argmax(1))[:, None], 4 * probe, 0.2 * probe)
    tuned[0] = probe[0] - 1.2 * targets[0]  # one more error
    found = judge(probe, {1.0: tuned}, targets, objective)
    assert (found.errors, found.probe_errors) == (13, 12)
    assert found.mix == 1.0
    tuned[:12] = probe[:12] - 1.2 * targets[:12]
    assert judge(probe, {1.0: tuned}, targets, objective).mix == 0.0


def test_being_surer_is_no_gain():
    """Label smoothing changes how sure a network is: it neither wins nor loses by that."""
    probe, targets = answers(3.0, 0.7)
    for factor in (0.5, 2.0):
        assert abs(judge(probe, {1.0: probe * factor}, targets, classification(range(targets.shape[1]))).gain) < 1e-3


def test_the_best_mix_is_chosen():
    probe, targets = answers(3.0, 0.5)
    tuned = {1.0: answers(3.0, 0.6)[0], 0.75: answers(3.0, 0.95)[0], 0.5: answers(3.0, 0.7)[0]}
    assert judge(probe, tuned, targets, classification(range(targets.shape[1]))).mix == 0.75


def test_a_network_that_is_trained_further_keeps_as_much_of_itself_as_it_may():
    """The larger share where its loss is not higher beyond chance; never one that loses to the probe."""
    probe, targets = answers(3.0, 0.5)
    objective = classification(range(targets.shape[1]))
    alike = answers(3.0, 0.95)[0]
    moved = alike.copy()
    moved[::2] += 0.45 * targets[::2]
    moved[1::2] -= 0.37 * targets[1::2]  # a little worse on the whole, not beyond chance
    nearly = {1.0: moved, 0.75: alike, 0.5: answers(3.0, 0.7)[0]}
    assert judge(probe, nearly, targets, objective).mix == 0.75
    assert judge(probe, nearly, targets, objective, goes_on=True).mix == 1.0
    clearly = {**nearly, 1.0: answers(3.0, 0.6)[0]}
    assert judge(probe, clearly, targets, objective, goes_on=True).mix == 0.75
    assert judge(answers(3.0, 1.0)[0], nearly, targets, objective, goes_on=True).mix == 0.0


def test_several_labels_are_wrong_when_one_of_them_is():
    targets = np.tile([[1.0, 0.0], [0.0, 1.0]], (20, 1))
    right = 4 * targets - 2
    half = right.copy()
    half[::2, 1] *= -1
    verdict = judge(half, {1.0: right}, targets, classification(range(targets.shape[1]), multi_label=True))
    assert (verdict.mix, verdict.errors, verdict.probe_errors) == (1.0, 0, 20)


def test_examples_count_by_their_weight():
    """Better on the rare class only: with weights that counts, without it does not."""
    probe, targets = answers(3.0, 1.0)
    probe[:6] = 3 * np.roll(targets[:6], 1, axis=1)  # six wrong
    tuned = 3.0 * targets
    tuned[20:32] = 3 * np.roll(targets[20:32], 1, axis=1)  # twelve others wrong
    weights = np.ones(60)
    weights[:6] = 20
    assert judge(probe, {1.0: tuned}, targets, classification(range(targets.shape[1]))).mix == 0.0
    assert judge(probe, {1.0: tuned}, targets, classification(range(targets.shape[1])), weights=weights).mix == 1.0


@pytest.mark.parametrize(("examples", "epochs"), [(40, 15), (480, 7), (1120, 5), (100_000, 5)])
def test_epochs_follow_from_the_amount_of_data(examples, epochs):
    assert epochs_for(examples, 32, 100, 5, 15) == epochs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos whose class says nothing about them, so that the probe errs."""
    place = write_folder(tmp_path_factory.mktemp("photos"), dict.fromkeys(CLASSES, 30))
    paths = sorted(path for path in place.rglob("*") if path.is_file())
    contents = [path.read_bytes() for path in paths]
    order = np.random.default_rng(0).permutation(len(paths))
    for path, number in zip(paths, order, strict=True):
        path.write_bytes(contents[number])
    return place


def learner(folder, directory, *, resume=False, size=32):
    data = read_once(folder, size=size, batch_size=8, val_fraction=0.2)
    return tlkit.Learner(tiny_task(CLASSES, size=size), data, directory=directory, resume=resume)


@pytest.fixture(scope="module")
def untrained(folder):
    """A Learner that no test may train."""
    return learner(folder, None)


def weights(learn):
    return [np.asarray(variable) for variable in learn.task.model.variables]


def wins(mix):
    return lambda *_, **__: Verdict(mix, 1, 9, 0.5, 0.1, 14)


class StopError(Exception):
    pass


@pytest.mark.parametrize("mix", [pytest.param(1.0, marks=pytest.mark.slow), 0.5])
def test_a_stopped_run_ends_like_one_that_was_not(folder, tmp_path, monkeypatch, mix):
    """Stopped at the verdict, after the folds: what they trained is not trained again."""
    monkeypatch.setattr(measured, "judge", wins(mix))
    whole = learner(folder, tmp_path / "whole")
    whole.fine_tune(2, policy="measure", verbose=False)
    assert len(whole.history) == {1.0: 7, 0.5: 8}[mix]  # a probe and a fit by fold, and with all data; the mix

    def stop(*_, **__):
        raise StopError

    monkeypatch.setattr(measured, "judge", stop)
    stopped = learner(folder, tmp_path / "stopped")
    with pytest.raises(StopError):
        stopped.fine_tune(2, policy="measure", verbose=False)
    monkeypatch.setattr(measured, "judge", wins(mix))
    resumed = learner(folder, tmp_path / "stopped", resume=True)
    resumed.fine_tune(2, policy="measure", verbose=False)
    for one, other in zip(weights(resumed), weights(whole), strict=True):
        np.testing.assert_array_equal(one, other)
    kept = resumed.finish()
    for one, other in zip(weights(kept), weights(whole), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_probe_on_the_untouched_network_stays_where_fine_tuning_loses(folder, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "tlkit")
    monkeypatch.setattr(measured, "judge", lambda *_, **__: Verdict(0.0, 9, 1, -0.5, 0.1, 14))
    learn = learner(folder, tmp_path / "run")
    source = [np.asarray(variable) for variable in learn.task.features.weights]
    learn.fine_tune(2, policy="measure", verbose=False)
    for one, other in zip(source, learn.task.features.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert "log loss higher by 0.5000 +- 0.1000: the probe is kept" in caplog.text
    assert len(learn.history) == 3  # one fold was enough; then the probe with all data
    probed = learner(folder, None)
    probed.fit_probe(verbose=False)
    for one, other in zip(weights(learn.finish()), weights(probed), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.slow
def test_validation_data_decide_nothing(folder, tmp_path, monkeypatch):
    """Other labels of the validation photos change no weight."""
    monkeypatch.setattr(measured, "judge", wins(1.0))
    found = []
    for name, shift in (("one", 0), ("other", 1)):
        data = tlkit.images_from_folder(folder, size=32, batch_size=8, val_fraction=0.2)
        learn = tlkit.Learner(tiny_task(CLASSES), data, directory=tmp_path / name)
        val = data.splits["val"]
        val.labels[:] = (val.labels + shift) % 3
        learn.fine_tune(2, policy="measure", verbose=False)
        found.append(weights(learn.finish()))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_half_of_the_size_is_tried_where_the_network_takes_it(folder, tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO", "tlkit")
    monkeypatch.setattr(measured, "judge", wins(1.0))
    learn = learner(folder, tmp_path / "run", size=192)
    learn.fine_tune(1, policy="measure", verbose=False)
    assert "linear probe at 192 px: " in caplog.text
    assert "linear probe at 96 px: " in caplog.text
    assert learn.size == 96
    again = learner(folder, tmp_path / "run", size=192, resume=True)
    again.fine_tune(1, policy="measure", verbose=False)
    assert again.size == 96
    for one, other in zip(weights(again.finish()), weights(learn), strict=True):
        np.testing.assert_array_equal(one, other)


def test_few_errors_leave_the_second_stage_out(tmp_path, caplog):
    caplog.set_level("INFO", "tlkit")
    place = write_folder(tmp_path / "photos", dict.fromkeys(CLASSES, 12))
    learn = learner(place, tmp_path / "run")
    learn.fine_tune(None, policy="measure", verbose=False)
    assert "second stage: skipped. The probe makes 0 errors out of fold in" in caplog.text
    assert len(learn.history) == 1
    assert learn.finish().evaluate().accuracy == 1.0


@pytest.mark.slow
def test_copies_are_on_one_side(folder, tmp_path, monkeypatch):
    """What is held out is not among what is trained on, nor is a copy of it."""
    place = write_folder(tmp_path / "photos", dict.fromkeys(CLASSES, 30))
    for path in sorted(path for path in place.rglob("*") if path.is_file())[::2]:
        path.with_name(f"copy-{path.name}").write_bytes(path.read_bytes())
    monkeypatch.setattr(measured, "FEWEST_ERRORS", 0)
    sides = []
    inner = measured._Measured._folds
    monkeypatch.setattr(
        measured._Measured, "_folds", lambda self, plan: sides.extend(found := inner(self, plan)) or found
    )
    learn = learner(place, tmp_path / "run")
    learn.fine_tune(1, policy="measure", verbose=False)
    paths = learn.data.paths("train")
    assert sides
    for trained, held, logits in sides:
        assert len(logits) == len(held)
        contents = {paths[row].read_bytes() for row in trained}
        assert not contents & {paths[row].read_bytes() for row in held}


@pytest.mark.slow
def test_running_averages_are_of_the_probe_and_the_mix(folder, tmp_path, monkeypatch):
    for name, mix in (("probe", 0.0), ("mix", 0.5)):
        monkeypatch.setattr(
            measured, "judge", lambda *_, mix=mix, **__: Verdict(mix, 1, 9, 0.5 if mix else -0.5, 0.1, 9)
        )
        data = tlkit.images_from_folder(folder, size=32, batch_size=8, val_fraction=0.2)
        learn = tlkit.Learner(tiny_task(CLASSES), data, directory=tmp_path / name, ema=0.9)
        learn.fine_tune(2, policy="measure", verbose=False)
        trained = weights(learn)
        for one, other in zip(weights(learn.finish()), trained, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_training_that_diverges_leaves_the_probe(folder, tmp_path, caplog):
    caplog.set_level("INFO", "tlkit")
    learn = learner(folder, tmp_path / "run")
    learn.fine_tune(2, policy="measure", finetune_lr=1e30, verbose=False)
    assert "second stage: stopped, because its loss is no" in caplog.text
    again = learner(folder, tmp_path / "run", resume=True)
    again.fine_tune(2, policy="measure", finetune_lr=1e30, verbose=False)
    probed = learner(folder, None)
    probed.fit_probe(verbose=False)
    for found in (learn, again.finish()):
        for one, other in zip(weights(found), weights(probed), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_network_that_was_trained_is_refused(folder):
    learn = learner(folder, None)
    learn.unfreeze()
    learn.fit(1, 1e-3, verbose=False)
    with pytest.raises(ConfigError, match="the policy measure needs an untrained network,"):
        learn.fine_tune(None, policy="measure")


def test_batches_that_make_no_update_are_told(folder, tmp_path, caplog):
    caplog.set_level("INFO", "tlkit")
    data = read_once(folder, size=32, batch_size=8, val_fraction=0.2)
    learn = tlkit.Learner(tiny_task(CLASSES), data, accumulate=9)
    learn.fine_tune(1, policy="measure", verbose=False)
    assert "give no update with accumulate = 9" in caplog.text


def test_the_budget_bounds_the_second_stage(folder, tmp_path, caplog):
    caplog.set_level("INFO", "tlkit")
    learn = learner(folder, tmp_path / "run")
    learn.fine_tune(None, policy="measure", verbose=False, budget_minutes=1e-6)
    assert "second stage: skipped, because only 0 s" in caplog.text
    assert len(learn.history) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget_minutes": 0.0}, "budget_minutes must be a number above 0; received: 0.0"),
        ({"head": "epochs"}, "the policy measure starts from a linear probe"),
        ({"sizes": [32]}, "sizes cannot be combined with the policy measure, which chooses the size"),
        ({"cycle_len": 1}, "cycle_len cannot be combined with the policy measure"),
        ({"epochs": -1}, "epochs must be a whole number, 1 or more"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_trained(untrained, options, message):
    with pytest.raises(ConfigError, match=message):
        untrained.fine_tune(**{"epochs": None, "policy": "measure", **options})
    assert untrained.history == []


@pytest.mark.slow
def test_without_it_auto_is_three_epochs(folder):
    learn = learner(folder, None)
    learn.fine_tune(None, 1e-3, frozen_epochs=1, verbose=False)
    assert [len(stage["loss"]) for stage in learn.history] == [1, 3]


def test_mixes_are_shares():
    assert MIXES[0] == 1.0
    assert all(0 < mix <= 1 for mix in MIXES)
