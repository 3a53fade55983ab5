from __future__ import annotations

import json

import pytest

from tlkit.cli.project import find_project
from tlkit.cli.trained import load_learner
from tlkit.errors import TrainingError


def test_photos_of_other_classes_than_the_trained_ones_are_refused(scripted):
    project = scripted(
        """
        import types
        def main(config, resume=False): ...
        def load_data(config): return types.SimpleNamespace(class_names=["ants", "wasps"])
        """
    )
    (project / "checkpoints").mkdir()
    run = {"finished": True, "identity": {"classes": ["ants", "bees"]}}
    (project / "checkpoints" / "run.json").write_text(json.dumps(run))
    found = find_project()
    with pytest.raises(TrainingError, match=r"other classes.*wasps.*bees"), found.code() as code:
        load_learner(found, code)


def test_nothing_is_said_of_random_weights_where_trained_ones_follow(scripted):
    project = scripted(
        """
        import types
        def main(config, resume=False): ...
        def load_data(config): return types.SimpleNamespace(class_names=["ants"])
        """,
        """
        from tlkit.catalogue.random_weights import random_weights_message
        def build_task(config, class_names): raise LookupError(random_weights_message("net"))
        """,
    )
    (project / "checkpoints").mkdir()
    run = {"finished": True, "identity": {"classes": ["ants"]}}
    (project / "checkpoints" / "run.json").write_text(json.dumps(run))
    found = find_project()
    with pytest.raises(LookupError, match="^None$"), found.code() as code:
        load_learner(found, code)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"finished": true}'])
def test_a_broken_record_of_the_training_is_one_clear_line(scripted, text: str):
    project = scripted("def main(config, resume=False): ...\n")
    (project / "checkpoints").mkdir()
    (project / "checkpoints" / "run.json").write_text(text)
    found = find_project()
    with pytest.raises(TrainingError, match="the training record cannot be read"), found.code() as code:
        load_learner(found, code)
