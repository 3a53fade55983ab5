"""The table of rules, and what running one gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tlkit.trust.check.outcome import Finding


@dataclasses.dataclass(frozen=True)
class Found:
    """What a rule's function returns; see `Outcome`."""

    findings: Sequence[Finding] = ()
    summary: str = ""
    figures: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    skipped: str = ""
    handled: str = ""


@dataclasses.dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        title: for people.
        function: "module:function" of a `Seen` that returns a `Found`.
        quick: it is part of the check at the start of `tlkit train`.
        advice: what to do about it.
    """

    title: str
    function: str
    quick: bool
    advice: str


_HERE = "tlkit.trust.check"
#: Key of [check] in config.toml -> the rule, in the order of the report.
RULES: Mapping[str, Rule] = {
    "unreadable": Rule(
        "Unreadable items", f"{_HERE}.items:unreadable", True,
        "Repair or remove them, or leave them out: `tlkit check --fix` lists them for `exclude` in [data].",
    ),
    "damaged": Rule(
        "Damaged items", f"{_HERE}.items:damaged", True,
        "They are used as they can be read. Replace them, or leave them out.",
    ),
    "conflicting_labels": Rule(
        "Copies with different labels", f"{_HERE}.copies:conflicting", True,
        "At least one label of each set is wrong. Correct the labels, or exclude the set.",
    ),
    "copies_across_splits": Rule(
        "Copies across splits", f"{_HERE}.copies:across", True,
        "The model has seen these held-out items. Exclude them from training.",
    ),
    "copies": Rule(
        "Copies inside a split", f"{_HERE}.copies:inside", True,
        "Repeated items count more than others. Exclude all but the first.",
    ),
    "near_copies_across_splits": Rule(
        "Near copies across splits", f"{_HERE}.copies:near_across", False,
        "The model has seen almost the same items. Exclude them from training, or split by group.",
    ),
    "near_copies": Rule(
        "Near copies inside a split", f"{_HERE}.copies:near_inside", False,
        "Nearly repeated items count more than others.",
    ),
    "group_leakage": Rule(
        "Groups across splits", f"{_HERE}.leaks:groups", True,
        "Items of one group (patient, scene, user, session) resemble each other. Set `group_column` in [data].",
    ),
    "time_leakage": Rule(
        "Time across splits", f"{_HERE}.leaks:times", True,
        "If the model is to be used on newer data, hold out the newest items: `time_column` in [data].",
    ),
    "target_leakage": Rule(
        "Columns that give the label away", f"{_HERE}.leaks:columns", False,
        "If the value is unknown at prediction time, ignore the column. Otherwise list it in `allow` in [data].",
    ),
    "shortcuts": Rule(
        "Properties that give the label away", f"{_HERE}.leaks:shortcuts", False,
        "The model can learn this instead of the content. Collect or convert the items of all classes alike.",
    ),
    "label_noise": Rule(
        "Labels that may be wrong", f"{_HERE}.noise:label_noise", True,
        "Look at these items and correct their labels. They are not excluded by --fix: hard items look the same.",
    ),
    "class_imbalance": Rule(
        "Class imbalance", f"{_HERE}.balance:imbalance", True,
        'Set `class_weight = "balanced"` in [data], and judge the model by the metrics of each class.',
    ),
    "tiny_classes": Rule(
        "Small classes", f"{_HERE}.balance:tiny", True,
        "Collect more items, or merge classes: metrics of so few items say little.",
    ),
    "missing_classes": Rule(
        "Classes missing from a split", f"{_HERE}.balance:missing", True,
        "What a split lacks cannot be learned or measured there.",
    ),
    "shift": Rule(
        "Difference between training and held-out data", f"{_HERE}.shift:shift", False,
        "Metrics on held-out data describe other data than the model was trained on.",
    ),
    "outliers": Rule(
        "Sizes out of line", f"{_HERE}.outliers:sizes", False,
        "Look whether these items belong to the data.",
    ),
    "rare_forms": Rule(
        "Formats, scripts and encodings out of line", f"{_HERE}.outliers:rare", False,
        "Look whether these items were read correctly.",
    ),
}  # fmt: skip
