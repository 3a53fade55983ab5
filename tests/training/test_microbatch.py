"""Batches of long texts in pieces: the same update, in bounded memory."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_text import tiny_text_task

from tlkit.models.text_layers import set_dropout
from tlkit.training.engine import Engine
from tlkit.training.options import TrainingOptions

TOKENS = np.array(
    [[2, 8, 9, 3, 0, 0], [2, 10, 11, 12, 13, 3], [2, 14, 3, 0, 0, 0], [2, 9, 9, 3, 0, 0], [2, 3, 0, 0, 0, 0]]
)
OTHER_PIECES = [(6, False), (6, True), (7, True), (12, False), (12, True), (18, False)]
TARGETS = np.array([[1, 0], [0, 1], [1, 0], [0, 1], [0, 1]], np.float32)


def step(step_tokens: int, *, clip_norm: float = 0.0, weights: np.ndarray | None = None, seen: list[int] | None = None):
    """Train a step on one batch of five texts of six tokens; logs, record, and weights afterwards."""
    keras.utils.set_random_seed(1)
    task = tiny_text_task()
    set_dropout(task.model, 0, rate=0.0)
    task.freeze_to(0)
    engine = Engine(
        task,
        task.objective.loss(0.0),
        TrainingOptions(optimizer="sgd", clip_norm=clip_norm).maker(None),
        step_tokens=step_tokens,
    )
    engine.ready(task.model)
    engine.optimizer.set_plan(np.full(1, 0.1))
    batch = (TOKENS.astype(np.int32), TARGETS, *([] if weights is None else [weights]))
    data = tf.data.Dataset.from_tensors(batch)
    if seen is not None:
        # The encoder sees a piece at a time; the shapes are only known when the graph runs.
        inner = task.features.call

        def call(ids, *rest, **options):
            tf.py_function(lambda rows: seen.append(int(rows)), [tf.shape(ids)[0]], [])
            return inner(ids, *rest, **options)

        task.features.call = call
    history = task.model.fit(data, verbose=0).history
    recorded = engine.optimizer.recorded(0, 1)[0]
    return history, recorded, [variable.numpy() for variable in task.model.variables]


@pytest.mark.parametrize(
    ("tokens", "weighted"),
    [
        pytest.param(18, True, marks=pytest.mark.slow),
        pytest.param(7, False, marks=pytest.mark.slow),
        *[pytest.param(*case, marks=pytest.mark.real) for case in OTHER_PIECES],
    ],
)
def test_pieces_make_the_update_of_the_whole_batch(tokens, weighted):
    weights = np.array([1, 2, 0.5, 1, 3], np.float32) if weighted else None
    check_same(step(0, weights=weights), step(tokens, weights=weights))


@pytest.mark.slow
def test_gradients_are_clipped_as_those_of_the_whole_batch():
    # Uncut, TensorFlow would take the norm of a sparse gradient row by row, the same token once for each place.
    check_same(step(1000, clip_norm=0.5), step(12, clip_norm=0.5))


def check_same(whole, in_pieces) -> None:
    """Hold history, record and weights of two steps against each other."""
    for name in ("loss", "accuracy"):
        assert in_pieces[0][name] == pytest.approx(whole[0][name], abs=1e-6)
    np.testing.assert_allclose(in_pieces[1], whole[1], atol=1e-6)
    for ours, theirs in zip(in_pieces[2], whole[2], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


@pytest.mark.slow
def test_no_piece_is_larger_than_was_asked_for():
    for tokens, expected in ((12, [2, 2, 1]), (30, [5]), (3, [1, 1, 1, 1, 1])):
        seen: list[int] = []
        step(tokens, seen=seen)
        assert seen[-len(expected) :] == expected, tokens


def test_a_limit_that_is_no_whole_number_is_refused():
    from tlkit.errors import ConfigError

    for value in (-1, 1.5, True):
        with pytest.raises(ConfigError, match="step_tokens"):
            TrainingOptions(step_tokens=value)
