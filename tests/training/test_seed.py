"""Everything that is drawn follows from the seed: two builds and fits of one seed are the same to the bit."""

from __future__ import annotations

import random

import keras
import numpy as np
import pandas as pd
import pytest
from photos import write_folder
from tiny_table import tiny_frame
from tiny_text import SENTENCES

import tlkit
from tlkit.models.seeding import seeded

pytestmark = pytest.mark.filterwarnings("ignore:.*random.*")


def own_head(embedding, outputs):
    """A head of a user who thinks of no seed."""
    hidden = keras.layers.Dropout(0.3)(keras.layers.Dense(6)(embedding))
    return keras.layers.Dense(outputs, bias_initializer=lambda shape, dtype: keras.random.normal(shape, dtype=dtype))(
        hidden
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("photos"), {"blue": 8, "red": 8})


def images(seed, photos):
    data = tlkit.images_from_folder(photos, size=32, batch_size=4, seed=seed)
    task = tlkit.image_classifier(
        "mobilenet-v2-0.35", data.class_names, size=32, weights="none", head=own_head, seed=seed
    )
    return data, task


def texts(seed, photos):
    table = {"text": [f"{text} {n}" for n in range(4) for text in SENTENCES], "label": ["a", "b"] * 8}
    frame = pd.DataFrame(table)
    options = {"weights": "none", "max_tokens": 16}
    data = tlkit.texts_from_table(frame, encoder="bert-tiny-en-uncased", batch_size=4, seed=seed, **options)
    task = tlkit.text_classifier("bert-tiny-en-uncased", data.class_names, head=own_head, seed=seed, **options)
    return data, task


def rows(seed, photos):
    data = tlkit.table_from_file(tiny_frame(40)[["colour", "distance", "price"]], "price", batch_size=8, seed=seed)
    return data, tlkit.tabular_model(data.preprocessing, data.targets, hidden=[8], head=own_head, seed=seed)


@pytest.mark.parametrize("make", [rows, *(pytest.param(make, marks=pytest.mark.real) for make in (images, texts))])
def test_two_builds_and_fits_of_one_seed_are_the_same_to_the_bit(make, photos):
    def trained(seed, disturb):
        keras.utils.set_random_seed(disturb)  # what the process drew before does not count
        data, task = make(seed, photos)
        before = [np.array(variable) for variable in task.model.variables]
        learn = tlkit.Learner(task, data)
        history = learn.fit(1, 0.01, verbose=False)
        return before, [np.array(variable) for variable in task.model.variables], history

    one, again = trained(3, disturb=1), trained(3, disturb=2)
    for first, second in zip(one[:2], again[:2], strict=True):
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)
    assert one[2] == again[2]
    _, other = make(4, photos)
    drawn = [
        np.array_equal(a, np.array(b))
        for a, b in zip(one[0], other.model.variables, strict=True)
        if a.std() > 0 and a.dtype == np.float32
    ]
    assert drawn
    assert not any(drawn)


def test_building_leaves_the_draws_of_the_process_alone():
    def draws():
        return random.random(), np.asarray(keras.random.uniform((2,))).tolist(), float(np.random.random())

    keras.utils.set_random_seed(7)
    expected = draws()
    keras.utils.set_random_seed(7)

    def build():
        with seeded(1):
            keras.layers.Dense(3).build((None, 2))
            raise ZeroDivisionError(float(keras.random.uniform(())))

    with pytest.raises(ZeroDivisionError):
        build()
    assert draws() == expected
