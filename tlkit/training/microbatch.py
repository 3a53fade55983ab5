"""Training steps on long texts in bounded memory: a batch in pieces whose gradients add up to those of the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def step_in_pieces(model: keras.Model, tokens: int) -> Callable[[Any], dict[str, Any]]:
    """Give a `train_step` that sends at most so many tokens through a model at once.

    What a training step holds grows with the tokens of a batch and, in attention, with their square. Rows do not see
    each other in an encoder, so a batch of long texts is cut, the gradients of the pieces are added up, and one update
    follows: the update is that of the whole batch, up to rounding and to the draws of dropout.

    Args:
        model: takes token ids int32 [B, T]; its loss is a mean over the rows.
        tokens: most tokens of a piece, padding included; a piece is never less than one row.

    Returns:
        What Keras calls as `model.train_step`: data -> logs.
    """

    def train_step(data: Any) -> dict[str, Any]:
        inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
        weights = tf.ones(tf.shape(inputs)[:1]) if weights is None else weights
        variables = model.trainable_variables
        values = [variable.value for variable in variables]
        rows = tf.shape(inputs)[0]
        each = tf.clip_by_value(tokens // tf.maximum(tf.shape(inputs)[1], 1), 1, rows)

        def part(first: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor], tf.Tensor]:
            own = slice(first, first + each)
            share = tf.cast(tf.shape(inputs[own])[0], tf.float32) / tf.cast(rows, tf.float32)
            with tf.GradientTape() as tape:
                logits = model(inputs[own], training=True)
                loss = share * model.compute_loss(inputs[own], targets[own], logits, weights[own], training=True)
                scaled = model.optimizer.scale_loss(loss)
            return loss, tape.gradient(scaled, values), logits

        def whole() -> tuple[tf.Tensor, list[tf.Tensor], tf.Tensor]:
            loss, gradients, logits = part(tf.constant(0))
            return loss, [tf.convert_to_tensor(gradient) for gradient in gradients], logits

        def pieces() -> tuple[tf.Tensor, list[tf.Tensor], tf.Tensor]:
            def body(first: tf.Tensor, loss: tf.Tensor, sums: list[tf.Tensor], seen: tf.Tensor) -> tuple[Any, ...]:
                more, gradients, logits = part(first)
                sums = [total + gradient for total, gradient in zip(sums, gradients, strict=True)]
                return first + each, loss + more, sums, tf.concat([seen, logits], axis=0)

            start = (tf.constant(0), tf.constant(0.0), [tf.zeros_like(value) for value in values])
            none = tf.zeros((0, model.output_shape[-1]), model.compute_dtype)
            shapes = (
                tf.TensorShape([]),
                tf.TensorShape([]),
                [v.shape for v in values],
                tf.TensorShape([None, none.shape[1]]),
            )
            _, loss, sums, logits = tf.while_loop(
                lambda first, *_: first < rows, body, (*start, none), shape_invariants=shapes, parallel_iterations=1
            )
            return loss, sums, logits

        loss, gradients, logits = tf.cond(each < rows, pieces, whole)
        # Each piece has left its own loss in the optimizer's record; this is that of the step.
        getattr(model.optimizer, "inner_optimizer", model.optimizer).scale_loss(loss)
        model._loss_tracker.update_state(loss, sample_weight=rows)
        model.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return model.compute_metrics(inputs, targets, logits, weights)

    return train_step
