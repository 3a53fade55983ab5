"""The checks of `tlkit verify` that call the exported graph (standalone: run by path, without tlkit)."""

from __future__ import annotations

import base64
import importlib.util
import json
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

MEMORY_LIMIT_MB = 600  # a refused bomb costs nothing; a decoded one of 60000 x 60000 would cost 10 GB
#: Signatures that every export has, beside those that its interface names.
EMBEDDING = "embedding"
#: What is fed to a signature: one array for its one input, or an array for each input by name.
Fed = np.ndarray | dict[str, np.ndarray]


def beside(name: str, room: str = "export") -> ModuleType:
    """Load a module that lies beside this one, or in another room; its folder stays off sys.path, where its names could
    hide others.
    """
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / room / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_schemas = beside("manifest_schemas")
_targets = beside("answer_checks", "targets")


class CheckError(Exception):
    """A check found a problem; the message is its reason."""


def message_of(error: Exception) -> str:
    """Return the text of an error that a graph raised.

    Where TensorFlow's message quotes bytes that are not UTF-8, Python raises a UnicodeDecodeError whose object is that
    message. Its odd bytes are written as backslash escapes.
    """
    if isinstance(error, UnicodeDecodeError):
        return error.object.decode("utf-8", "backslashreplace")
    return str(error)


class Facts:
    """What manifest.json says that the checks need; `error` says why it cannot be used, or is empty."""

    def __init__(self, export: Path):
        self.manifest: dict[str, Any] = {}
        self.labels: list[str] = []
        self.golden: list[bytes] = []
        self.extra: dict[str, dict[str, Any]] = {}
        self.queries: dict[str, dict[str, Any]] = {}
        self.query_dtypes: dict[str, dict[str, str]] = {}
        self.max_batch, self.tolerance = 1, 1e-5
        self.objective = _schemas.FIRST_OBJECTIVE
        self.interface: dict[str, Any] = _schemas.FIRST_INTERFACE | _schemas.DEFAULTS
        try:
            document = json.loads((export / "manifest.json").read_text(encoding="utf-8"))
            self.manifest = _schemas.upgraded(document)
            self.labels = list(self.manifest["labels"])
            self.max_batch = int(self.manifest["max_batch"])
            self.tolerance = float(self.manifest["tolerance"])
            self.golden = [base64.b64decode(item["content"]) for item in self.manifest["golden"]]
            stated = self.manifest["interface"]
            self.interface = {name: stated[name] for name in _schemas.FIRST_INTERFACE}
            self.interface |= {name: stated.get(name, default) for name, default in _schemas.DEFAULTS.items()}
            self._check_outputs()
            if not self.interface["outputs"]:
                self.objective = self.manifest["objective"]
                if _targets.CHECKS[self.objective].has_value:
                    raise ValueError(f"no outputs for the objective {self.objective!r}")
            standard = {self.interface["answers"], EMBEDDING}
            recorded = [name for item in self.manifest["golden"] for name in item["outputs"] if name not in standard]
            self.extra = {name: self.manifest["signatures"][name]["outputs"] for name in dict.fromkeys(recorded)}
            self.queries = dict(self.manifest.get("queries") or {})
            self.query_dtypes = {
                name: {key: info["dtype"] for key, info in self.manifest["signatures"][name]["inputs"].items()}
                for name in self.queries
            }
            self.error = "" if self.golden else "no golden examples"
        except FileNotFoundError:
            self.error = "manifest.json is missing"
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.error = f"manifest.json is unusable: {type(error).__name__}: {error}"
            self.golden = []

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """What is answered about each target; one classification of the labels where the manifest lists none."""
        plain = {"kind": self.objective, "class_names": self.labels, "value": ""}
        return self.interface["outputs"] or [plain | {"classes": "classes", "scores": "scores"}]

    @property
    def dtype(self) -> str:
        """Of all numbers side by side."""
        return "float64" if any(output.get("dtype") == "float64" for output in self.outputs) else "float32"

    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the middle and the spread of the values of each label; 0 and 1 where float32 holds them."""
        found = [
            (output.get("middle", 0.0), output.get("spread", 1.0))
            for output in self.outputs
            for _ in range(width_of(output))
        ]
        return np.array([middle for middle, _ in found]), np.array([spread for _, spread in found])

    def outputs_of(self, signature: str) -> list[dict[str, Any]]:
        """Return the outputs as a signature names them."""
        return [{**self.outputs[0], "value": "outputs"}] if signature == "regress" else self.outputs

    def parts(self) -> list[tuple[dict[str, Any], slice]]:
        """Return each output and where its numbers are in an answer of all labels."""
        found, start = [], 0
        for output in self.outputs:
            found.append((output, slice(start, start + width_of(output))))
            start += width_of(output)
        return found

    def _check_outputs(self) -> None:
        for output in self.interface["outputs"]:
            if output["kind"] not in _targets.CHECKS:
                raise ValueError(f"an output of kind {output['kind']!r}")
            has_value = _targets.CHECKS[output["kind"]].has_value
            if bool(output["value"]) != has_value or not (output["value"] or output["scores"]):
                raise ValueError(f"the output of {output['target']!r} has no matching names")
        if self.interface["outputs"] and sum(map(width_of, self.interface["outputs"])) != len(self.labels):
            raise ValueError(f"the outputs do not match the {len(self.labels)} labels")


def width_of(output: dict[str, Any]) -> int:
    """Return how many numbers of an answer are about an output."""
    return 1 + len(output.get("times", ())) if output["value"] else len(output["class_names"])


def apart(one: np.ndarray, two: np.ndarray, middle: Any = 0.0, spread: Any = 1.0) -> float:
    """Return the largest difference, of values beyond 1 in parts of the second; infinite where one is no number.

    Values that float32 does not hold are measured from their middle, in parts of their spread.
    """
    one, two = one.astype(np.float64), two.astype(np.float64)
    difference = np.max(np.abs(one - two) / np.maximum(spread, np.abs(two - middle)), initial=0.0)
    return float(difference) if np.isfinite(difference) else float("inf")


class Answers:
    """A loaded export that the checks call; each check returns what it saw.

    Args:
        facts: what manifest.json says.
        callables: by signature: a call that takes one array, or arrays by input, and gives arrays by output.
        raw_shape: shape of the raw input in the graph.
        kind: the module `hostile` of the input.
        hostile: the module `hostile` beside this one.
        warmup: the file of the recorded requests.
        say: told what is being tried, so that a crash can be put down to it.
    """

    def __init__(
        self,
        facts: Facts,
        callables: dict[str, Callable[[Fed], dict[str, np.ndarray]]],
        raw_shape: Sequence[int | None],
        kind: ModuleType,
        hostile: ModuleType,
        warmup: Path,
        say: Callable[[str], None],
    ):
        self.facts, self.callables, self.raw_shape = facts, callables, raw_shape
        self.kind, self.hostile, self.warmup, self.say = kind, hostile, warmup, say
        self.raw = facts.interface["raw_signature"]
        self.main = facts.interface["answers"]
        examples = facts.interface["example_signature"]
        self.named = ("serving_default", *([examples] if examples else []))
        self.plain = (self.main, *facts.extra)

    def golden_parity(self) -> str:
        """The recorded examples get the answers of the Keras model."""
        golden = self.golden(len(self.facts.golden))
        worst = max(self.check_recorded(name) for name in self.plain)
        self.check_recorded(EMBEDDING)
        for name in self.named:
            self.check_named(name, self.run(name, self.feed(name, golden)), self.expected(self.main, self.main))
        worst = max([worst, *(self.check_query(name) for name in self.facts.queries)])
        content = self.facts.interface["content"]
        return f"{len(golden)} {content}s, largest difference {worst:.1e} (limit {self.facts.tolerance:g})"

    def expected(self, signature: str, output: str) -> np.ndarray:
        """Return what the manifest records for the golden examples: [n, ...]."""
        answers = [item["outputs"].get(signature, {}).get(output) for item in self.facts.manifest["golden"]]
        if None in answers:
            raise CheckError(f"a golden example of manifest.json has no {signature}: {output}")
        return np.array(answers, self.facts.dtype if output == self.main else np.float32)

    def check_recorded(self, name: str) -> float:
        """Compare all outputs of a signature with the recorded ones; return the largest difference."""
        found = self.run(name, self.feed(name, self.golden(len(self.facts.golden))))
        worst = 0.0
        for key in self.keys_of(name):
            expected, answers = self.expected(name, key), found[key]
            if expected.shape != answers.shape:
                raise CheckError(f"{name}: {key} of shape {answers.shape}, expected {expected.shape}")
            limit = self.facts.manifest.get("tolerances", {}).get(name, {}).get(key)
            if name == EMBEDDING and limit is None:  # of an older schema
                limit = 10 * self.facts.tolerance
            limit = self.facts.tolerance if limit is None else float(limit)
            difference = apart(answers, expected, *self.scale_of(key, expected))
            if not difference <= limit:
                what = "answers" if key == self.main else key
                raise CheckError(f"{name}: differs from the Keras model's {what} by {difference:.2g} (limit {limit:g})")
            worst = max(worst, difference)
        return worst

    def check_query(self, name: str) -> float:
        """Compare what a signature with inputs of its own answers with what is recorded; return the difference."""
        found = self.run(name, self.feed(name, []))
        worst = 0.0
        for key, stated in self.facts.queries[name]["outputs"].items():
            answer = found[key]
            if answer.dtype == object:
                texts = [[part.decode("utf-8") for part in row] for row in answer]
                if texts != stated:
                    raise CheckError(f"{name}: {key} are not the recorded ones")
                continue
            expected = np.array(stated, answer.dtype)
            if expected.shape != answer.shape:
                raise CheckError(f"{name}: {key} of shape {answer.shape}, expected {expected.shape}")
            difference = apart(answer, expected)
            if not difference <= self.facts.tolerance:
                raise CheckError(f"{name}: {key} differ from the recorded ones by {difference:.2g}")
            worst = max(worst, difference)
        return worst

    def keys_of(self, name: str) -> tuple[str, ...]:
        """Return the outputs of a signature that gives all answers, the embedding, or more that a task has."""
        return tuple(self.facts.extra.get(name, {name: None}))

    def scale_of(self, key: str, expected: np.ndarray) -> tuple[Any, Any]:
        """Return by what differences of an output are measured: values in their unit, others by the largest one."""
        if key == self.main:
            return self.facts.scale()
        return 0.0, max(1.0, float(np.max(np.abs(expected), initial=0.0)))

    def check_named(self, name: str, answer: dict[str, np.ndarray], expected: np.ndarray, what: str = "") -> None:
        """Values are those expected; classes and scores are sorted, and agree with answers in the order of labels."""
        what += name
        for output, (_, place) in zip(self.facts.outputs_of(name), self.facts.parts(), strict=True):
            if output["value"]:
                scale = output.get("middle", 0.0), output.get("spread", 1.0)
                for key, part in (("value", expected[:, place][:, :1]), ("curve", expected[:, place][:, 1:])):
                    if not output.get(key):
                        continue
                    difference = apart(answer[output[key]].reshape(part.shape), part, *scale)
                    if not difference <= self.facts.tolerance:
                        raise CheckError(f"{what}: {output[key]} differs from the expected value by {difference:.2g}")
            else:
                self.check_ranking(what, output, answer, expected[:, place])

    def check_ranking(
        self, name: str, output: dict[str, Any], answer: dict[str, np.ndarray], expected: np.ndarray
    ) -> None:
        """Classes and scores are sorted, and agree with what is expected in the order of the classes."""
        labels = list(output["class_names"])
        pairs = zip(answer[output["classes"]], answer[output["scores"]], strict=True)
        for row, (classes, scores) in enumerate(pairs):
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
            for name in ("serving_default", self.raw, *self.plain):
                answer = self.run(name, self.feed(name, self.golden(size)))
                self.check_batch(f"{name}: a batch of {size}", name, answer, size)
        return f"batches of {', '.join(map(str, sizes))}"

    def check_batch(self, what: str, name: str, answer: dict[str, np.ndarray], rows: int) -> None:
        """Answers in the order of the labels, or named, are as they should be; other outputs are finite."""
        if name not in self.plain:
            self.check_scores(what, self.numbers_of(name, answer), rows)
            return
        for key in self.keys_of(name):
            if key == self.main:
                self.check_scores(what, answer[key], rows)
            elif len(answer[key]) != rows or not np.all(np.isfinite(answer[key])):
                raise CheckError(f"{what} returned a {key} of {len(answer[key])} rows, or one that is not finite")

    def numbers_of(self, name: str, answer: dict[str, np.ndarray]) -> np.ndarray:
        """Put the values and scores of a signature side by side: float32 [B, K]."""
        found = [
            answer[output[key]]
            for output in self.facts.outputs_of(name)
            for key in ("value", "curve", "scores")
            if output.get(key)
        ]
        return np.concatenate([part.reshape(len(part), -1) for part in found], axis=1)

    def check_scores(self, what: str, scores: np.ndarray, rows: int) -> None:
        """Answers are finite, and such as their targets can have."""
        if scores.shape != (rows, len(self.facts.labels)):
            raise CheckError(f"{what} returned scores of shape {scores.shape}")
        if not np.all(np.isfinite(scores)):
            raise CheckError(f"{what} returned scores that are not finite")
        for output, place in self.facts.parts():
            problem = _targets.CHECKS[output["kind"]].problem(scores[:, place])
            if problem:
                raise CheckError(f"{what} returned {problem}")

    def rows_independent(self) -> str:
        """An example gets the same answer alone and in a batch."""
        contents = self.golden(max(3, len(self.facts.golden))) + self.kind.neighbours(self.facts.interface)
        worst = 0.0
        for name in self.plain:
            together = self.run(name, self.feed(name, contents))
            for row, content in enumerate(contents):
                alone = self.run(name, self.feed(name, [content]))
                for key in self.keys_of(name):
                    among = together[key][row : row + 1]
                    worst = max(worst, apart(alone[key], among, *self.scale_of(key, among)))
        if not worst <= self.facts.tolerance:
            content = self.facts.interface["content"]
            content = f"{'an' if content[0] in 'aeiou' else 'a'} {content}"
            raise CheckError(f"{content} alone and in a batch differ by {worst:.2g} (limit {self.facts.tolerance:g})")
        return f"largest difference alone or in a batch {worst:.1e}"

    def bad_inputs(self) -> str:
        """Bad inputs are refused and strange ones answered, without a crash and without much memory."""
        good = self.golden(1)
        before = [self.run(name, self.feed(name, good))[self.keys_of(name)[0]] for name in self.plain]
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        accepted = []
        facts = self.facts
        values = self.hostile.bad_values(self.kind, self.golden(2), facts.interface, self.raw_shape, tuple(facts.extra))
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
            raise CheckError(f"they used {grown:.0f} MB of memory (limit {MEMORY_LIMIT_MB} MB)")
        after = [self.run(name, self.feed(name, good))[self.keys_of(name)[0]] for name in self.plain]
        if not all(map(np.array_equal, before, after)):
            raise CheckError("a valid input gets another output after the invalid ones")
        strange = f", {odd} unusual ones predicted" if odd else ""
        return f"{len(values)} invalid inputs rejected{strange}; the output for a valid input is unchanged"

    def answer_odd_contents(self, good: bytes, expected: np.ndarray) -> int:
        """Strange but allowed contents get finite scores and leave a good neighbour alone; return how many."""
        odd = self.kind.odd_contents(self.facts.interface)
        for what, content in odd:
            self.say(what)
            try:
                scores = self.run(self.main, self.feed(self.main, [content, good]))[self.main]
                ranked = self.run(self.named[-1], self.feed(self.named[-1], [content]))
            except Exception as error:
                raise CheckError(f"{what}: rejected: {(message_of(error).splitlines() or [''])[0][:200]}") from error
            self.check_scores(what, scores, 2)
            self.check_scores(what, self.numbers_of(self.named[-1], ranked), 1)
            if not apart(scores[1:], expected[None], *self.facts.scale()) <= self.facts.tolerance:
                raise CheckError(
                    f"{what}: a valid {self.facts.interface['content']} in the same batch gets another output"
                )
            if self.facts.interface["columns"]:  # named columns and tf.Examples are two ways in
                self.check_named(self.named[-1], ranked, scores[:1], f"{what}: ")
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
                raise CheckError("more than 1000 records; TensorFlow Serving does not load them")
            value: Fed
            if kind in ("classify_log", "regress_log"):
                request = getattr(log, kind).request
                fed = [example.SerializeToString() for example in request.input.example_list.examples]
                value = np.array(fed, object)
            elif kind == "predict_log":
                request = log.predict_log.request
                value = {key: tf.make_ndarray(proto) for key, proto in request.inputs.items()}
            else:
                raise CheckError(f"record {count} is a {kind}")
            name = request.model_spec.signature_name
            if name not in self.callables:
                raise CheckError(f"record {count} asks for signature {name!r}")
            self.run(name, value)
            first = next(iter(value.values())) if isinstance(value, dict) else value
            seen.setdefault(name, set()).add(len(first))
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

    def feed(self, name: str, contents: list[bytes]) -> Fed:
        """Return contents as the input that a signature takes."""
        import tensorflow as tf

        interface = self.facts.interface
        if name in self.facts.queries:
            asked, dtypes = self.facts.queries[name]["inputs"], self.facts.query_dtypes[name]
            return {
                key: np.array([value.encode("utf-8") for value in asked[key]], object)
                if dtype == "string"
                else np.array(asked[key], dtype)
                for key, dtype in dtypes.items()
            }
        if name == self.raw:
            return self.kind.raw_batch(len(contents), interface, self.raw_shape)
        if name == interface["example_signature"]:
            feature = interface["feature"]
            if not feature:
                return np.array(contents, object)  # a row is a tf.Example itself
            contents = [
                tf.train.Example(
                    features=tf.train.Features(
                        feature={feature: tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))}
                    )
                ).SerializeToString()
                for content in contents
            ]
        elif interface["columns"]:
            return self.kind.columns_of(contents, interface)
        return np.array(contents, object)

    def run(self, name: str, value: Fed) -> dict[str, np.ndarray]:
        """Run a signature through the session; arrays by output name."""
        return self.callables[name](value)

    def compare(self, what: str, one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> None:
        """Fail unless two answers agree."""
        for key, value in one.items():
            other = two[key]
            if value.shape != other.shape:
                raise CheckError(f"{what} {key} has shapes {value.shape} and {other.shape}")
            if value.dtype.kind in "fiu":
                middle, spread = self._scale_of(key)
                limit = 10 * self.facts.tolerance * np.maximum(spread, np.max(np.abs(other - middle), initial=0))
                far = float(np.max(np.abs(value - other) - limit, initial=-1))
                if not far <= 0:
                    raise CheckError(f"{what} {key} by {float(np.max(np.abs(value - other))):.2g}")

    def _scale_of(self, key: str) -> tuple[Any, Any]:
        """Return the middle and the spread of what a signature gives under a name."""
        for output in self.facts.outputs:
            if key == output["value"]:
                return output.get("middle", 0.0), output.get("spread", 1.0)
        return self.facts.scale() if key == self.main else (0.0, 1.0)
