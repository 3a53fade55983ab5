"""Batches of rows of about the same length, in an order that the epoch alone decides."""

from __future__ import annotations

import tensorflow as tf

MEGA_BATCHES = 50


def bucketed(
    order: tf.Tensor, lengths: tf.Tensor, batch_size: int, seed: int, number: int | tf.Tensor
) -> tf.RaggedTensor:
    """Cut an epoch's rows into batches that need little padding.

    Every 50 batches' worth of rows is sorted by length and cut into batches; then the batches are shuffled. Rows still
    meet other rows in each epoch, and long and short batches alternate. (After Khomenko et al. 2017, arXiv
    1708.05604, with a bound on how far a row may move.)

    Example:
        >>> bucketed(tf.constant([3, 1, 0, 2]), tf.constant([5, 2, 9, 2]), batch_size=2, seed=0, number=0)
        <tf.RaggedTensor [[0, 2], [3, 1]]>

    Args:
        order: row numbers of the epoch, int64 [n], repeated ones allowed.
        lengths: length of each row, int [rows], in tokens.
        batch_size: rows a batch.
        seed: of the order of the batches.
        number: of the epoch, from 0; an int or a scalar int64 tensor or variable.

    Returns:
        int64 [ceil(n / batch_size), (rows of the batch)]. All batches are full but one, which may stand anywhere.
    """
    order = tf.cast(order, tf.int64)
    count = tf.size(order, out_type=tf.int64)
    place = tf.range(count)
    chunk = tf.constant(MEGA_BATCHES * batch_size, tf.int64)
    own = tf.cast(tf.gather(lengths, order), tf.int64)
    # One whole number for (chunk, length, place): no two are alike, so that any sort gives the same order.
    longest = tf.reduce_max(tf.concat([own, [0]], 0)) + 1
    key = (place // chunk * longest + own) * chunk + place % chunk
    ordered = tf.gather(order, tf.argsort(key))
    # A stream of random numbers of its own, apart from the one that made `order` from the same two numbers.
    pair = tf.stack([tf.constant(seed, tf.int64), tf.cast(number, tf.int64)])
    shuffled = tf.random.experimental.stateless_shuffle(
        tf.range(-(-count // batch_size)), tf.random.experimental.stateless_fold_in(pair, 1)
    )
    starts = shuffled * batch_size
    sizes = tf.minimum(count - starts, batch_size)
    places = tf.ragged.range(starts, starts + sizes)
    return tf.RaggedTensor.from_row_lengths(tf.gather(ordered, places.flat_values), sizes, validate=False)
