"""Functions of named inputs [B], as a server calls them: checked before anything is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf


def function_of_inputs(
    dtypes: Mapping[str, str], what: str, answer: Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]
) -> tf.types.experimental.ConcreteFunction:
    """Return a function of named inputs.

    Args:
        dtypes: of each input, by name.
        what: what messages call the inputs, in the plural.
        answer: inputs [B] by name -> outputs by name.

    Returns:
        A function with an argument [B] for each input, in any order, which refuses inputs of another rank, of different
        lengths and empty ones.
    """
    names = list(dtypes)

    def function(**given: tf.Tensor) -> dict[str, tf.Tensor]:
        # TensorFlow Serving's sessions do not check what is fed: a wrong rank must end here.
        given = {name: tf.ensure_shape(given[name], [None]) for name in names}
        sizes = tf.stack([tf.size(given[name]) for name in names])
        same = tf.debugging.Assert(
            tf.reduce_all(sizes == sizes[0]), [f"the {what} differ in length:", tf.constant(names), sizes], len(names)
        )
        filled = tf.debugging.assert_positive(sizes[0], message="the batch is empty")
        with tf.control_dependencies([same, filled]):
            given = {name: tf.identity(value) for name, value in given.items()}
        return answer(given)

    specs = {name: tf.TensorSpec([None], dtype, name=name) for name, dtype in dtypes.items()}
    return tf.function(function, autograph=False).get_concrete_function(**specs)
