"""What tests of data sets ask of their batches."""

from __future__ import annotations

import itertools

import numpy as np


def collect(dataset):
    """Give every element of a data set as a list of arrays."""
    return [[part.numpy() for part in element] for element in dataset]


def assert_same(one, other):
    """Two epochs hold the same numbers in the same order."""
    assert len(one) == len(other)
    for left, right in zip(itertools.chain(*one), itertools.chain(*other), strict=True):
        np.testing.assert_array_equal(left, right)
