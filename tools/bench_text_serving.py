"""What the tokenizer inside the exported graph costs: strings in, against the Keras forward pass on ready token ids.

    python tools/bench_text_serving.py [--encoder NAME] [--weights auto|none|PATH] [--texts FILE] [--batch N]

FILE holds one text a line; a few sentences of film reviews are taken without it. The signature gets raw strings, the
Keras model (as a graph function) the token ids of the same texts, made beforehand and padded to the longest of each
batch. Both run in turn on every batch; printed are medians, and the median of the ratios of each pair.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

import tlkit
from tlkit.export.interface import interface_of
from tlkit.export.signatures import serving_module

SENTENCES = (
    "it's a charming and often affecting journey .",
    "unflinchingly bleak and desperate",
    "allows us to hope that nolan is poised to embark a major career as a commercial yet inventive filmmaker .",
    "the acting , costumes , music , cinematography and sound are all astounding given the austere locales .",
    "it's slow -- very , very slow .",
    "a sometimes tedious film .",
    "or doing last year's taxes with your ex-wife .",
    "you don't have to know about music to appreciate the film's easygoing blend of comedy and romance .",
    "in exactly 89 minutes , most of which passed as slowly as if i'd been sitting naked on an igloo , it ended .",
    "that loud",
)


def batches(file: Path | None, size: int, rounds: int) -> list[tf.Tensor]:
    """Give string tensors [size]; texts start again when they run out."""
    texts = list(SENTENCES) if file is None else [line for line in file.read_text("utf-8").splitlines() if line.strip()]
    return [tf.constant([texts[(number * size + i) % len(texts)] for i in range(size)]) for number in range(rounds)]


def milliseconds(call: Callable[[Any], Any], value: Any) -> float:
    """Time one call until its answer is there."""
    start = time.perf_counter()
    tf.nest.map_structure(lambda tensor: tensor.numpy(), call(value))
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="all-minilm-l6-v2")
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--texts", type=Path, help="a text file, one text a line")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--max-tokens", type=int, default=128)
    given = parser.parse_args()

    task = tlkit.text_classifier(
        given.encoder, ["negative", "positive"], weights=given.weights, max_tokens=given.max_tokens
    )
    forward = tf.function(
        lambda ids: task.model(ids, training=False), input_signature=[tf.TensorSpec([None, None], tf.int32)]
    )
    tokenize = tf.function(task.preprocessing.batch, input_signature=[tf.TensorSpec([None], tf.string)])
    with tempfile.TemporaryDirectory() as folder:
        labels = Path(folder) / "labels.txt"
        labels.write_text("negative\npositive\n")
        module, signatures = serving_module(task, interface_of(task), labels)
        tf.saved_model.save(module, f"{folder}/1", signatures=signatures)
        graph = Path(folder, "1", "saved_model.pb").stat().st_size
        loaded = tf.saved_model.load(f"{folder}/1")
        serve = loaded.signatures["serving_default"]

        texts = batches(given.texts, given.batch, given.rounds)
        ids = [task.preprocessing.batch(batch) for batch in texts]
        for _ in range(5):
            for call, value in ((serve, texts[0]), (forward, ids[0]), (tokenize, texts[0])):
                milliseconds(call, value)
        ours, theirs, tokens, ratios = [], [], [], []
        for number, (batch, ready) in enumerate(zip(texts, ids, strict=True)):
            pair = [(ours, serve, batch), (theirs, forward, ready)]
            for times, call, value in pair if number % 2 else pair[::-1]:
                times.append(milliseconds(call, value))
            tokens.append(milliseconds(tokenize, batch))
            ratios.append(ours[-1] / theirs[-1])
    width = statistics.mean(int(ready.shape[1]) for ready in ids)
    print(f"{given.encoder}, batches of {given.batch}, padded to {width:.1f} tokens on average")
    print(f"saved_model.pb, tokenizer inside     {graph / 1e6:8.2f} MB")
    print(f"exported signature, strings          {statistics.median(ours):8.2f} ms")
    print(f"Keras forward pass, token ids        {statistics.median(theirs):8.2f} ms")
    print(f"tokenization alone                   {statistics.median(tokens):8.2f} ms")
    print(f"ratio, median of {given.rounds:3d} pairs           {statistics.median(ratios):8.3f}   (goal at most 1.10)")


if __name__ == "__main__":
    main()
