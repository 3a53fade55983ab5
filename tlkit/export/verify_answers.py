"""The checks of `tlkit verify` that call the exported graph (standalone: run by path, without tlkit)."""

from __future__ import annotations

import base64
import json
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

#: By the key of manifest.json that says that an export has it, and that is also the key of its golden answers.
OPTIONAL_SIGNATURES = ("tta",)
MEMORY_LIMIT_MB = 600  # a refused bomb costs nothing; a decoded one of 60000 x 60000 would cost 10 GB
#: What exports took before manifests said it.
PHOTOS = {
    "content": "image",
    "input": "image_bytes",
    "feature": "image/encoded",
    "raw_signature": "pixels",
    "raw_input": "pixels",
    "raw_dtype": "float32",
    "raw_shape": [None, None, None, 3],
    "vocabulary": None,
    "max_tokens": None,
    "max_windows": 1,
}


class CheckError(Exception):
    """A check found a problem; the message is its reason."""


class Facts:
    """What manifest.json says that the checks need; `error` says why it cannot be used, or is empty."""

    def __init__(self, export: Path):
        self.manifest: dict[str, Any] = {}
        self.labels: list[str] = []
        self.golden: list[bytes] = []
        self.optional: tuple[str, ...] = ()
        self.max_batch, self.tolerance = 1, 1e-5
        self.multi_label = False
        self.interface: dict[str, Any] = dict(PHOTOS)
        try:
            self.manifest = json.loads((export / "manifest.json").read_text(encoding="utf-8"))
            first = self.manifest.get("schema_version") == 1
            self.labels = list(self.manifest["labels"])
            self.max_batch = int(self.manifest["max_batch"])
            self.tolerance = float(self.manifest["tolerance"])
            key = "image" if first else "content"
            self.golden = [base64.b64decode(item[key]) for item in self.manifest["golden"]]
            self.optional = tuple(name for name in OPTIONAL_SIGNATURES if self.manifest.get(name))
            if not first:
                self.interface = {name: self.manifest["interface"][name] for name in PHOTOS}
                self.multi_label = {"single_label": False, "multi_label": True}[self.manifest["objective"]]
            self.error = "" if self.golden else "no golden examples"
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.error = f"manifest.json is unusable: {type(error).__name__}: {error}"
            self.golden = []


class Answers:
    """A loaded export that the checks call; each check returns what it saw.

    Args:
        facts: what manifest.json says.
        callables: by signature: the call, which takes one array, and the names of what it gives.
        raw_shape: shape of the raw input in the graph.
        kind: hostile_image or hostile_text.
        hostile: the module of that name.
        warmup: the file of the recorded requests.
        say: told what is being tried, so that a crash can be put down to it.
    """

    def __init__(
        self,
        facts: Facts,
        callables: dict[str, tuple[Callable[[np.ndarray], list[np.ndarray]], list[str]]],
        raw_shape: Sequence[int | None],
        kind: ModuleType,
        hostile: ModuleType,
        warmup: Path,
        say: Callable[[str], None],
    ):
        self.facts, self.callables, self.raw_shape = facts, callables, raw_shape
        self.kind, self.hostile, self.warmup, self.say = kind, hostile, warmup, say
        self.raw = facts.interface["raw_signature"]
        self.ranked = ("serving_default", "classify")
        self.plain = ("probabilities", *facts.optional)

    def golden_parity(self) -> str:
        """The recorded examples get the answers of the Keras model."""
        golden = self.golden(len(self.facts.golden))
        expected = self.expected("probabilities")
        worst = self.check_probabilities("probabilities", expected)
        for name in self.facts.optional:
            worst = max(worst, self.check_probabilities(name, self.expected(name)))
        embedding = self.run("embedding", self.feed("embedding", golden))["embedding"]
        vector = self.expected("embedding")
        if vector.shape != embedding.shape:
            raise CheckError(f"the embedding has shape {embedding.shape}, expected {vector.shape}")
        apart = float(np.max(np.abs(embedding - vector)) / max(1.0, float(np.max(np.abs(vector)))))
        if not apart <= 10 * self.facts.tolerance:
            raise CheckError(f"the embedding differs from the Keras model's by {apart:.2g} of its largest value")
        for name in self.ranked:
            self.check_ranking(name, self.run(name, self.feed(name, golden)), expected)
        content = self.facts.interface["content"]
        return f"{len(golden)} {content}s, largest difference {worst:.1e} (limit {self.facts.tolerance:g})"

    def expected(self, key: str) -> np.ndarray:
        """Return what the manifest records for the golden examples: float32 [n, ...]."""
        answers = [item.get(key) for item in self.facts.manifest["golden"]]
        if None in answers:
            raise CheckError(f"a golden example of manifest.json has no {key}")
        return np.array(answers, np.float32)

    def check_probabilities(self, name: str, expected: np.ndarray) -> float:
        """Compare the answers of a signature with the recorded ones; return the largest difference."""
        probabilities = self.run(name, self.feed(name, self.facts.golden))["probabilities"]
        if expected.shape != probabilities.shape:
            raise CheckError(f"{name}: probabilities of shape {probabilities.shape}, expected {expected.shape}")
        difference = float(np.max(np.abs(probabilities - expected)))
        if not difference <= self.facts.tolerance:
            raise CheckError(
                f"{name}: not the Keras model's answers, {difference:.2g} apart (limit {self.facts.tolerance:g})"
            )
        return difference

    def check_ranking(self, name: str, answer: dict[str, np.ndarray], expected: np.ndarray) -> None:
        """Classes and scores are sorted, and agree with the probabilities in the order of the labels."""
        labels = self.facts.labels
        for row, (classes, scores) in enumerate(zip(answer["classes"], answer["scores"], strict=True)):
            if np.any(np.diff(scores) > 0):
                raise CheckError(f"{name}: the scores are not in descending order")
            names = [label.decode("utf-8") for label in classes]
            if sorted(names) != sorted(labels):
                raise CheckError(f"{name}: the classes {names[:5]} are not the labels of manifest.json")
            for label, score in zip(names, scores, strict=True):
                want = float(expected[row][labels.index(label)])
                if not abs(float(score) - want) <= self.facts.tolerance:
                    raise CheckError(f"{name}: {label!r} scores {float(score):.6f}, expected {want:.6f}")

    def batch_sizes(self) -> str:
        """Small and large batches are answered."""
        sizes = sorted({1, 3, self.facts.max_batch})
        for size in sizes:
            probabilities = tuple((name, "probabilities") for name in self.plain)
            for name, key in (("serving_default", "scores"), (self.raw, "scores"), *probabilities):
                scores = self.run(name, self.feed(name, self.golden(size)))[key]
                self.check_scores(f"{name}: a batch of {size}", scores, size)
        return f"batches of {', '.join(map(str, sizes))}"

    def check_scores(self, what: str, scores: np.ndarray, rows: int) -> None:
        """Scores are finite probabilities, which add up to 1 where one label alone is true."""
        if scores.shape != (rows, len(self.facts.labels)):
            raise CheckError(f"{what} gave scores of shape {scores.shape}")
        if not np.all(np.isfinite(scores)):
            raise CheckError(f"{what} gave scores that are not finite")
        if self.facts.multi_label:
            if np.any(scores < 0) or np.any(scores > 1):
                raise CheckError(f"{what} gave scores that are not between 0 and 1")
        elif np.max(np.abs(scores.sum(axis=1) - 1)) > 1e-3:
            raise CheckError(f"{what} gave scores that do not add up to 1")

    def rows_independent(self) -> str:
        """An example gets the same answer alone and in a batch."""
        contents = self.golden(max(3, len(self.facts.golden))) + self.kind.neighbours(self.facts.interface)
        worst = 0.0
        for name in self.plain:
            together = self.run(name, self.feed(name, contents))["probabilities"]
            for row, content in enumerate(contents):
                alone = self.run(name, self.feed(name, [content]))["probabilities"][0]
                worst = max(worst, float(np.max(np.abs(alone - together[row]))))
        if not worst <= self.facts.tolerance:
            content = {"image": "an image"}.get(self.facts.interface["content"], "a text")
            raise CheckError(f"{content} alone and in a batch differ by {worst:.2g} (limit {self.facts.tolerance:g})")
        return f"largest difference alone or in a batch {worst:.1e}"

    def bad_inputs(self) -> str:
        """Bad inputs are refused and strange ones answered, without a crash and without much memory."""
        good = self.golden(1)
        before = [self.run(name, self.feed(name, good))["probabilities"] for name in self.plain]
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        accepted = []
        facts = self.facts
        values = self.hostile.bad_values(self.kind, self.golden(2), facts.interface, self.raw_shape, facts.optional)
        for what, name, value in values:
            self.say(what)
            try:
                self.run(name, value)
            except Exception:  # noqa: BLE001
                continue
            accepted.append(f"{what} ({name})")
        if accepted:
            raise CheckError(f"accepted without an error: {', '.join(accepted)}")
        odd = self.answer_odd_contents(good[0], before[0][0])
        kilobytes = 1024 if sys.platform == "darwin" else 1
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used) / kilobytes / 1024
        if grown > MEMORY_LIMIT_MB:
            raise CheckError(f"they took {grown:.0f} MB of memory (limit {MEMORY_LIMIT_MB} MB)")
        after = [self.run(name, self.feed(name, good))["probabilities"] for name in self.plain]
        if not all(map(np.array_equal, before, after)):
            raise CheckError("a good input is answered differently after the bad ones")
        strange = f", {odd} strange ones answered" if odd else ""
        return f"{len(values)} bad inputs refused{strange}, then a good one answered as before"

    def answer_odd_contents(self, good: bytes, expected: np.ndarray) -> int:
        """Strange but allowed contents get finite scores and leave a good neighbour alone; return how many."""
        odd = self.kind.odd_contents()
        for what, content in odd:
            self.say(what)
            try:
                scores = self.run("probabilities", self.feed("probabilities", [content, good]))["probabilities"]
                ranked = self.run("classify", self.feed("classify", [content]))["scores"]
            except Exception as error:
                raise CheckError(f"{what}: refused: {(str(error).splitlines() or [''])[0][:200]}") from error
            self.check_scores(what, scores, 2)
            self.check_scores(what, ranked, 1)
            if not np.max(np.abs(scores[1] - expected)) <= self.facts.tolerance:
                raise CheckError(f"{what}: a good {self.facts.interface['content']} beside it is answered differently")
        return len(odd)

    def warmup_replay(self) -> str:
        """Every warm-up request works."""
        import tensorflow as tf
        from tensorflow_serving.apis import prediction_log_pb2

        if not self.warmup.is_file():
            raise CheckError("assets.extra/tf_serving_warmup_requests is missing")
        seen: dict[str, set[int]] = {}
        count = 0
        for record in tf.compat.v1.io.tf_record_iterator(str(self.warmup)):
            log = prediction_log_pb2.PredictionLog.FromString(record)
            kind = log.WhichOneof("log_type")
            count += 1
            if count > 1000:
                raise CheckError("more than 1000 records; TensorFlow Serving refuses to load them")
            if kind == "classify_log":
                request = log.classify_log.request
                fed = [example.SerializeToString() for example in request.input.example_list.examples]
                value = np.array(fed, object)
            elif kind == "predict_log":
                request = log.predict_log.request
                (key,) = request.inputs
                value = tf.make_ndarray(request.inputs[key])
            else:
                raise CheckError(f"record {count} is a {kind}")
            name = request.model_spec.signature_name
            if name not in self.callables:
                raise CheckError(f"record {count} asks for signature {name!r}")
            self.run(name, value)
            seen.setdefault(name, set()).add(len(value))
        largest = self.facts.max_batch
        idle = sorted(name for name in self.callables if not {1, largest} <= seen.get(name, set()))
        if idle:
            raise CheckError(f"no record warms up {', '.join(idle)} from batch 1 to {largest}")
        return f"{count} requests, batches of 1 to {largest}"

    def golden(self, size: int) -> list[bytes]:
        """Return `size` recorded examples, repeated as needed."""
        if self.facts.error:
            raise CheckError(self.facts.error)
        return [self.facts.golden[i % len(self.facts.golden)] for i in range(size)]

    def feed(self, name: str, contents: list[bytes]) -> np.ndarray:
        """Return contents as the input that a signature takes."""
        import tensorflow as tf

        if name == self.raw:
            return self.kind.raw_batch(len(contents), self.facts.interface, self.raw_shape)
        if name == "classify":
            feature = self.facts.interface["feature"]
            contents = [
                tf.train.Example(
                    features=tf.train.Features(
                        feature={feature: tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))}
                    )
                ).SerializeToString()
                for content in contents
            ]
        return np.array(contents, object)

    def run(self, name: str, value: np.ndarray) -> dict[str, np.ndarray]:
        """Run a signature through the session; arrays by output name."""
        call, outputs = self.callables[name]
        return dict(zip(outputs, call(value), strict=True))

    def compare(self, what: str, one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> None:
        """Fail unless two answers agree."""
        for key, value in one.items():
            other = two[key]
            if value.shape != other.shape:
                raise CheckError(f"{what} {key} has shapes {value.shape} and {other.shape}")
            if value.dtype.kind in "fiu":
                limit = 10 * self.facts.tolerance * max(1.0, float(np.max(np.abs(other), initial=0)))
                apart = float(np.max(np.abs(value - other), initial=0))
                if not apart <= limit:
                    raise CheckError(f"{what} {key} by {apart:.2g}")
