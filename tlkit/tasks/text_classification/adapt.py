"""Domain adaptation: more language modelling on the user's own unlabelled texts, before any label is looked at."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import keras
import numpy as np
import tensorflow as tf

from tlkit.catalogue.encoders import BuiltEncoder, build_encoder, save_encoder
from tlkit.errors import ConfigError, ModelError, TrainingError, check_choice
from tlkit.inputs.text.preprocessing import TextPreprocessing
from tlkit.models.task import Task
from tlkit.schedule_parts import check_number
from tlkit.tasks.text_classification.masked_model import masked_language_task
from tlkit.tasks.text_classification.masked_texts import MaskedTexts
from tlkit.tasks.text_classification.masking import MaskingRule
from tlkit.training import precision as formats
from tlkit.training.engine import Engine
from tlkit.training.lr_finder import restored
from tlkit.training.options import TrainingOptions
from tlkit.training.plan import make_plan, positive_rate, whole
from tlkit.training.progress import EpochTable

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16", "auto"]
RECORD = "adaptation.json"
_HEAD_PART = 0.2  # of all steps: so long the head is trained alone before the encoder moves
_LOOK_EVERY = 50  # steps; reading the loss waits for the step
_log = logging.getLogger("tlkit")


@dataclasses.dataclass(frozen=True)
class AdaptationResult:
    """What adapting an encoder gave.

    Losses are cross-entropies in nats for a hidden token, on texts that were held out, with the same tokens hidden each
    time.

    Attributes:
        folder: the adapted encoder; `text_classifier(folder)` and `texts_from_table(..., encoder=folder)` take it.
        encoder: what it was made from.
        texts: texts in use, those for validation included.
        empty: texts that had no tokens to learn from.
        tokens: tokens of all texts in use, without start and end.
        steps: updates of the encoder.
        loss_at_start: with the fresh head, which answers how often each token stands in the texts.
        loss_before: with the head trained and the encoder as it came.
        loss_after: with the adapted encoder.
        precision: what it was computed in.
        seconds: of the whole call.
    """

    folder: Path
    encoder: str
    texts: int
    empty: int
    tokens: int
    steps: int
    loss_at_start: float
    loss_before: float
    loss_after: float
    precision: str
    seconds: float

    @property
    def pseudo_perplexity(self) -> float:
        """Between how many tokens the adapted encoder wavers: e to the power of `loss_after`.

        After Salazar et al. 2019, arXiv 1910.14659, who hide one token at a time; here it is `mask_fraction` of them,
        so that compare it only with another one of the same fraction and the same texts.
        """
        return math.exp(self.loss_after)

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return {
            **dataclasses.asdict(self),
            "folder": str(self.folder),
            "pseudo_perplexity": self.pseudo_perplexity,
        }


def adapt_encoder(
    texts: Iterable[str],
    encoder: str | Path = "all-minilm-l6-v2",
    *,
    to: str | Path,
    weights: str | Path | Sequence[str] = "auto",
    epochs: int = 1,
    lr: float = 5e-5,
    head_lr: float = 1e-3,
    batch_size: int = 32,
    max_tokens: int = 128,
    strip_html: bool = False,
    mask_fraction: float = 0.15,
    val_fraction: float = 0.05,
    seed: int = 0,
    precision: Precision = "float32",
    overwrite: bool = False,
    verbose: bool = True,
) -> AdaptationResult:
    """Continue pretraining an encoder as a masked language model on unlabelled texts, and save it.

    Follows Gururangan et al. 2020, "Don't Stop Pretraining", arXiv 2004.10964, with the training of Devlin et al. 2018,
    arXiv 1810.04805: some tokens are masked and predicted from the others. The head that guesses is no part of
    what the catalogue's encoders come with, so it starts fresh: it is trained alone for the first fifth of the steps,
    and thrown away in the end. An encoder that was made for sentence similarity, such as all-MiniLM, guesses tokens
    hardly better than their frequencies at first, and needs many texts to learn it; whether that helps the classifier
    has to be measured (tools/bench_adaptation.py).

    Example:
        >>> result = adapt_encoder(reviews, to="encoders/reviews")
        >>> result.loss_before > result.loss_after
        True
        >>> task = text_classifier(str(result.folder), ["negative", "positive"])

    Args:
        texts: strings; empty ones are left out, and those longer than `max_tokens` are read in pieces.
        encoder: a name of the catalogue, or a folder with an encoder.
        to: the folder to write, in KerasHub's form, with an `adaptation.json` that says how it came about. It appears
            only when it is complete.
        weights: where the encoder's come from; see `tlkit.catalogue.encoders.build_encoder`.
        epochs: passes over the texts.
        lr: the encoder's highest learning rate; it climbs and falls in one cycle.
        head_lr: likewise the head's.
        batch_size: rows per batch.
        max_tokens: longest row, start and end token included.
        strip_html: take out tags and entities; as for the classifier to come.
        mask_fraction: part of the tokens of each text to guess.
        val_fraction: part of the texts to measure on, above 0 and below 1.
        seed: of everything that is random: on the same machine, a run repeats exactly.
        precision: dtype policy of the encoder; `"auto"` measures whether a reduced format is faster here.
        overwrite: replace an encoder that is already in `to`.
        verbose: print a table of the epochs.

    Returns:
        An `AdaptationResult` with the folder, the losses before and after, and counts.

    Raises:
        ConfigError: an argument is invalid, or the folder exists.
        DataError: an item is not a string, all texts are empty, or fewer than two are different.
        ModelError: the encoder is unknown, or its tokenizer has no mask token.
        WeightsError: the encoder's weights cannot be loaded.
        TrainingError: the loss is no longer finite, or the folder cannot be written.
    """
    began = time.monotonic()
    folder = Path(to)
    _check(folder, overwrite, epochs, lr, head_lr, batch_size, val_fraction, seed, precision)
    # A wrong fraction is to be told before the encoder loads.
    MaskingRule(0, (0,), 2, mask_fraction)
    built = build_encoder(encoder, weights=weights, max_tokens=max_tokens, seed=seed)
    preprocessing = TextPreprocessing(
        built.tokenizer, max_tokens=max_tokens, long_texts="windows", strip_html=strip_html, max_windows=2**20
    )
    rule = _rule(built, preprocessing, mask_fraction)
    data = MaskedTexts(
        texts,
        preprocessing,
        rule,
        batch_size=batch_size,
        val_fraction=val_fraction,
        passes=epochs + math.ceil(_HEAD_PART * epochs),
        seed=seed,
    )
    task = masked_language_task(built, preprocessing, data.frequencies, seed=seed)
    engine = Engine(task, task.objective.loss(), TrainingOptions().maker(None))
    _settle_precision(task, engine, data, precision)
    if verbose:
        _log.info("adapting %s to %d texts of %d tokens", built.row.name, data.counts["texts"], data.counts["tokens"])
    temporary = _make_beside(folder)
    try:
        losses = _train(task, engine, data, epochs, lr, head_lr, verbose)
        result = AdaptationResult(
            folder,
            str(encoder),
            data.counts["texts"],
            data.counts["empty"],
            data.counts["tokens"],
            epochs * data.steps_per_epoch,
            *losses,
            task.precision,
            time.monotonic() - began,
        )
        if result.loss_after >= result.loss_before:
            _log.warning(
                "the loss did not improve (%.3f, before %.3f): use more texts or epochs",
                result.loss_after,
                result.loss_before,
            )
        _save(task, built, result, temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return result


def _check(
    folder: Path,
    overwrite: bool,
    epochs: Any,
    lr: Any,
    head_lr: Any,
    batch_size: Any,
    val_fraction: Any,
    seed: Any,
    precision: Any,
) -> None:
    """Say what is wrong before anything is loaded."""
    for name, count in (("epochs", epochs), ("batch_size", batch_size)):
        whole(name, count)
    positive_rate("the learning rate", lr)
    positive_rate("the head's learning rate", head_lr)
    check_number("val_fraction", val_fraction, "a number above 0 and below 1", lambda part: 0 < part < 1)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError("seed must be a whole number, 0 or more", received=seed)
    check_choice("precision", precision, get_args(Precision))
    if not folder.exists():
        return
    if not overwrite:
        raise ConfigError(
            "the folder exists", received=str(folder), fix="choose another folder, or pass overwrite=True"
        )
    if not (folder / "config.json").is_file():
        raise ConfigError("only a folder with an encoder can be overwritten", received=str(folder))


def _rule(built: BuiltEncoder, preprocessing: TextPreprocessing, fraction: float) -> MaskingRule:
    special = built.special
    if special.mask is None:
        raise ModelError(
            f"the tokenizer of {built.row.name} has no mask token",
            fix="choose an encoder with a mask token",
        )
    ids = {special.start, special.end, special.pad, special.unknown, special.mask}
    return MaskingRule(special.mask, tuple(sorted(ids)), preprocessing.vocabulary_size, fraction)


def _settle_precision(task: Task, engine: Engine, data: MaskedTexts, precision: Precision) -> None:
    if precision == "auto":
        batch = next(iter(data.training(0, 1)))
        with restored(task.model, engine.optimizer):
            task.freeze_to(0)
            precision, seconds = formats.fastest(formats.candidates(), engine.trial("training", batch))  # type: ignore[assignment]
        timed = ", ".join(f"{name} {value:.3f} s" for name, value in seconds.items())
        _log.info("precision: %s (a step takes %s)", precision, timed)
    task.set_precision(precision)


class _Watch(keras.callbacks.Callback):
    """Numbers the passes for the data, and stops when the loss is not finite."""

    def __init__(self, number: tf.Variable, first: int):
        super().__init__()
        self._number = number
        self._first = first

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._number.assign(self._first + epoch)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if batch % _LOOK_EVERY == 0:
            self._stop_if_lost(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._stop_if_lost(logs)

    def _stop_if_lost(self, logs: dict[str, float] | None) -> None:
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            self.model.stop_training = True


def _train(
    task: Task, engine: Engine, data: MaskedTexts, epochs: int, lr: float, head_lr: float, verbose: bool
) -> tuple[float, float, float]:
    """Train the head, then all; give the validation loss at the start, between the two, and at the end."""
    steps, groups = data.steps_per_epoch, len(task.groups)
    head_steps = max(1, round(_HEAD_PART * epochs * steps))
    head_passes = -(-head_steps // steps)
    validation = data.validation()
    number = tf.Variable(0, dtype=tf.int64, trainable=False)
    watch = _Watch(number, 0)

    task.freeze_to(-1)
    engine.ready(task.model)
    at_start = float(task.model.evaluate(validation, verbose=0, return_dict=True)["loss"])
    plan = make_plan(1, head_lr, steps=head_steps, groups=groups)
    history = engine.run(task.model, plan, data.training(0, head_steps), validation, callbacks=[watch])
    before = _last(history, head_lr)

    task.freeze_to(0)
    watch = _Watch(number, head_passes)
    # The head's rate is the one of the plan; all groups before it have the encoder's.
    plan = make_plan(epochs, [lr, head_lr], steps=steps, groups=groups)
    table = EpochTable() if verbose else None
    try:
        history = engine.run(
            task.model,
            plan,
            data.training(number, steps),
            validation,
            callbacks=[watch, *([table] if table else [])],
        )
    finally:
        if table:
            table.stop()
    return at_start, before, _last(history, lr)


def _last(history: dict[str, list[float]], lr: float) -> float:
    if not np.all(np.isfinite([*history["loss"], *history["val_loss"]])):
        raise TrainingError(
            "the loss is no longer finite",
            received=float(lr),
            fix="adapt with a lower learning rate; nothing was written",
        )
    return float(history["val_loss"][-1])


def _make_beside(folder: Path) -> Path:
    """Make an empty folder that can be renamed to `folder`: before the training, which a full disk must not cost."""
    temporary = folder.parent / f".tmp-{os.getpid()}-{folder.name}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise TrainingError(f"the folder cannot be written: {reason}", received=str(folder)) from error
    return temporary


def _save(task: Task, built: BuiltEncoder, result: AdaptationResult, temporary: Path, folder: Path) -> None:
    task.set_precision("float32")  # a format is chosen anew wherever the encoder is used
    try:
        save_encoder(built.model, built.tokenizer, temporary, built.pooled, built.normalized)
        (temporary / RECORD).write_text(json.dumps(result.to_dict(), indent=1) + "\n", encoding="utf-8")
        old = temporary.with_name(f"{temporary.name}-replaced")
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise TrainingError(f"the encoder cannot be written: {reason}", received=str(folder)) from error
