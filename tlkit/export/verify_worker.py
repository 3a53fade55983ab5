"""The checks of `tlkit verify`, run by path in a fresh process: `python -I verify_worker.py EXPORT`.

Standalone on purpose: it imports TensorFlow and the standard library only, and blocks keras and tlkit first.
Writes one JSON object a line to stdout: {"start": name}, then {"name", "ok", "reason", "seconds"}.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

BLOCKED = ("keras", "keras_hub", "keras_nlp", "keras_cv", "tf_keras", "tlkit")
# None makes `import keras` fail; an import hook that raises would break TensorFlow's own lazy loading.
for _name in BLOCKED:
    sys.modules[_name] = None  # type: ignore[assignment]

import numpy as np  # noqa: E402

FORBIDDEN_OPS = {
    "PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile", "MatchingFiles", "DebugIdentity",
    "WholeFileReader", "WholeFileReaderV2", "TextLineReader", "TextLineReaderV2", "TFRecordReader",
    "TFRecordReaderV2", "FixedLengthRecordReader", "FixedLengthRecordReaderV2", "LoadLibrary", "RpcCall",
}  # fmt: skip
SAVER_OPS = {"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"}
SIGNATURES = {
    "serving_default": ({"image_bytes": ("string", 1)}, {"classes": ("string", 2), "scores": ("float32", 2)}),
    "probabilities": ({"image_bytes": ("string", 1)}, {"probabilities": ("float32", 2)}),
    "embedding": ({"image_bytes": ("string", 1)}, {"embedding": ("float32", 2)}),
    "pixels": ({"pixels": ("float32", 4)}, {"classes": ("string", 2), "scores": ("float32", 2)}),
    "classify": ({"inputs": ("string", 1)}, {"classes": ("string", 2), "scores": ("float32", 2)}),
}
#: By the key of manifest.json that says that an export has it, and that is also the key of its golden answers.
OPTIONAL_SIGNATURES = {
    "tta": ({"image_bytes": ("string", 1)}, {"probabilities": ("float32", 2)}),
}
METHODS = {"classify": "tensorflow/serving/classify"}
MEMORY_LIMIT_MB = 600  # a refused bomb costs nothing; a decoded one of 60000 x 60000 would cost 10 GB


class CheckError(Exception):
    """A check found a problem; the message is its reason."""


class Checks:
    """The checks, one method each, in the order of `ORDER`; each returns what it saw."""

    ORDER = (
        "fresh_process", "manifest_complete", "op_allow_list", "labels_asset", "loads_v2", "signature_lint",
        "loads_v1_session", "golden_parity", "batch_sizes", "rows_independent", "bad_inputs", "warmup_replay",
    )  # fmt: skip
    NEEDS = dict.fromkeys(
        ("golden_parity", "batch_sizes", "rows_independent", "bad_inputs", "warmup_replay"),
        ("manifest_complete", "op_allow_list", "loads_v1_session"),
    ) | {
        "loads_v2": ("op_allow_list",),
        "signature_lint": ("op_allow_list",),
        "loads_v1_session": ("op_allow_list", "loads_v2", "signature_lint"),
    }

    def __init__(self, export: Path):
        self.export = export
        try:
            self.manifest = json.loads((export / "manifest.json").read_text(encoding="utf-8"))
            self.labels = list(self.manifest["labels"])
            self.max_batch = int(self.manifest["max_batch"])
            self.tolerance = float(self.manifest["tolerance"])
            self.golden = [base64.b64decode(item["image"]) for item in self.manifest["golden"]]
            self.manifest_error = "" if self.golden else "no golden examples"
            self.optional = tuple(name for name in OPTIONAL_SIGNATURES if self.manifest.get(name))
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.manifest_error = f"manifest.json is unusable: {type(error).__name__}: {error}"
            self.labels, self.max_batch, self.tolerance, self.golden, self.optional = [], 1, 1e-5, [], ()
        self.signatures = SIGNATURES | {name: OPTIONAL_SIGNATURES[name] for name in self.optional}

    def fresh_process(self) -> str:
        """Blocked modules cannot be imported and nothing has loaded them."""
        if not sys.flags.isolated:
            raise CheckError("the process does not run in Python's isolated mode (-I)")
        import tensorflow as tf

        for name in BLOCKED:
            try:
                __import__(name)
            except ImportError:
                continue
            raise CheckError(f"{name} could be imported")
        loaded = sorted(name for name in sys.modules if name.split(".")[0] in BLOCKED and sys.modules[name])
        if loaded:
            raise CheckError(f"{loaded[0]} is loaded")
        return f"TensorFlow {tf.__version__}; {', '.join(BLOCKED)} cannot be imported"

    def manifest_complete(self) -> str:
        """The manifest has its keys, and its files are those on disk."""
        if self.manifest_error:
            raise CheckError(self.manifest_error)
        missing = [
            key
            for key in ("kind", "signatures", "preprocessing", "versions", "metrics", "data", "files")
            if key not in self.manifest
        ]
        if missing:
            raise CheckError(f"manifest.json lacks {', '.join(missing)}")
        listed = self.manifest["files"]
        present = {
            path.relative_to(self.export).as_posix(): path
            for path in self.export.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        }
        present.pop("manifest.json")
        for name, digest in listed.items():
            if name not in present:
                raise CheckError(f"{name} is missing")
            if hashlib.sha256(present[name].read_bytes()).hexdigest() != digest:
                raise CheckError(f"{name} was changed after the export: its sha256 differs")
        extra = sorted(set(present) - set(listed))
        if extra:
            raise CheckError(f"{extra[0]} is not listed in manifest.json")
        return f"{len(listed)} files as exported"

    def op_allow_list(self) -> str:
        """Every operation of the graph and its functions can run in a stock server."""
        from tensorflow.core.protobuf import saved_model_pb2
        from tensorflow.python.framework import kernels, op_def_registry

        proto = saved_model_pb2.SavedModel.FromString((self.export / "saved_model.pb").read_bytes())
        meta = proto.meta_graphs[0]
        functions = meta.graph_def.library.function
        names = {function.signature.name for function in functions}
        nodes = [*meta.graph_def.node, *(node for function in functions for node in function.node_def)]
        ops = {node.op for node in nodes} - names
        bad = sorted(op for op in ops if op in FORBIDDEN_OPS or op.lower().startswith("xla"))
        if bad:
            raise CheckError(f"forbidden operation {', '.join(bad)}")
        compiled = [f.signature.name for f in functions if f.attr["_XlaMustCompile"].b]
        compiled += [node.name for node in nodes if "_XlaMustCompile" in node.attr and node.attr["_XlaMustCompile"].b]
        if compiled:
            raise CheckError(f"{compiled[0]} must be compiled by XLA, which TensorFlow Serving's image lacks")
        unknown = sorted(op for op in ops if op_def_registry.get(op) is None)
        if unknown:
            _load_tf_text()
            unknown = [op for op in unknown if op_def_registry.get(op) is None]
        if unknown:
            raise CheckError(f"operation {', '.join(unknown)} is neither in TensorFlow nor in TF Text")
        no_kernel = [
            op
            for op in sorted(ops)
            if not any(
                kernel.device_type in ("CPU", "DEFAULT") for kernel in kernels.get_registered_kernels_for_op(op).kernel
            )
        ]
        if no_kernel:
            raise CheckError(f"no CPU kernel for {', '.join(no_kernel)}")
        return f"{len(ops - SAVER_OPS)} kinds of operation in {len(nodes)} nodes"

    def labels_asset(self) -> str:
        """The labels file agrees with the manifest."""
        path = self.export / "assets" / "labels.txt"
        if not path.is_file():
            raise CheckError("assets/labels.txt is missing")
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        if lines != self.labels:
            wrong = next((i for i, (a, b) in enumerate(zip(lines, self.labels, strict=False)) if a != b), None)
            if wrong is None:
                raise CheckError(f"assets/labels.txt has {len(lines)} lines, manifest.json {len(self.labels)} labels")
            raise CheckError(f"line {wrong + 1} is {lines[wrong]!r}, manifest.json says {self.labels[wrong]!r}")
        return f"{len(lines)} labels"

    def loads_v2(self) -> str:
        """The export loads as TensorFlow 2 does it."""
        import tensorflow as tf

        self.model = tf.saved_model.load(str(self.export))
        return f"{len(self.model.signatures)} signatures"

    def signature_lint(self) -> str:
        """Every signature has the promised inputs and outputs."""
        import tensorflow as tf
        from tensorflow.core.protobuf import saved_model_pb2

        proto = saved_model_pb2.SavedModel.FromString((self.export / "saved_model.pb").read_bytes())
        self.signature_defs = proto.meta_graphs[0].signature_def
        unknown = sorted(set(OPTIONAL_SIGNATURES) & set(self.signature_defs) - set(self.optional))
        if unknown:
            raise CheckError(f"signature {unknown[0]} is there, but manifest.json does not record it")
        for name, (inputs, outputs) in self.signatures.items():
            if name not in self.signature_defs:
                raise CheckError(f"signature {name} is missing; there are {', '.join(sorted(self.signature_defs))}")
            found = self.signature_defs[name]
            method = METHODS.get(name, "tensorflow/serving/predict")
            if found.method_name != method:
                raise CheckError(f"{name}: method {found.method_name!r} instead of {method!r}")
            for side, want, got in (("input", inputs, found.inputs), ("output", outputs, found.outputs)):
                if set(want) != set(got):
                    raise CheckError(f"{name}: {side}s {sorted(got)} instead of {sorted(want)}")
                for key, (dtype, rank) in want.items():
                    info = got[key]
                    shape = tf.TensorShape(info.tensor_shape)
                    if tf.dtypes.as_dtype(info.dtype).name != dtype:
                        raise CheckError(f"{name}: {side} {key} is {tf.dtypes.as_dtype(info.dtype).name}, not {dtype}")
                    if shape.rank != rank:
                        raise CheckError(f"{name}: {side} {key} has shape {shape}, not rank {rank}")
                    if shape[0] is not None:
                        raise CheckError(f"{name}: {side} {key} has a fixed batch of {shape[0]}")
                    if key in ("classes", "scores", "probabilities") and shape[1] not in (
                        None,
                        len(self.labels),
                    ):
                        raise CheckError(f"{name}: {key} has {shape[1]} columns for {len(self.labels)} labels")
        self.size = self.signature_defs["pixels"].inputs["pixels"].tensor_shape.dim[1].size
        return ", ".join(sorted(self.signatures))

    def loads_v1_session(self) -> str:
        """The export loads as TensorFlow Serving does it, and answers the same."""
        import tensorflow as tf
        from tensorflow.core.protobuf import config_pb2

        session = tf.compat.v1.Session(graph=tf.Graph())
        with session.graph.as_default():
            meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(self.export))
        # Like TensorFlow Serving's C++ sessions, such callables do not check the fed shapes.
        self.callables = {}
        for name in self.signatures:
            signature = meta.signature_def[name]
            options = config_pb2.CallableOptions()
            options.feed.extend(info.name for _, info in sorted(signature.inputs.items()))
            options.fetch.extend(info.name for _, info in sorted(signature.outputs.items()))
            self.callables[name] = (session._make_callable_from_options(options), sorted(signature.outputs))
        images = self.golden_batch(2)
        # The functions run as written and the session optimizes its graphs: this compares two ways, and
        # optimizing every signature a second time would cost seconds.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
        for name in self.signatures:
            fed = self.feed(name, images)
            (key,) = self.signature_defs[name].inputs
            v1 = self.run(name, fed)
            v2 = {k: v.numpy() for k, v in self.model.signatures[name](**{key: tf.constant(fed)}).items()}
            self.compare(f"{name}: session and function differ:", v1, v2)
        return "same answers as the functions for every signature"

    def golden_parity(self) -> str:
        """The recorded images get the answers of the Keras model."""
        if self.manifest_error:
            raise CheckError(self.manifest_error)
        images = self.feed("probabilities", self.golden)
        expected = self.expected("probabilities")
        worst = self.check_probabilities("probabilities", images, expected)
        for name in self.optional:
            worst = max(worst, self.check_probabilities(name, images, self.expected(name)))
        embedding = self.run("embedding", images)["embedding"]
        vector = self.expected("embedding")
        if vector.shape != embedding.shape:
            raise CheckError(f"the embedding has shape {embedding.shape}, expected {vector.shape}")
        apart = float(np.max(np.abs(embedding - vector)) / max(1.0, float(np.max(np.abs(vector)))))
        if not apart <= 10 * self.tolerance:
            raise CheckError(f"the embedding differs from the Keras model's by {apart:.2g} of its largest value")
        for name in ("serving_default", "classify"):
            self.check_ranking(name, self.run(name, self.feed(name, self.golden)), expected)
        return f"{len(self.golden)} images, largest difference {worst:.1e} (limit {self.tolerance:g})"

    def expected(self, key: str) -> np.ndarray:
        """Return what the manifest records for the golden images: float32 [n, ...]."""
        answers = [item.get(key) for item in self.manifest["golden"]]
        if None in answers:
            raise CheckError(f"a golden example of manifest.json has no {key}")
        return np.array(answers, np.float32)

    def check_probabilities(self, name: str, images: np.ndarray, expected: np.ndarray) -> float:
        """Compare the answers of a signature with the recorded ones; return the largest difference."""
        probabilities = self.run(name, images)["probabilities"]
        if expected.shape != probabilities.shape:
            raise CheckError(f"{name}: probabilities of shape {probabilities.shape}, expected {expected.shape}")
        difference = float(np.max(np.abs(probabilities - expected)))
        if not difference <= self.tolerance:
            raise CheckError(
                f"{name}: not the Keras model's answers, {difference:.2g} apart (limit {self.tolerance:g})"
            )
        return difference

    def check_ranking(self, name: str, answer: dict[str, np.ndarray], expected: np.ndarray) -> None:
        """Classes and scores are sorted, and agree with the probabilities in the order of the labels."""
        for row, (classes, scores) in enumerate(zip(answer["classes"], answer["scores"], strict=True)):
            if np.any(np.diff(scores) > 0):
                raise CheckError(f"{name}: the scores are not in descending order")
            names = [label.decode("utf-8") for label in classes]
            if sorted(names) != sorted(self.labels):
                raise CheckError(f"{name}: the classes {names[:5]} are not the labels of manifest.json")
            for label, score in zip(names, scores, strict=True):
                want = float(expected[row][self.labels.index(label)])
                if not abs(float(score) - want) <= self.tolerance:
                    raise CheckError(f"{name}: {label!r} scores {float(score):.6f}, expected {want:.6f}")

    def batch_sizes(self) -> str:
        """Small and large batches are answered."""
        sizes = sorted({1, 3, self.max_batch})
        for size in sizes:
            probabilities = tuple((name, "probabilities") for name in self.optional)
            for name, key in (("serving_default", "scores"), ("pixels", "scores"), *probabilities):
                scores = self.run(name, self.feed(name, self.golden_batch(size)))[key]
                if scores.shape != (size, len(self.labels)):
                    raise CheckError(f"{name}: a batch of {size} gave scores of shape {scores.shape}")
                if not np.all(np.isfinite(scores)) or np.max(np.abs(scores.sum(axis=1) - 1)) > 1e-3:
                    raise CheckError(f"{name}: the scores of a batch of {size} do not add up to 1")
        return f"batches of {', '.join(map(str, sizes))}"

    def rows_independent(self) -> str:
        """An image gets the same answer alone and in a batch."""
        images = self.golden_batch(max(3, len(self.golden)))
        worst = 0.0
        for name in ("probabilities", *self.optional):
            together = self.run(name, self.feed(name, images))["probabilities"]
            for row, image in enumerate(images):
                alone = self.run(name, self.feed(name, [image]))["probabilities"][0]
                worst = max(worst, float(np.max(np.abs(alone - together[row]))))
        if not worst <= self.tolerance:
            raise CheckError(f"an image alone and in a batch differ by {worst:.2g} (limit {self.tolerance:g})")
        return f"largest difference alone or in a batch {worst:.1e}"

    def bad_inputs(self) -> str:
        """Bad inputs are refused without a crash and without much memory."""
        names = ("probabilities", *self.optional)
        before = [self.run(name, self.feed(name, self.golden[:1]))["probabilities"] for name in names]
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        accepted = []
        count = 0
        for what, name, value in _sibling("hostile").bad_values(self.golden_batch(2), self.size, self.optional):
            count += 1
            _say({"start": "bad_inputs", "detail": what})
            try:
                self.run(name, value)
            except Exception:  # noqa: BLE001
                continue
            accepted.append(f"{what} ({name})")
        if accepted:
            raise CheckError(f"accepted without an error: {', '.join(accepted)}")
        kilobytes = 1024 if sys.platform == "darwin" else 1
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used) / kilobytes / 1024
        if grown > MEMORY_LIMIT_MB:
            raise CheckError(f"refusing them took {grown:.0f} MB of memory (limit {MEMORY_LIMIT_MB} MB)")
        after = [self.run(name, self.feed(name, self.golden[:1]))["probabilities"] for name in names]
        if not all(map(np.array_equal, before, after)):
            raise CheckError("a good image is answered differently after the bad ones")
        return f"{count} bad inputs refused, then a good one answered as before"

    def warmup_replay(self) -> str:
        """Every warm-up request works."""
        import tensorflow as tf
        from tensorflow_serving.apis import prediction_log_pb2

        path = self.export / "assets.extra" / "tf_serving_warmup_requests"
        if not path.is_file():
            raise CheckError("assets.extra/tf_serving_warmup_requests is missing")
        seen: dict[str, set[int]] = {}
        count = 0
        for record in tf.compat.v1.io.tf_record_iterator(str(path)):
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
        idle = sorted(name for name in self.signatures if not {1, self.max_batch} <= seen.get(name, set()))
        if idle:
            raise CheckError(f"no record warms up {', '.join(idle)} from batch 1 to {self.max_batch}")
        return f"{count} requests, batches of 1 to {self.max_batch}"

    def golden_batch(self, size: int) -> list[bytes]:
        """Return `size` recorded images, repeated as needed."""
        if not self.golden:
            raise CheckError(self.manifest_error or "no golden examples")
        return [self.golden[i % len(self.golden)] for i in range(size)]

    def feed(self, name: str, images: list[bytes]) -> np.ndarray:
        """Return images as the input that a signature takes."""
        import tensorflow as tf

        if name == "pixels":
            values = np.random.default_rng(0).uniform(0, 255, (len(images), self.size, self.size, 3))
            return values.astype(np.float32)
        if name == "classify":
            images = [
                tf.train.Example(
                    features=tf.train.Features(
                        feature={"image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))}
                    )
                ).SerializeToString()
                for image in images
            ]
        return np.array(images, object)

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
                limit = 10 * self.tolerance * max(1.0, float(np.max(np.abs(other), initial=0)))
                apart = float(np.max(np.abs(value - other), initial=0))
                if not apart <= limit:
                    raise CheckError(f"{what} {key} by {apart:.2g}")


def _load_tf_text() -> None:
    import tensorflow as tf

    spec = importlib.util.find_spec("tensorflow_text")  # finds it without importing it: that would need Keras
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for library in sorted(Path(folder).rglob("*.so")):
            try:
                tf.load_op_library(str(library))
            except (tf.errors.OpError, RuntimeError):
                continue  # not an operation library, or registered by an earlier one


def _sibling(name: str) -> ModuleType:
    """Load a file beside this one; the folder stays off sys.path, where its names could hide others."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _say(message: dict) -> None:
    print(json.dumps(message), flush=True)


def _reason(error: Exception) -> str:
    if isinstance(error, CheckError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"


def main(export: Path) -> None:
    """Run every check on a version folder."""
    checks = Checks(export)
    failed: set[str] = set()
    for name in Checks.ORDER:
        _say({"start": name})
        began = time.perf_counter()
        try:
            for need in Checks.NEEDS.get(name, ()):
                if need in failed:
                    raise CheckError(f"not run: {need} failed")
            check: Callable[[], str] = getattr(checks, name)
            reason, ok = check(), True
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            failed.add(name)
            reason, ok = _reason(error), False
        _say({"name": name, "ok": ok, "reason": reason, "seconds": round(time.perf_counter() - began, 3)})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
