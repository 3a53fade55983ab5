from __future__ import annotations

import json

import numpy as np
import pytest

from tlkit.report.metrics import classification_metrics

LOGITS = np.log([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])


def test_numbers_by_hand():
    metrics = classification_metrics(LOGITS, [0, 1, 1, 2], ["a", "b", "c"])
    assert metrics.accuracy == 0.75
    assert metrics.loss == pytest.approx(-np.log([0.7, 0.6, 0.3, 0.6]).mean())
    assert metrics.confusion_matrix.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert metrics.per_class["b"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "n": 2}
    assert metrics.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


def test_classes_that_do_not_occur_do_not_count():
    metrics = classification_metrics(LOGITS[:2], [0, 1], ["a", "b", "c"])
    assert metrics.macro_f1 == 1.0
    assert metrics.per_class["c"]["n"] == 0
    assert metrics.confusion_matrix.shape == (3, 3)


def test_it_is_plain_json_and_reads_well(tmp_path):
    metrics = classification_metrics(LOGITS, [0, 1, 1, 2], ["a", "mice/rats $x$", "ż"])
    document = json.loads(json.dumps(metrics.to_dict()))
    assert document["metrics"].keys() == {"loss", "accuracy", "macro_f1", "auc", "average_precision", "log_loss"}
    assert document["n"] == 4
    assert metrics["accuracy"] == 0.75
    with pytest.raises(KeyError):
        metrics["rmse"]
    assert "mice/rats" in str(metrics)
    assert metrics.plot_confusion(tmp_path / "c.png").stat().st_size > 5000
    assert metrics.table().row_count == 3
