from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.special import expit, softmax

from tlkit.errors import ConfigError
from tlkit.targets.base import target_class
from tlkit.targets.objective import classification

LOGITS = np.array([[2.0, -1.0, 0.5], [-12.0, 9.0, 0.0]], np.float32)


@pytest.mark.parametrize(("name", "oracle"), [("single_label", softmax), ("multi_label", expit)])
def test_probabilities_and_back(name, oracle):
    objective = classification("abc", name == "multi_label")
    assert objective.name == name
    expected = oracle(LOGITS, axis=-1) if oracle is softmax else oracle(LOGITS)
    probabilities = objective.probabilities(LOGITS).numpy()
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5)
    again = objective.probabilities(
        objective.classes.logits(np.append(probabilities, [[1.0, 0.0, 0.0]], axis=0))
    ).numpy()
    assert np.isfinite(again).all()
    np.testing.assert_allclose(again[:2], expected, atol=1e-6)


def test_targets_and_losses():
    single, multi = classification("abc"), classification("abc", True)
    np.testing.assert_array_equal(single.encode(np.array([2, 0])), [[0, 0, 1], [1, 0, 0]])
    several = np.array([[1, 0, 1], [0, 0, 0]], np.float32)
    np.testing.assert_array_equal(multi.encode(several), several)

    logs = np.log(softmax(LOGITS, axis=-1))
    assert float(single.loss()(single.encode(np.array([2, 0])), LOGITS)) == pytest.approx(
        -(logs[0, 2] + logs[1, 0]) / 2, rel=1e-5
    )
    yes = expit(LOGITS.astype(np.float64))
    binary = -(several * np.log(yes) + (1 - several) * np.log1p(-yes)).mean()
    assert float(multi.loss()(several, LOGITS)) == pytest.approx(binary, rel=1e-5)


def test_accuracy_of_several_labels_counts_every_answer():
    metric = classification("abc", True).accuracy()
    metric.update_state(np.array([[1.0, 0.0, 1.0]]), np.array([[0.1, -0.1, -3.0]]))
    assert float(metric.result()) == pytest.approx(2 / 3)
    assert isinstance(classification("abc").accuracy(), keras.metrics.CategoricalAccuracy)


def test_an_unknown_objective_is_an_error():
    with pytest.raises(ConfigError, match="unknown target kind; received: 'ranking'"):
        target_class("ranking")
