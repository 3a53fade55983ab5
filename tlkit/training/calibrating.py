"""Fit the calibration of a trained network, and measure what it is worth on items that it was not fitted on."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from tlkit.report.calibration import calibration_curve
from tlkit.targets.calibration import Calibration
from tlkit.targets.objective import Objective

FEWEST = 30  # items: with fewer, neither a temperature nor its effect can be estimated
_FOLDS = 5
_SHOWN = 3  # classes
_log = logging.getLogger("tlkit")


def fit_calibration(
    objective: Objective, outputs: np.ndarray, labels: np.ndarray, split: str, *, seed: int = 0
) -> Calibration | None:
    """Fit a calibration and conformal quantiles.

    Probabilities are mapped only where that lowers the cross-fitted log loss. The reason is logged where not.

    Args:
        objective: of the task. It is not changed.
        outputs: of the network for the split, float [n, K], not calibrated.
        labels: of the split, as `objective.encode` takes them.
        split: its name; the network was not trained on it.
        seed: of the folds.

    Returns:
        The calibration with its measured effect, or None where there are fewer than 30 items.
    """
    if len(outputs) < FEWEST:
        _log.warning(
            "calibration: skipped, because %s has %d items: with fewer than %d it cannot be estimated",
            split, len(outputs), FEWEST,
        )  # fmt: skip
        return None
    true = objective.encode(labels)
    found = dataclasses.replace(objective.fit_calibration(outputs, true), split=split)
    if any(target.class_names for target in objective.targets):
        found = _measured(objective, found, outputs, true, seed)
        for names in _absent(objective, true):
            _log.warning("calibration: %s has no item of %s, so its scores are not known to be right", split, names)
    return objective.fit_conformal(found, outputs, true)


def _measured(
    objective: Objective, found: Calibration, outputs: np.ndarray, true: np.ndarray, seed: int
) -> Calibration:
    """Return a calibration with its effect, or one that changes nothing where it does not help."""
    if not found.moves:
        _log.info("calibration: probabilities stay, because too few predictions on %s are wrong", found.split)
        return found
    folds = np.random.default_rng(seed).permutation(len(outputs)) % _FOLDS
    crossed = np.array(outputs, np.float32)
    for fold in range(_FOLDS):
        held = folds == fold
        crossed[held] = objective.fit_calibration(outputs[~held], true[~held])(outputs[held])
    before, after = (figures(objective, values, true) for values in (outputs, crossed))
    if after["log_loss"] < before["log_loss"]:
        found = dataclasses.replace(found, before=before, after=after)
        _log.info("%s", found)
        return found
    _log.info(
        "calibration: probabilities stay, because a map does not help on %s: cross-fitted log loss %.4f, %.4f without",
        found.split, after["log_loss"], before["log_loss"],
    )  # fmt: skip
    count = len(found.scale)
    return dataclasses.replace(found, scale=(1.0,) * count, shift=(0.0,) * count)


def _absent(objective: Objective, true: np.ndarray) -> list[str]:
    """Return the classes and labels that no item has, those of one target as one text."""
    found = []
    for target, wanted in objective.parts(true, true=True):
        names = [repr(name) for name, count in zip(target.class_names, np.nansum(wanted, 0), strict=False) if not count]
        if names:
            of_target = "" if len(objective.targets) == 1 else f" of {target.name!r}"
            found.append(", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "") + of_target)
    return found


def figures(objective: Objective, outputs: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Return the mean log loss and the expected calibration error, over the targets that have classes."""
    losses, errors = [], []
    for (target, own), (_, wanted) in zip(objective.parts(outputs), objective.parts(true, true=True), strict=True):
        known = np.isfinite(wanted).all(1)
        if not target.class_names or not known.any():
            continue
        losses.append(float(np.asarray(target.losses(wanted[known], own[known])).mean()))
        labels = wanted[known] if target.is_alone else wanted[known].argmax(1)
        chances = np.asarray(target.answers(own[known]), np.float64)
        errors.append(calibration_curve(chances, labels, target.class_names).ece)
    return {"log_loss": float(np.mean(losses)), "ece": float(np.mean(errors))}
