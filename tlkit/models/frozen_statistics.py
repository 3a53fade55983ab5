"""Run a network in inference mode inside a model that trains."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable("tlkit")
class FrozenStatistics(keras.layers.Layer):
    """Calls a network with `training=False`, whatever mode the outer model runs in.

    Batch normalisation inside then uses (and keeps) the statistics of the pretraining while its scale and offset
    can still be trained; dropout inside is off. `network(x, training=False)` in a functional graph does not do that
    under Keras 3: the outer model's `training=True` takes its place when the graph is run.

    Example:
        >>> feature_map = FrozenStatistics(backbone)(pixels)

    Args:
        network: any Keras model: [B, ...] -> [B, ...].
    """

    def __init__(self, network: keras.Model, **kwargs: Any):
        super().__init__(**kwargs)
        self.network = network

    def call(self, inputs: Any) -> Any:
        """Run the network in inference mode.

        Args:
            inputs: tensor [B, ...] as the network takes it.

        Returns:
            The network's output.
        """
        return self.network(inputs, training=False)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Give the network's output shape."""
        return self.network.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Give the arguments, the network included."""
        return {**super().get_config(), "network": keras.saving.serialize_keras_object(self.network)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FrozenStatistics:
        """Build the layer from `get_config`."""
        network = keras.saving.deserialize_keras_object(config.pop("network"))
        return cls(network, **config)
