from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys

import keras
import pytest

from tlkit.catalogue import image, image_rows, remote
from tlkit.errors import ModelError

ROWS = list(image.TABLE.values())
KERAS_ROWS = [row for row in ROWS if row.weights_file]


def test_the_table_holds_all_of_keras_applications_and_three_more():
    ours = {row.builder for row in ROWS}
    theirs = {name for name in dir(keras.applications) if name[0].isupper()}
    assert theirs <= ours
    assert ours - theirs == {"EfficientNetLite0", "EfficientNetLite1", "EfficientNetLite2"}
    assert len(image.names()) == len(theirs) + 3 == 43


def test_rows_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ROWS[0].size = 1
    with pytest.raises(TypeError):
        image.TABLE["mine"] = ROWS[0]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_is_filled_in(row):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row.name)
    assert row.family in image_rows.FAMILIES
    assert row.accuracy_source
    assert row.top1 is None or 60 < row.top1 < 90
    assert row.top5 is None or row.top1 < row.top5 < 100
    assert row.min_size <= row.size
    assert image.get(row.builder) is row


@pytest.mark.parametrize("row", KERAS_ROWS, ids=lambda row: row.name)
def test_weights_are_where_the_installed_keras_says_and_have_its_hash(row):
    name = row.keras_file(row.size)
    assert remote.keras_url(row, name).endswith("/" + (row.weights_url_file or name))
    assert "{" not in name
    module = inspect.getmodule(getattr(keras.applications, "ResNet50" if row.family == "resnet-v2" else row.builder))
    assert (row.weights_hash is None) == (row.family in ("mobilenet", "mobilenet-v2"))
    assert row.weights_hash is None or row.weights_hash in inspect.getsource(module)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("mobilenet-v2", "mobilenet-v2"),
        ("MobileNetV2", "mobilenet-v2"),
        ("mobilenet_v2", "mobilenet-v2"),
        ("EfficientNetV2B0", "efficientnet-v2-b0"),
        ("EFFICIENTNET-LITE0", "efficientnet-lite0"),
        ("mobilenet-v2-0.35", "mobilenet-v2-0.35"),
        ("MobileNetV2 0.5", "mobilenet-v2-0.5"),
        ("mobilenet-v2-1.0", "mobilenet-v2"),
        ("mobilenet-0.25", "mobilenet-0.25"),
        ("mobilenet-v3-small-0.75", "mobilenet-v3-small-0.75"),
    ],
)
def test_names_are_found_in_any_spelling(asked, name):
    assert image.get(asked).name == name


@pytest.mark.parametrize(
    ("name", "size", "file"),
    [
        ("mobilenet-v2-0.35", 224, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"),
        ("mobilenet-v2", 96, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5"),
        ("mobilenet-v2", 100, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"),
        ("mobilenet-0.25", 160, "mobilenet_2_5_160_tf_no_top.h5"),
        ("mobilenet-0.5", 224, "mobilenet_5_0_224_tf_no_top.h5"),
        ("mobilenet", 96, "mobilenet_1_0_224_tf_no_top.h5"),
        ("mobilenet-v3-large-0.75", 96, "weights_mobilenet_v3_large_224_0.75_float_no_top_v2.h5"),
        ("resnet50", 96, "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"),
    ],
)
def test_files_are_named_as_keras_names_them(name, size, file):
    assert image.get(name).keras_file(size) == file


def test_a_width_variant_claims_no_figures_of_the_full_width():
    row = image.get("mobilenet-v3-large-0.75")
    assert (row.alpha, row.params, row.top1, row.top5) == (0.75, None, None, None)
    assert row.weights_hash != image.get("mobilenet-v3-large").weights_hash


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5", "unknown backbone 'resnet5'; did you mean 'resnet50'"),
        ("efficientnet-b9", "did you mean 'efficientnet-b"),
        ("qqqq", "allowed: efficientnet-lite0"),
        ("mobilenet-v2-0.36", "no weights of that width; received: '0.36'; allowed: 0.35, 0.5"),
        ("resnet50-0.5", "unknown backbone 'resnet50-0.5'"),
        (7, "a backbone must be a name; received: 7"),
    ],
)
def test_unknown_names_get_the_nearest(name, message):
    with pytest.raises(ModelError, match=re.escape(message)):
        image.get(name)


def test_the_table_and_the_sources_need_neither_tensorflow_nor_keras():
    code = (
        "import sys, tlkit.catalogue.image, tlkit.catalogue.weights;"
        "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
