"""The checks of `tlkit verify`, run by path in a fresh process: `python -I verify_worker.py EXPORT`.

Standalone on purpose: it imports TensorFlow and the standard library only, and blocks keras and tlkit first.
Writes one JSON object a line to stdout: {"start": name}, then {"name", "ok", "reason", "seconds"}, at the end with
"memory", which holds "base_mib" and "peak_mib".
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

BLOCKED = ("keras", "keras_hub", "keras_nlp", "keras_cv", "tf_keras", "tlkit")
# None makes `import keras` fail; an import hook that raises would break TensorFlow's own lazy loading.
for _name in BLOCKED:
    sys.modules[_name] = None  # type: ignore[assignment]


def _loaded(path: Path) -> ModuleType:
    """Load a file; its folder stays off sys.path, where its names could hide others."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_HERE = Path(__file__).parent
_answers = _loaded(_HERE / "verify_answers.py")
_text_ops = _answers.beside("text_ops")
CheckError = _answers.CheckError

#: What runs Python, opens files or ends the process, without the V2 of later versions. The local server refuses the
#: same.
FORBIDDEN_OPS = {
    "PyFunc", "PyFuncStateless", "EagerPyFunc", "NumpyFunction", "LoadLibrary", "RpcCall", "RemoteCall", "RpcServer",
    "RpcServerRegister", "RpcServerStart", "RpcClient", "RpcCheckStatus", "RpcGetValue", "DatasetFromGraph",
    "DataServiceDataset", "RegisterDataset", "MlirPassthroughOp", "XlaCustomCall", "FileSystemSetConfiguration",
    "Abort", "SleepOp", "SleepIdentityOp",
    "ReadFile", "WriteFile", "MatchingFiles", "WholeFileReader", "TextLineReader", "TFRecordReader",
    "FixedLengthRecordReader", "LMDBReader", "TextLineDataset", "TFRecordDataset", "FixedLengthRecordDataset",
    "LMDBDataset", "SqlDataset", "CSVDataset", "CacheDataset", "SnapshotDataset", "SaveDataset", "LoadDataset",
    "MatchingFilesDataset", "CreateSummaryFileWriter", "CreateSummaryDbWriter", "DebugIdentity", "DebugNanCount",
    "DebugNumericSummary", "ImmutableConst", "GenerateVocabRemapping", "LoadAndRemapMatrix", "SnapshotDatasetReader",
    "SnapshotNestedDatasetReader", "SnapshotChunkDataset", "ListSnapshotChunksDataset", "DatasetToTFRecord",
    "DistributedSave", "RecordInput", "Skipgram", "DumpTensor", "CalibrationStatisticsSaver",
}  # fmt: skip
SAVER_OPS = {"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"}
METHODS = {"classify": "tensorflow/serving/classify", "regress": "tensorflow/serving/regress"}
#: The checks of verify_answers.Answers, which call the graph; the others are methods of Checks.
CALLING = ("golden_parity", "batch_sizes", "rows_independent", "bad_inputs", "warmup_replay")
ORDER = (
    "fresh_process", "manifest_complete", "op_allow_list", "labels_asset", "loads_v2", "signature_lint",
    "loads_v1_session", *CALLING,
)  # fmt: skip
NEEDS = dict.fromkeys(CALLING, ("manifest_complete", "op_allow_list", "loads_v1_session")) | {
    "loads_v2": ("op_allow_list",),
    "signature_lint": ("op_allow_list",),
    "loads_v1_session": ("op_allow_list", "loads_v2", "signature_lint"),
}


#: dtype, rank and number of columns (None where it is free) of an input or output.
Promise = tuple[str, int, int | None]


def signatures_of(facts: Any) -> dict[str, tuple[dict[str, Promise], dict[str, Promise]]]:
    """Give the promised inputs and outputs by signature."""
    interface = facts.interface
    content: dict[str, Promise] = {column["argument"]: (column["dtype"], 1, None) for column in interface["columns"]}
    content = content or {interface["input"]: ("string", 1, None)}
    raw: dict[str, Promise] = {interface["raw_input"]: (interface["raw_dtype"], len(interface["raw_shape"]), None)}
    named: dict[str, Promise] = {}
    for output in facts.outputs:
        if output["value"]:
            named[output["value"]] = (output.get("dtype", "float32"), 1, None)
            if output.get("curve"):
                named[output["curve"]] = ("float32", 2, len(output["times"]))
        else:
            width = len(output["class_names"])
            named |= {output["classes"]: ("string", 2, width), output["scores"]: ("float32", 2, width)}
    numbers: Promise = (facts.dtype, 2, len(facts.labels))
    found: dict[str, tuple[dict[str, Promise], dict[str, Promise]]] = {
        "serving_default": (content, named),
        interface["answers"]: (content, {interface["answers"]: numbers}),
        "embedding": (content, {"embedding": ("float32", 2, None)}),
        interface["raw_signature"]: (raw, named),
    }
    if interface["example_signature"]:
        regress: dict[str, Promise] = {"outputs": ("float32", 2, 1)}
        outputs = regress if interface["example_signature"] == "regress" else named
        found[interface["example_signature"]] = ({"inputs": ("string", 1, None)}, outputs)
    for name, stated in facts.extra.items():
        extra: dict[str, Promise] = {
            key: (info["dtype"], len(info["shape"]), (*info["shape"], None)[1]) for key, info in stated.items()
        }
        found[name] = (content, extra)
    for name in facts.queries:
        asked, answered = (_promised(facts.manifest["signatures"][name][side]) for side in ("inputs", "outputs"))
        found[name] = (asked, answered)
    return found


def _promised(stated: dict[str, Any]) -> dict[str, Promise]:
    return {key: (info["dtype"], len(info["shape"]), None) for key, info in stated.items()}


class Call:
    """A signature in a session, called as TensorFlow Serving calls it: the shapes of what is fed are not checked.

    Args:
        session: it holds the graph.
        signature: of the graph; a call may leave inputs out, which then fails as it does there.
    """

    def __init__(self, session: Any, signature: Any):
        self.session = session
        self.inputs = {key: info.name for key, info in signature.inputs.items()}
        self.outputs = {key: info.name for key, info in sorted(signature.outputs.items())}
        self.made: dict[tuple[str, ...], Callable[..., list[Any]]] = {}

    def __call__(self, value: Any) -> dict[str, Any]:
        """Feed one array, or arrays by input; return arrays by output."""
        from tensorflow.core.protobuf import config_pb2

        if not isinstance(value, dict):
            (only,) = self.inputs
            value = {only: value}
        keys = tuple(sorted(value))
        if keys not in self.made:
            options = config_pb2.CallableOptions()
            options.feed.extend(self.inputs[key] for key in keys)
            options.fetch.extend(self.outputs.values())
            self.made[keys] = self.session._make_callable_from_options(options)
        return dict(zip(self.outputs, self.made[keys](*(value[key] for key in keys)), strict=True))


class Checks:
    """The checks that do not call the graph, one method each; each returns what it saw."""

    def __init__(self, export: Path):
        self.export = export
        self.facts = _answers.Facts(export)
        self.labels = self.facts.labels
        self.answers: Any = None

    def fresh_process(self) -> str:
        """Blocked modules cannot be imported and nothing has loaded them."""
        if not sys.flags.isolated:
            raise CheckError("the process is not in Python's isolated mode (-I)")
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
        if self.facts.error:
            raise CheckError(self.facts.error)
        manifest = self.facts.manifest
        missing = [
            key
            for key in ("kind", "signatures", "preprocessing", "versions", "metrics", "data", "files")
            if key not in manifest
        ]
        if missing:
            raise CheckError(f"manifest.json lacks {', '.join(missing)}")
        listed = manifest["files"]
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
                raise CheckError(f"{name} changed after the export: its sha256 differs")
        extra = sorted(set(present) - set(listed))
        if extra:
            raise CheckError(f"{extra[0]} is not listed in manifest.json")
        return f"{len(listed)} files as exported"

    def op_allow_list(self) -> str:
        """Every operation of the graph and its functions can run in a stock server."""
        from tensorflow.core.protobuf import saved_model_pb2
        from tensorflow.python.framework import kernels

        proto = saved_model_pb2.SavedModel.FromString((self.export / "saved_model.pb").read_bytes())
        meta = proto.meta_graphs[0]
        functions = meta.graph_def.library.function
        names = {function.signature.name for function in functions}
        nodes = [*meta.graph_def.node, *(node for function in functions for node in function.node_def)]
        ops = {node.op for node in nodes} - names
        bad = sorted(op for op in ops if _base_name(op) in FORBIDDEN_OPS or op.lower().startswith("xla"))
        if bad:
            raise CheckError(f"forbidden operation {', '.join(bad)}")
        compiled = [f.signature.name for f in functions if f.attr["_XlaMustCompile"].b]
        compiled += [node.name for node in nodes if "_XlaMustCompile" in node.attr and node.attr["_XlaMustCompile"].b]
        if compiled:
            raise CheckError(f"{compiled[0]} needs XLA, which TensorFlow Serving's image does not have")
        unknown = _text_ops.provide(ops)
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
        self.signatures = signatures_of(self.facts)
        unknown = sorted(name for name in self.signature_defs if name not in self.signatures and name[:2] != "__")
        if unknown:
            raise CheckError(f"signature {unknown[0]} is not recorded in manifest.json")
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
                for key, (dtype, rank, width) in want.items():
                    info = got[key]
                    shape = tf.TensorShape(info.tensor_shape)
                    if tf.dtypes.as_dtype(info.dtype).name != dtype:
                        raise CheckError(f"{name}: {side} {key} is {tf.dtypes.as_dtype(info.dtype).name}, not {dtype}")
                    if shape.rank != rank:
                        raise CheckError(f"{name}: {side} {key} has shape {shape}, not rank {rank}")
                    if shape[0] is not None:
                        raise CheckError(f"{name}: {side} {key} has a fixed batch of {shape[0]}")
                    if width is not None and shape[1] not in (None, width):
                        raise CheckError(f"{name}: {key} has {shape[1]} columns for {width} labels")
        interface = self.facts.interface
        info = self.signature_defs[interface["raw_signature"]].inputs[interface["raw_input"]]
        self.raw_shape = tf.TensorShape(info.tensor_shape).as_list()
        promised = list(interface["raw_shape"])
        if any(want not in (None, got) for want, got in zip(promised, self.raw_shape, strict=True)):
            raise CheckError(f"{interface['raw_signature']}: shape {self.raw_shape}, manifest.json says {promised}")
        return ", ".join(sorted(self.signatures))

    def loads_v1_session(self) -> str:
        """The export loads as TensorFlow Serving does it, and answers the same."""
        import tensorflow as tf

        session = tf.compat.v1.Session(graph=tf.Graph())
        with session.graph.as_default():
            meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(self.export))
        callables = {name: Call(session, meta.signature_def[name]) for name in self.signatures}
        content = self.facts.interface["content"]
        hostile = _HERE.parent / "inputs" / Path(str(content)).name / "hostile.py"
        if not hostile.is_file():
            raise CheckError(f"manifest.json has an unknown content type: {content!r}")
        self.answers = answers = _answers.Answers(
            self.facts,
            callables,
            self.raw_shape,
            kind=_loaded(hostile),
            hostile=_answers.beside("hostile"),
            warmup=self.export / "assets.extra" / "tf_serving_warmup_requests",
            say=lambda what: _say({"start": "bad_inputs", "detail": what}),
        )
        contents = answers.golden(2)
        # The functions run as written and the session optimizes its graphs: this compares two ways, and
        # optimizing every signature a second time would cost seconds.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
        for name in self.signatures:
            fed = answers.feed(name, contents)
            v1 = answers.run(name, fed)
            inputs = fed if isinstance(fed, dict) else dict.fromkeys(self.signature_defs[name].inputs, fed)
            tensors = {key: tf.constant(value) for key, value in inputs.items()}
            v2 = {k: v.numpy() for k, v in self.model.signatures[name](**tensors).items()}
            answers.compare(f"{name}: session and function differ:", v1, v2)
        return "same outputs as the functions for every signature"


def _base_name(op: str) -> str:
    """Strip what marks variants of one operation: ExperimentalCSVDatasetV2 is a CSVDataset."""
    return op.removeprefix("Experimental").rstrip("0123456789").removesuffix("V")


def _say(message: dict) -> None:
    print(json.dumps(message), flush=True)


def memory_mib(peak: bool) -> int | None:
    """Return the memory that this process holds, or has held at most, in MiB; None where nothing says it."""
    # Not ru_maxrss where /proc is there: Linux hands that of the process that started this one down.
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        name = "VmHWM:" if peak else "VmRSS:"
        return int(next(line for line in lines if line.startswith(name)).split()[1]) // 1024
    except (OSError, StopIteration, ValueError):
        pass
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 1024)


def _reason(error: Exception) -> str:
    if isinstance(error, CheckError):
        return str(error)
    name = "InvalidArgumentError" if isinstance(error, UnicodeDecodeError) else type(error).__name__
    lines = _answers.message_of(error).strip().splitlines()
    return f"{name}: {lines[0][:300] if lines else ''}"


def main(export: Path) -> None:
    """Run every check on a version folder."""
    checks = Checks(export)
    failed: set[str] = set()
    base = None
    for name in ORDER:
        _say({"start": name})
        if name == "loads_v2":  # TensorFlow is loaded, the model is not
            base = memory_mib(peak=False)
        began = time.perf_counter()
        try:
            for need in NEEDS.get(name, ()):
                if need in failed:
                    raise CheckError(f"not run: {need} failed")
            check: Callable[[], str] = getattr(checks.answers if name in CALLING else checks, name)
            reason, ok = check(), True
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            failed.add(name)
            reason, ok = _reason(error), False
        result = {"name": name, "ok": ok, "reason": reason, "seconds": round(time.perf_counter() - began, 3)}
        if name == "warmup_replay" and ok and base is not None:
            result["memory"] = {"base_mib": base, "peak_mib": memory_mib(peak=True)}
        _say(result)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
