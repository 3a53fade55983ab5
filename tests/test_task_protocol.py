"""Every task is whole, and of a folder that lacks part of the protocol it is said which."""

from __future__ import annotations

import dataclasses
import sys

import pytest
from task_protocol import what_lacks

from tlkit.errors import ConfigError
from tlkit.tasks import base


@pytest.mark.parametrize("name", base.TASKS)
def test_a_task_has_every_part_of_the_protocol(name):
    assert what_lacks(name) == []


@pytest.fixture
def plugged(tmp_path, monkeypatch):
    """A function that puts code into a module of a task "sound" and says what the task lacks."""

    def plug(code):
        (tmp_path / "sound_task.py").write_text("from tlkit.tasks.base import TaskSpec\n" + code)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "sound_task", raising=False)
        monkeypatch.setattr(base, "TASKS", {**base.TASKS, "sound": "sound_task:SPEC"})
        return what_lacks("sound")

    return plug


WHOLE = dataclasses.asdict(base.spec_of("tabular")) | {"name": "sound"}


HALF = """
from tlkit.tasks.commands import TaskCommands
class Half(TaskCommands):
    items = "sounds"
    def check(self, config): ...
"""


def spec(**changes):
    return f"SPEC = TaskSpec(**{WHOLE | changes!r})\n"


@pytest.mark.parametrize(
    ("code", "lack"),
    [
        ("", "sound_task:SPEC does not load: "),
        ("SPEC = {}\n", "sound_task:SPEC is no TaskSpec"),
        (spec(name="noise"), "its name is 'noise', not 'sound'"),
        (spec(input="wave"), "input: there is no 'wave' among image, text, row"),
        (spec(config="sound_task:Config"), "config: sound_task:Config does not load: "),
        (spec(config="sound_task:TaskSpec"), "config: sound_task:TaskSpec is no ProjectConfig"),
        (spec(commands="sound_tasks:Kind"), "commands: sound_tasks:Kind does not load: "),
        (spec(page="sound_task:SPEC"), "page: sound_task:SPEC cannot be called"),
        (HALF + spec(commands="sound_task:Half"), "commands: sound_task:Half lacks measure"),
        (HALF + spec(commands="sound_task:Half"), "commands: sound_task:Half lacks data_forms"),
    ],
)
def test_a_folder_that_lacks_a_part_is_told_which(plugged, code, lack):
    found = plugged(code)
    assert [one for one in found if one.startswith(lack)], found
    assert 'no template has "_task": "sound"' in found or len(found) == 1


def test_a_task_that_there_is_not_is_told_with_the_nearest_name():
    with pytest.raises(ConfigError, match="unknown task; received: 'tabulr'.*did you mean 'tabular'"):
        base.spec_of("tabulr")
