"""The network: embeddings of the categories beside scaled numbers, dense layers, and a head."""

from collections.abc import Sequence

import keras

import tlkit
from tlkit.config import TabularConfig
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.targets.base import Target


def head(embedding: keras.KerasTensor, outputs: int) -> keras.KerasTensor:
    """Turn the last dense layer [B, F] into one number for each value and each class to predict [B, outputs].

    TabM (`model.kind = "tabm"`) has last layers of its own. This is the place to change how answers are made, for example by a layer of their own:
        embedding = keras.layers.Dense(50, activation="relu")(embedding)
    """
    # Starting at zero is fine for a single layer: the first answers are the mean of the training values.
    return keras.layers.Dense(outputs, kernel_initializer="zeros", dtype="float32", name="logits")(embedding)


def build_task(config: TabularConfig, preprocessing: TablePreprocessing, targets: Sequence[Target]) -> tlkit.Task:
    """Put columns, embeddings and layers together; `task.model` is a plain keras.Model of encoded rows."""
    sizes, vectors = dict(config.model.embedding_sizes), None
    if config.start_from is not None:
        tables = tlkit.read_embedding_tables(config.start_from)
        known = {code.name for code in preprocessing.codes}
        vectors = {name: dict(zip(table["value"], table.iloc[:, 1:].to_numpy())) for name, table in tables.items()}
        sizes = {name: table.shape[1] - 1 for name, table in tables.items() if name in known} | sizes
    return tlkit.tabular_model(
        preprocessing,
        targets,
        hidden=config.model.hidden,
        embedding_sizes=sizes,
        embedding_dropout=config.model.embedding_dropout,
        dropout=config.model.dropout,
        number_bins=config.model.number_bins,
        start_from=vectors,
        seed=config.data.seed,
        members=config.members,
        head=None if config.members else head,
    )
