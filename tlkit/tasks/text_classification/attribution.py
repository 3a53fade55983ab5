"""Which words of a text speak for a class: integrated gradients."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tlkit.errors import ConfigError, DataError, ModelError, check_choice
from tlkit.models.task import Task
from tlkit.tasks.text_classification.wordpieces import Piece, pieces_of

if TYPE_CHECKING:
    from tlkit.inputs.text.preprocessing import TextPreprocessing

Baseline = Literal["pad", "mask", "zero"]

_REARRANGED = "the model rearranges its tokens, so word attributions are not possible"
TOKENS_AT_ONCE = 1024  # of all rows of one gradient: about 1 GB for an encoder as wide and deep as BERT base


@dataclasses.dataclass(frozen=True)
class TokenAttribution:
    """What each word of a text adds to the logit of a class.

    Attributes:
        text: the text as it was given; half surrogates are replaced.
        pieces: its words in order, each with its value; put together they are `text`.
        target: number of the class that is explained.
        class_name: its name.
        probability: what the model gives it, 0..1.
        difference: logit of the text minus logit of the baseline; what the values have to add up to.
        gap: sum of the values minus `difference`; far from 0 means that `steps` was too small.
    """

    text: str
    pieces: tuple[Piece, ...]
    target: int
    class_name: str
    probability: float
    difference: float
    gap: float

    def strongest(self, n: int = 10) -> list[Piece]:
        """Give the `n` words of the greatest values, whatever their sign; equal ones in the order of the text."""
        read = [piece for piece in self.pieces if piece.read]
        return sorted(read, key=lambda piece: -abs(piece.value))[:n]


def attribute(
    task: Task,
    texts: Sequence[str],
    *,
    target: int | Sequence[int] | None = None,
    steps: int = 32,
    baseline: Baseline = "pad",
) -> list[TokenAttribution]:
    """Explain a text classifier's answers by integrated gradients (Sundararajan, Taly & Yan 2017, arXiv 1703.01365).

    The embedding of every token is moved in a straight line from a baseline to what it is, and the gradient of the
    class's logit is summed up on the way, by Gauss-Legendre quadrature. Start, end and padding tokens stay as they are.
    Positive values speak for the class, negative ones against it; together they are the difference of the two logits.

    The task's own model answers, with its weights and in its precision. While its graph is drawn, in the first seconds,
    another result is put in the place of the embedding layer's; do not use the model from another thread meanwhile.

    Example:
        >>> [found] = attribute(task, ["A film without a single dull minute."])
        >>> found.class_name, found.probability, found.strongest(1)
        ('positive', 0.97, [Piece('dull ', 0.83)])

    Args:
        task: a text classification task.
        texts: the texts.
        target: number of the class to explain, one for all texts or one for each; None: the most probable one of
            each text.
        steps: points on the way from the baseline; cost grows with it, and `gap` shrinks.
        baseline: what a word that says nothing is: the padding token's embedding, the mask token's, or zeros.

    Returns:
        One `TokenAttribution` for each text, in order. An empty text has no pieces.

    Raises:
        ConfigError: an argument is not usable, or there is no such class.
        DataError: an item is no string.
        ModelError: the task is no text task, or its embeddings cannot be reached.
    """
    check_choice("baseline", baseline, get_args(Baseline))
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ConfigError("steps is invalid", received=steps, allowed="a whole number, 1 or more")
    if task.kind != "text_classification":
        raise ModelError("word attributions need a text model", received=task.kind, allowed="text_classification")
    if isinstance(texts, str | bytes):
        raise DataError("texts must be a list of strings", received=type(texts).__name__, fix="pass a list")
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"text number {number} is not a string", received=type(text).__name__)
    targets = _targets(target, len(texts), len(task.class_names))
    if not texts:
        return []
    preprocessing = cast("TextPreprocessing", task.preprocessing)
    encoder = _Embeddings(task, preprocessing, baseline)
    raw = [text.encode("utf-8", "replace") for text in texts]
    ragged = preprocessing.ragged(tf.constant(raw))
    found = []
    for number, (written, wanted) in enumerate(zip(raw, targets, strict=True)):
        # One text at a time and many steps at once: nothing is padded, whatever the lengths.
        ids = preprocessing.pad(ragged[number : number + 1])
        found.append(_explain(task, encoder, written.decode(), ids, wanted, steps))
    return found


def _explain(
    task: Task, encoder: _Embeddings, text: str, ids: tf.Tensor, target: int | None, steps: int
) -> TokenAttribution:
    start, end, ordinary = encoder.line(ids)
    logits = encoder.logits(ids, tf.concat([start, end], axis=0)).astype(np.float64)
    chosen = int(logits[1].argmax()) if target is None else target
    way, places, weights = end - start, *np.polynomial.legendre.leggauss(steps)
    mean = np.zeros(way.shape[1:], np.float64)
    rows = max(1, TOKENS_AT_ONCE // int(ids.shape[1]))
    for first in range(0, steps, rows):
        alphas = tf.constant((places[first : first + rows] + 1) / 2, tf.float32)[:, None, None]
        gradient = encoder.gradient(ids, start + alphas * way, chosen)
        mean += np.tensordot(weights[first : first + rows] / 2, gradient, axes=1)
    values = (way[0].numpy() * mean).sum(axis=-1)[ordinary]
    difference = float(logits[1, chosen] - logits[0, chosen])
    return TokenAttribution(
        text=text,
        pieces=pieces_of(text, ids.numpy()[0][ordinary].tolist(), values, encoder.tokenizer, markup=encoder.markup),
        target=chosen,
        class_name=task.class_names[chosen],
        probability=float(task.objective.probabilities(tf.constant(logits[1]))[chosen]),
        difference=difference,
        gap=float(values.sum() - difference),
    )


class _Embeddings:
    """A task's model as a function of its token embeddings instead of its token ids."""

    def __init__(self, task: Task, preprocessing: TextPreprocessing, baseline: Baseline):
        self.model = task.model
        self.layer = _embedding_layer(task)
        self.tokenizer, self.markup = preprocessing.tokenizer, preprocessing.strip_html
        self.special = (preprocessing.start_id, preprocessing.end_id, preprocessing.pad_id)
        self.empty: int | None = preprocessing.pad_id if baseline == "pad" else None
        if baseline == "mask":
            self.empty = getattr(self.tokenizer, "mask_token_id", None)
            if self.empty is None:
                raise ConfigError("the tokenizer has no mask token", received=baseline, allowed=("pad", "zero"))
        signature = [
            tf.TensorSpec([1, None], tf.int32),
            tf.TensorSpec([None, None, self.layer.output_dim], tf.float32),
            tf.TensorSpec([], tf.int32),
        ]
        # A graph: operation by operation, an encoder takes several times as long. One for all lengths.
        self.run = tf.function(self._run, input_signature=signature, autograph=False).get_concrete_function()

    def line(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, npt.NDArray[np.bool_]]:
        """Give both ends of the way, float32 [1, T, D], and which tokens move, bool [T]; ids are int32 [1, T]."""
        ordinary = ~np.isin(ids.numpy(), self.special)
        end = tf.cast(self.layer(ids), tf.float32)
        if self.empty is None:
            nothing = tf.zeros_like(end)
        else:
            nothing = tf.cast(self.layer(tf.fill(tf.shape(ids), self.empty)), tf.float32)
        return tf.where(ordinary[:, :, None], nothing, end), end, ordinary[0]

    def logits(self, ids: tf.Tensor, embeddings: tf.Tensor) -> npt.NDArray[np.float32]:
        """Give the logits, float32 [S, k], of ids int32 [1, T] that have the embeddings float32 [S, T, D]."""
        return self._answer(ids, embeddings, 0)[0]

    def gradient(self, ids: tf.Tensor, embeddings: tf.Tensor, target: int) -> npt.NDArray[np.float32]:
        """Give the gradient of the target's logit, float32 [S, T, D]; arguments as for `logits`."""
        return self._answer(ids, embeddings, target)[1]

    def _answer(self, ids: tf.Tensor, embeddings: tf.Tensor, target: int) -> tuple[Any, Any]:
        try:
            logits, gradient = self.run(ids, embeddings, tf.constant(target))
        except tf.errors.InvalidArgumentError as error:
            if _REARRANGED in str(error):
                raise ModelError(_REARRANGED) from None
            raise
        return logits.numpy(), gradient.numpy()

    def _run(self, ids: tf.Tensor, embeddings: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        every = tf.repeat(ids, tf.shape(embeddings)[0], axis=0)
        original = self.layer.call

        def call(inputs: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
            if args or any(kwargs.values()):  # used backwards, from vectors to tokens
                return original(inputs, *args, **kwargs)
            # Windows of a long text come as rows of their own; any other order could not be traced back to tokens.
            with tf.control_dependencies([tf.debugging.Assert(tf.size(inputs) == tf.size(every), [_REARRANGED])]):
                same = tf.reshape(every, tf.shape(inputs)) == tf.cast(inputs, every.dtype)
            with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(same), [_REARRANGED])]):
                shape = tf.concat([tf.shape(inputs), [embeddings.shape[-1]]], axis=0)
                placed = tf.reshape(embeddings, shape)
            return tf.cast(tf.ensure_shape(placed, [None, None, embeddings.shape[-1]]), self.layer.compute_dtype)

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(embeddings)
            with _calling(self.layer, call):
                logits = tf.cast(self.model(every, training=False), tf.float32)
            # The rows know nothing of each other, so that the gradient of the sum is each row's own.
            score = tf.reduce_sum(tf.gather(logits, target, axis=1))
        gradient = tape.gradient(score, embeddings)
        if gradient is None:
            raise ModelError(f"the model does not look up its tokens in the layer {self.layer.name!r}")
        return logits, gradient


@contextlib.contextmanager
def _calling(layer: keras.layers.Layer, call: Callable[..., tf.Tensor]) -> Iterator[None]:
    """Let `layer` compute `call` for a while; what it was is put back, come what may."""
    # Through __dict__: Keras would follow an attribute as part of the layer.
    before = vars(layer).get("call")
    vars(layer)["call"] = call
    try:
        yield
    finally:
        if before is None:
            del vars(layer)["call"]
        else:
            vars(layer)["call"] = before


def _embedding_layer(task: Task) -> keras.layers.Layer:
    """Find the layer from token ids to vectors; every KerasHub encoder calls it `token_embedding`."""
    layer = getattr(task.backbone, "token_embedding", None)
    if layer is None:
        named = (part for part in task.backbone._flatten_layers() if part.name == "token_embedding")
        layer = next(named, None)
    if not isinstance(layer, keras.layers.Embedding):
        raise ModelError("the encoder has no layer token_embedding", received=type(task.backbone).__name__)
    return layer


def _targets(target: int | Sequence[int] | None, count: int, classes: int) -> list[int | None]:
    if target is None:
        return [None] * count
    numbers = list(target) if isinstance(target, Sequence) else [target] * count
    if len(numbers) != count:
        raise ConfigError("one class per text is needed", received=len(numbers), allowed=count)
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or not 0 <= number < classes:
            raise ConfigError("invalid class number", received=number, allowed=f"0 to {classes - 1}")
    return [int(number) for number in numbers]
