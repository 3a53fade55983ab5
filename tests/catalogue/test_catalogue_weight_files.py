from __future__ import annotations

import keras
import numpy as np
import pytest

from tlkit.catalogue import weight_files
from tlkit.errors import WeightsError


def _model(filters: int = 4, depth: int = 1) -> keras.Model:
    layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(filters, 3, name="conv")]
    layers += [keras.layers.BatchNormalization(name="bn")]
    layers += [keras.layers.Conv2D(filters, 3, name=f"more{i}") for i in range(depth)]
    return keras.Sequential(layers, name="tiny")


def _layers(model: keras.Model) -> list:
    return [
        (
            layer.name,
            {f"{i}": v.numpy() + i for i, v in enumerate(layer.trainable_weights + layer.non_trainable_weights)},
        )
        for layer in model.layers
    ]


def test_arrays_come_back_in_order(tmp_path):
    model, target = _model(), _model()
    weight_files.save_layers(tmp_path / "w.h5", _layers(model))
    weight_files.load(target, tmp_path / "w.h5")
    np.testing.assert_array_equal(target.get_layer("conv").kernel, model.get_layer("conv").kernel)
    np.testing.assert_array_equal(target.get_layer("conv").bias, model.get_layer("conv").bias + 1)
    np.testing.assert_array_equal(target.get_layer("bn").moving_variance, np.full(4, 1 + 3, np.float32))


def test_keras_itself_reads_our_files(tmp_path):
    model, target = _model(), _model()
    weight_files.save_layers(tmp_path / "w.h5", _layers(model))
    target.load_weights(tmp_path / "w.h5")
    np.testing.assert_array_equal(target.get_layer("conv").kernel, model.get_layer("conv").kernel)


@pytest.mark.parametrize(
    ("stored", "wanted", "message"),
    [
        (
            (4, 1),
            (8, 1),
            r"layer 'conv' expects shapes \[\(3, 3, 3, 8\), \(8,\)\], the file has 'conv' with \[\(3, 3",
        ),
        ((4, 1), (4, 2), "the file ends before layer 'more1'"),
        ((4, 2), (4, 1), "the model ends before the file's layer 'more1'"),
    ],
)
def test_another_architecture_is_refused_and_nothing_changes(tmp_path, stored, wanted, message):
    weight_files.save_layers(tmp_path / "w.h5", _layers(_model(*stored)))
    target = _model(*wanted)
    before = target.get_weights()
    with pytest.raises(WeightsError, match=f"does not fit the architecture tiny: {message}"):
        weight_files.load(target, tmp_path / "w.h5")
    for old, new in zip(before, target.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_late_difference_changes_nothing_either(tmp_path):
    layers = _layers(_model())
    layers[-1] = ("more0", {"kernel": np.zeros((3, 3, 4, 5)), "bias": np.zeros(5)})
    weight_files.save_layers(tmp_path / "w.h5", layers)
    target = _model()
    before = target.get_layer("conv").kernel.numpy()
    with pytest.raises(WeightsError, match="layer 'more0' expects shapes"):
        weight_files.load(target, tmp_path / "w.h5")
    np.testing.assert_array_equal(target.get_layer("conv").kernel, before)


def test_a_classifier_at_the_end_of_the_file_is_left_out(tmp_path):
    extra = [*_layers(_model()), ("predictions", {"kernel": np.zeros((4, 10)), "bias": np.zeros(10)})]
    weight_files.save_layers(tmp_path / "w.h5", extra)
    weight_files.load(_model(), tmp_path / "w.h5")


def test_the_newer_layout_is_read_and_refused_without_a_trace(tmp_path):
    model, target, other = _model(), _model(), _model(8)
    model.save_weights(tmp_path / "w.weights.h5")
    weight_files.load(target, tmp_path / "w.weights.h5")
    np.testing.assert_array_equal(target.get_layer("conv").kernel, model.get_layer("conv").kernel)
    before = other.get_weights()
    with pytest.raises(WeightsError, match="does not fit the architecture tiny"):
        weight_files.load(other, tmp_path / "w.weights.h5")
    for old, new in zip(before, other.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    (tmp_path / "w.weights.h5").rename(tmp_path / "w.h5")
    with pytest.raises(WeightsError, match=r"rename it to end in \.weights\.h5"):
        weight_files.load(target, tmp_path / "w.h5")


def test_files_that_are_not_weights_are_refused(tmp_path):
    import h5py

    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(WeightsError, match="cannot be read as HDF5"):
        weight_files.load(_model(), tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = [1, 2]
    with pytest.raises(WeightsError, match="is HDF5 but contains no Keras weights"):
        weight_files.load(_model(), tmp_path / "other.h5")
