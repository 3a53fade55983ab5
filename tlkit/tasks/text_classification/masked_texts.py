"""Unlabelled texts as batches with hidden tokens, for masked language modelling."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.errors import DataError
from tlkit.inputs.text.preprocessing import TextPreprocessing
from tlkit.tasks.text_classification.masking import MaskingRule

_log = logging.getLogger("tlkit")
_CHUNK = 1024  # texts tokenized at once
_MEGA_BATCHES = 50  # rows are sorted by length within so many batches
_ENOUGH = 2000  # tokens to guess that make a validation loss steady
_MOST_ROUNDS = 8


class MaskedTexts:
    """Texts as token ids, parted into training and validation, in batches of about the same length.

    A text longer than `max_tokens` becomes several rows. Copies of a text are all on the same side of the split. Which
    tokens are hidden follows from seed, pass and step alone; for validation it is the same each time, and a small
    validation part is measured several times over with other tokens hidden.

    Example:
        >>> data = MaskedTexts(texts, preprocessing, rule, batch_size=32, val_fraction=0.05, passes=1, seed=0)
        >>> inputs, targets = next(iter(data.training(0, data.steps_per_epoch)))
        >>> inputs["token_ids"].shape, inputs["places"].shape == targets.shape
        (TensorShape([32, 21]), True)

    Args:
        texts: strings; empty ones are left out.
        preprocessing: strings -> token ids, with `long_texts="windows"`.
        rule: what is hidden in training.
        batch_size: rows a batch.
        val_fraction: part of the texts for validation, above 0 and below 1.
        passes: how often training goes through the texts at most.
        seed: of the split, the order of the rows and what is hidden.

    Attributes:
        counts: `texts` in use, `empty` ones, `rows`, and `tokens` (without start and end).
        steps_per_epoch: batches in a pass through the training rows.

    Raises:
        DataError: an item is no string, all texts are empty, or fewer than two are different.
    """

    def __init__(
        self,
        texts: Iterable[str],
        preprocessing: TextPreprocessing,
        rule: MaskingRule,
        *,
        batch_size: int,
        val_fraction: float,
        passes: int,
        seed: int,
    ):
        self._preprocessing = preprocessing
        self._rule = rule
        self._batch_size = batch_size
        self._seed = seed
        rows, text_of, self.counts = _tokenize(texts, preprocessing, rule)
        train, val = _split(text_of, val_fraction, seed)
        values, lengths = np.concatenate(rows), np.array([len(row) for row in rows])
        self._lengths = lengths
        starts = np.concatenate([[0], np.cumsum(lengths)])
        self._training_values = np.concatenate([rows[row] for row in train])
        with tf.device("CPU"):
            self._tokens = tf.RaggedTensor.from_row_splits(tf.constant(values), tf.constant(starts), validate=False)
        self.steps_per_epoch = -(-len(train) // batch_size)
        orders = [_by_length(train, lengths, batch_size, seed, number) for number in range(passes)]
        self._orders = tf.constant(np.stack([np.concatenate(order) for order in orders]))
        self._sizes = tf.constant(np.array([[len(batch) for batch in order] for order in orders]))
        val = val[np.argsort(lengths[val], kind="stable")]
        self._val = [val[start : start + batch_size] for start in range(0, len(val), batch_size)]

    @property
    def frequencies(self) -> np.ndarray:
        """How often each token stands in the training texts, int64 [vocabulary]; 0 for special ones."""
        counts = np.bincount(self._training_values, minlength=self._rule.vocabulary)
        counts[list(self._rule.special)] = 0
        return counts

    def training(self, number: int | tf.Variable, steps: int) -> tf.data.Dataset:
        """Training batches from the beginning of a pass on, and on into the next passes if `steps` reach so far.

        Args:
            number: of the pass, from 0; a variable is read anew by each iterator.
            steps: batches.

        Returns:
            Dataset of `({"places": int32 [N], "token_ids": int32 [B, T]}, targets int32 [N])`.
        """
        passes = -(-steps // self.steps_per_epoch)

        def begin(_: tf.Tensor) -> tf.data.Dataset:
            first = tf.convert_to_tensor(number, tf.int64)
            return tf.data.Dataset.range(first, first + passes).flat_map(self._pass)

        dataset = tf.data.Dataset.from_tensors(0).flat_map(begin).take(steps).prefetch(4)
        return dataset.apply(tf.data.experimental.assert_cardinality(steps))

    def validation(self) -> tf.data.Dataset:
        """All validation batches, with the same tokens hidden each time; every token to guess is behind the mask."""
        rule = MaskingRule(
            self._rule.mask_id, self._rule.special, self._rule.vocabulary, self._rule.fraction, hidden=1.0, swapped=0.0
        )
        once = list(self._hidden(rule, 0))
        found = sum(len(targets) for _, targets in once)
        rounds = min(-(-_ENOUGH // found), _MOST_ROUNDS)
        batches = once + [batch for number in range(1, rounds) for batch in self._hidden(rule, number)]
        spec = (
            {"places": tf.TensorSpec([None], tf.int32), "token_ids": tf.TensorSpec([None, None], tf.int32)},
            tf.TensorSpec([None], tf.int32),
        )
        dataset = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=spec)
        return dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))

    def _hidden(self, rule: MaskingRule, number: int) -> Iterator[tuple[dict[str, tf.Tensor], tf.Tensor]]:
        for step, rows in enumerate(self._val):
            yield self._batch(rule, tf.constant(rows), self._key(1, number, step))

    def _pass(self, number: tf.Tensor) -> tf.data.Dataset:
        order = tf.RaggedTensor.from_row_lengths(self._orders[number], self._sizes[number], validate=False)
        batches = tf.data.Dataset.from_tensor_slices(order).enumerate()
        return batches.map(
            lambda step, rows: self._batch(self._rule, rows, self._key(0, number, step)), num_parallel_calls=2
        )

    def _key(self, stream: int, number: Any, step: Any) -> tf.Tensor:
        key = tf.constant([self._seed, stream], tf.int64)
        for part in (number, step):
            key = tf.random.experimental.stateless_fold_in(key, tf.cast(part, tf.int64))
        return key

    def _batch(self, rule: MaskingRule, rows: tf.Tensor, key: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        ids = tf.gather(self._tokens, rows).to_tensor(self._preprocessing.pad_id)
        seen, places, targets = rule.apply(ids, key)
        # Keras weighs a batch by the length of the first input in alphabetical order: of `places`, so that the loss of
        # an epoch is the mean over all hidden tokens.
        return {"places": places, "token_ids": seen}, targets


def _tokenize(
    texts: Iterable[str], preprocessing: TextPreprocessing, rule: MaskingRule
) -> tuple[list[np.ndarray], np.ndarray, dict[str, int]]:
    """Give rows of token ids, for each row the number of its text (the same for copies), and counts."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise DataError(
            "the texts must be a list of strings", received=type(texts).__name__, fix="read the file into a list first"
        )
    rows: list[np.ndarray] = []
    text_of: list[int] = []
    known: dict[bytes, int] = {}
    count = used = 0
    for chunk in _chunks(texts):
        count += len(chunk)
        ragged = preprocessing.ragged(tf.constant(chunk))
        for ids in np.split(ragged.flat_values.numpy(), ragged.row_splits.numpy()[1:-1]):
            pieces = [ids[at : at + preprocessing.max_tokens] for at in range(0, len(ids), preprocessing.max_tokens)]
            pieces = [piece for piece in pieces if not np.isin(piece, rule.special).all()]
            number = known.setdefault(ids.tobytes(), len(known)) if pieces else 0
            used += bool(pieces)
            rows += [piece.copy() for piece in pieces]
            text_of += [number] * len(pieces)
    if not count:
        raise DataError("no texts given")
    if not rows:
        raise DataError(f"all {count} texts are empty, or have only unknown tokens")
    if len(known) < 2:
        raise DataError("at least two different texts are needed, one of them for validation", received=len(known))
    counts = {"texts": used, "empty": count - used, "rows": len(rows)}
    return rows, np.array(text_of), {**counts, "tokens": sum(map(len, rows)) - 2 * len(rows)}


def _chunks(texts: Iterable[str]) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"text number {number + 1} is not a string", received=text)
        chunk.append(text.encode("utf-8", "surrogatepass"))  # half a character is dropped like any other bad byte
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _split(text_of: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the row numbers of training and validation; all rows of a text and of its copies stay together."""
    distinct = int(text_of.max()) + 1
    shuffled = np.random.default_rng([seed, 0]).permutation(distinct)
    chosen = shuffled[: min(max(round(fraction * distinct), 1), distinct - 1)]
    held_out = np.isin(text_of, chosen)
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _by_length(rows: np.ndarray, lengths: np.ndarray, batch_size: int, seed: int, number: int) -> list[np.ndarray]:
    """Cut a pass into batches that need little padding: sorted by length within stretches of a shuffled order."""
    random = np.random.default_rng([seed, 1, number])
    order = random.permutation(rows)
    stretch = _MEGA_BATCHES * batch_size
    parts = [order[start : start + stretch] for start in range(0, len(order), stretch)]
    ordered = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in parts])
    batches = [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]
    return [batches[place] for place in random.permutation(len(batches))]
