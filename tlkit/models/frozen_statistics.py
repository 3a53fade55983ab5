"""Run a network in inference mode inside a model that trains."""

from __future__ import annotations

from collections import Counter
from typing import Any

import keras
import tensorflow as tf

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


@keras.saving.register_keras_serializable("tlkit")
class FrozenStatistics(keras.layers.Layer):
    """Calls a network with `training=False`, whatever mode the outer model runs in.

    Batch normalisation inside then uses (and keeps) the statistics of the pretraining while its scale and offset
    can still be trained; dropout inside is off. `network(x, training=False)` in a functional graph does not do that
    under Keras 3: the outer model's `training=True` takes its place when the graph is run.

    With fixed statistics, a convolution and the batch normalisation after it are one linear map. In training, their
    weights are multiplied in the graph, so the feature maps between the two are neither computed nor kept for the
    backward pass. Weights and gradients are those of the two layers. `tools/bench_training.py` prints what that saves.
    Outside of training the layers stay apart: multiplying the weights anew for each request costs more than it saves
    where a network is large and the image small.

    Example:
        >>> feature_map = FrozenStatistics(backbone)(pixels)

    Args:
        network: any Keras model: [B, ...] -> [B, ...].
    """

    def __init__(self, network: keras.Model, **kwargs: Any):
        super().__init__(**kwargs)
        self.network = network

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Run the network in inference mode.

        Args:
            inputs: tensor [B, ...] as the network takes it.
            training: whether the outer model trains.

        Returns:
            The network's output.
        """
        pairs = normalised_convolutions(self.network) if training else []
        if not pairs:
            return self.network(inputs, training=False)
        normalisations = {id(normalisation) for _, normalisation in pairs}
        joined = {id(convolution): (convolution, normalisation) for convolution, normalisation in pairs}

        def operation(layer: Any) -> Any:
            if id(layer) in normalisations:
                return lambda x, **_: x
            if id(layer) in joined:
                return lambda x, **_: _convolve_normalised(*joined[id(layer)], x)
            if getattr(layer, "_call_has_training_arg", False):
                return lambda *args, **kwargs: layer(*args, **{**kwargs, "training": False})
            return layer

        return self.network._run_through_graph(inputs, operation_fn=operation)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the network's output shape."""
        return self.network.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, the network included."""
        return {**super().get_config(), "network": keras.saving.serialize_keras_object(self.network)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FrozenStatistics:
        """Build the layer from `get_config`."""
        network = keras.saving.deserialize_keras_object(config.pop("network"))
        return cls(network, **config)


def normalised_convolutions(network: keras.Model) -> list[tuple[keras.layers.Layer, keras.layers.Layer]]:
    """Find the convolutions of a network whose output goes to one batch normalisation and nowhere else.

    Args:
        network: any Keras model. Only the graph of a functional model with one input and one output is searched.

    Returns:
        `(convolution, normalisation)` layers, channels last, each called once; empty for other models.
    """
    if not isinstance(network, keras.Function) or len(network.inputs) != 1 or len(network.outputs) != 1:
        return []
    nodes = [node for depth in network._nodes_by_depth.values() for node in depth]
    calls = Counter(id(node.operation) for node in nodes)
    takers: dict[int, list[Any]] = {id(network.outputs[0]): [None]}
    for node in nodes:
        for tensor in node.input_tensors:
            takers.setdefault(id(tensor), []).append(node.operation)
    pairs = []
    for node in nodes:
        convolution = node.operation
        if type(convolution) not in _CONVOLUTIONS or len(takers[id(node.outputs[0])]) != 1:
            continue
        normalisation = takers[id(node.outputs[0])][0]
        if (
            type(normalisation) is keras.layers.BatchNormalization
            and calls[id(convolution)] == calls[id(normalisation)] == 1
            and convolution.activation is keras.activations.linear
            and convolution.data_format == "channels_last"
            and normalisation.axis in (-1, 3)
        ):
            pairs.append((convolution, normalisation))
    return pairs


def _convolve_normalised(convolution: Any, normalisation: Any, x: Any) -> Any:
    """Apply both layers as one convolution: scale the kernel by output channel, and move its offset."""
    scale = keras.ops.rsqrt(normalisation.moving_variance + normalisation.epsilon)
    if normalisation.scale:
        scale *= normalisation.gamma
    offset = -normalisation.moving_mean * scale
    if normalisation.center:
        offset += normalisation.beta
    if convolution.use_bias:
        offset += convolution.bias * scale
    depthwise = isinstance(convolution, keras.layers.DepthwiseConv2D)
    kernel = convolution.kernel * (keras.ops.reshape(scale, convolution.kernel.shape[2:]) if depthwise else scale)
    convolve = keras.ops.depthwise_conv if depthwise else keras.ops.conv
    x = convolve(
        keras.ops.cast(x, convolution.compute_dtype),
        keras.ops.cast(kernel, convolution.compute_dtype),
        strides=convolution.strides,
        padding=convolution.padding,
        dilation_rate=convolution.dilation_rate,
        data_format=convolution.data_format,
    )
    return tf.nn.bias_add(x, keras.ops.cast(offset, convolution.compute_dtype))
