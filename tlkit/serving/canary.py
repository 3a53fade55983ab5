"""Hold a running server to the manifest of the export that it should serve: a gate before traffic goes there."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.errors import TlkitError
from tlkit.export.manifest import Manifest, SignatureInfo, TensorInfo, resolve_export, version_number
from tlkit.export.verify import CheckResult
from tlkit.export.verify_answers import EMBEDDING, Answers, CheckError, Facts, Fed, apart
from tlkit.inputs.base import input_spec
from tlkit.serving import protos
from tlkit.serving.client import ServingClient
from tlkit.serving.transport import TransportError, with_retries

#: The checks in the order in which they run, and what each shows.
CHECKS = {
    "ready": "the server is reachable and serves the model",
    "version": "the version of the export is loaded and available",
    "signatures": "names, methods, dtypes and shapes equal those in manifest.json",
    "golden_answers": "the outputs for the golden examples equal those of the Keras model at export",
    "golden_default": "serving_default returns the same scores, sorted and with class names",
    "golden_embedding": "the embedding equals that of the Keras model",
    "golden_examples": "classify or regress returns the same for tf.Examples",
    "rows_independent": "an output does not depend on the other rows of the request",
    "bad_requests": "invalid requests are rejected, and the output for a valid request does not change",
}
_NEEDS = dict.fromkeys(CHECKS, ("ready", "version")) | {"ready": (), "version": ("ready",)}

CANNOT_CATCH = (
    "Speed, memory and behaviour under load were not tested.",
    "Only this address was checked: other replicas behind a load balancer may serve another model.",
    "The accuracy on new data: use `tlkit evaluate`.",
)

_LISTS = {"string": "bytes_list", "float32": "float_list", "float64": "bytes_list", "int64": "int64_list"}
_POLL = 0.2  # seconds between two looks at a version that loads
_sleep = time.sleep


def verify_server(
    url: str, export: str | Path, *, name: str | None = None, wait: float = 10.0, timeout: float = 60.0, **options: Any
) -> list[CheckResult]:
    """Run every check on a server, over the protocol that its address names.

    The version asked is the export's where its folder is called like one; otherwise the server's choice.

    Example:
        >>> results = verify_server("http://127.0.0.1:8501", "saved_models/photos")
        >>> [check.name for check in results if not check.ok]
        []

    Args:
        url: http://, https://, grpc:// or grpcs://.
        export: the version folder that should be served, or a model's base path (then its newest version).
        name: of the model on the server; the manifest's when left out.
        wait: seconds that the server and the version have to become ready.
        timeout: seconds for each request.
        options: further keyword arguments of `ServingClient`.

    Returns:
        One result per check, in the order of `CHECKS`.

    Raises:
        ConfigError: the address is none.
        ExportError: there is no export at `export`, or it has no manifest.
    """
    folder = resolve_export(export).resolve()
    manifest = Manifest.read(folder)
    version = version_number(folder.name)
    name = name or manifest.model_name
    with (
        ServingClient(url, name, timeout=timeout, manifest=manifest, **options) as any_version,
        ServingClient(url, name, timeout=timeout, manifest=manifest, version=version, **options) as client,
    ):
        return _run(_Canary(any_version, client, folder, manifest, version, wait))


def _run(canary: _Canary) -> list[CheckResult]:
    results: list[CheckResult] = []
    failed: set[str] = set()
    for name in CHECKS:
        began = time.perf_counter()
        try:
            for need in _NEEDS[name]:
                if need in failed:
                    raise CheckError(f"not run: {need} failed")
            reason, ok = getattr(canary, name)(), True
        except (CheckError, TlkitError) as error:
            failed.add(name)
            reason, ok = str(error), False
        results.append(CheckResult(name, ok, reason, round(time.perf_counter() - began, 3)))
    return results


class _Canary:
    """The checks; each returns what it saw."""

    def __init__(
        self,
        any_version: ServingClient,
        client: ServingClient,
        export: Path,
        manifest: Manifest,
        wanted: int | None,
        wait: float,
    ):
        self.any_version, self.client, self.manifest = any_version, client, manifest
        self.wanted, self.wait = wanted, wait
        self.answers = _Asked(Facts(export), client, manifest)
        self.example_signature = manifest.interface.example_signature

    def ready(self) -> str:
        """The model answers, in whatever version."""
        found = self.any_version.wait_until_ready(self.wait)
        if found.name != self.client.model:
            raise CheckError(f"requested the model {self.client.model!r}, but the server returned {found.name!r}")
        return f"{self.client.target} serves {found.name!r}"

    def version(self) -> str:
        """The version of the export is available."""
        served = self.any_version.metadata().version
        if self.wanted is None:
            return f"version {served} is served; the export's folder has no version number to compare with"
        end = time.monotonic() + self.wait
        while True:
            states = {one.version: one for one in self.any_version.status()}
            state = states[self.wanted].state if self.wanted in states else "missing"
            if state not in ("START", "LOADING") or time.monotonic() >= end:
                break
            _sleep(_POLL)
        if state != "AVAILABLE":
            why = states[self.wanted].error_message if self.wanted in states else ""
            listed = ", ".join(f"{number} {one.state}" for number, one in sorted(states.items())) or "none"
            raise CheckError(f"version {self.wanted} is {state}{f': {why}' if why else ''}; the server has {listed}")
        found = self.client.metadata()
        if found.version != self.wanted:
            raise CheckError(f"requested version {self.wanted}, but version {found.version} responded")
        others = "" if served == self.wanted else f"; requests without a version go to {served}"
        return f"version {self.wanted} is AVAILABLE{others}"

    def signatures(self) -> str:
        """The signatures are those of the manifest."""
        served, told = self.client.metadata().signatures, self.manifest.signatures
        wrong = [f"{name} is missing" for name in told if name not in served]
        wrong += [f"{name} is not in the manifest" for name in served if name not in told]
        for name in sorted(told.keys() & served.keys()):
            wrong += [f"{name}: {what}" for what in _differences(told[name], served[name])]
        if wrong:
            raise CheckError("; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""))
        return f"{', '.join(sorted(told))}: as in the manifest"

    def golden_answers(self) -> str:
        """The recorded examples get the answers of the Keras model."""
        answers = self.answers
        golden = answers.golden(len(answers.facts.golden))
        worst = max(answers.check_recorded(name) for name in answers.plain)
        tolerance = f"largest difference {worst:.1e} (limit {self.manifest.tolerance:g})"
        return f"{len(golden)} {self.manifest.interface.content}s through {', '.join(answers.plain)}, {tolerance}"

    def golden_default(self) -> str:
        """serving_default names and sorts the same answers."""
        return self._named("serving_default")

    def golden_examples(self) -> str:
        """Classify or regress gives the same answers."""
        return self._named(self.example_signature) if self.example_signature else "no signature takes tf.Examples"

    def golden_embedding(self) -> str:
        """The embedding is the Keras model's."""
        far = self.answers.check_recorded(EMBEDDING)
        width = self.answers.expected(EMBEDDING, EMBEDDING).shape[1]
        return f"{width} numbers each, largest difference {far:.1e} of the largest value"

    def rows_independent(self) -> str:
        """An example gets the same answer alone and among others."""
        answers = self.answers
        contents = answers.golden(max(3, len(answers.facts.golden)))
        together = self._main(contents)
        worst = max(apart(self._main([one]), together[row : row + 1]) for row, one in enumerate(contents))
        if not worst <= self.manifest.tolerance:
            raise CheckError(f"alone and among others differ by {worst:.2g} (limit {self.manifest.tolerance:g})")
        return f"{len(contents)} alone and together, largest difference {worst:.1e}"

    def bad_requests(self) -> str:
        """Wrong requests are refused with INVALID_ARGUMENT (400), and the server goes on."""
        good = self.answers.golden(1)
        before = self._main(good)
        tried = self._wrong_requests(good)
        for what, signature, schema, inputs in tried:
            code = self._code_of(signature, schema, inputs)
            # FAILED_PRECONDITION is what gRPC says of an unknown signature; over REST both are 400.
            if code not in ("INVALID_ARGUMENT", "FAILED_PRECONDITION"):
                raise CheckError(f"{what}: {code} instead of INVALID_ARGUMENT")
        if not apart(self._main(good), before) <= self.manifest.tolerance:
            raise CheckError("the output for a valid input changed after the invalid ones")
        return f"{', '.join(what for what, *_ in tried)}: rejected; the output for a valid input is unchanged"

    def _main(self, contents: list[bytes]) -> np.ndarray:
        return self.answers.run(self.answers.main, self.answers.feed(self.answers.main, contents))[self.answers.main]

    def _named(self, name: str) -> str:
        answers = self.answers
        golden = answers.golden(len(answers.facts.golden))
        found = answers.run(name, answers.feed(name, golden))
        answers.check_named(name, found, answers.expected(answers.main, answers.main))
        return f"{len(golden)} {self.manifest.interface.content}s through {name}"

    def _wrong_requests(self, good: list[bytes]) -> list[tuple[str, str, SignatureInfo, dict[str, np.ndarray]]]:
        """List what it is, the signature asked for, the schema to write it by, and the inputs."""
        main = self.answers.main
        real = self.manifest.signatures[main]
        fine = self.answers.inputs_of(main, good)
        other = SignatureInfo(method="", inputs={"nobody": TensorInfo(dtype="int64", shape=None)}, outputs=real.outputs)
        first, info = next(iter(real.inputs.items()))
        wrong = TensorInfo(dtype="float32" if info.dtype == "string" else "string", shape=None)
        mistyped = SignatureInfo(method="", inputs=real.inputs | {first: wrong}, outputs=real.outputs)
        value = np.array([1.5], np.float32) if wrong.dtype == "float32" else np.array([b"x"], object)
        found = [
            ("an unknown signature", "nobody", real, fine),
            ("a missing input", main, other, {"nobody": np.array([1])}),
            (f"{wrong.dtype} for {info.dtype}", main, mistyped, fine | {first: value}),
            ("a matrix for a vector", main, real, {name: array[:, None] for name, array in fine.items()}),
        ]
        spec = input_spec(self.manifest.interface.content)
        if spec.junk:
            found.append((f"junk for an {spec.name}", main, real, {first: np.array([spec.junk], object)}))
        return found

    def _code_of(self, name: str, schema: SignatureInfo, inputs: dict[str, np.ndarray]) -> str:
        """Send a request past the client's own checks; return the canonical code of the answer."""
        client = self.client

        def call(left: float) -> str:
            client._transport.predict(name, schema, inputs, [], left)
            return "accepted"

        try:
            return with_retries(call, timeout=client.timeout, retries=client.retries)
        except TransportError as error:
            return error.code.name


class _Asked(Answers):
    """The recorded examples and their expected answers, with a server in place of a loaded export."""

    def __init__(self, facts: Facts, client: ServingClient, manifest: Manifest):
        self.client, self.told = client, manifest
        nothing: Any = None  # only the checks of a loaded export need the hostile inputs and the warm-up
        calls: dict[str, Callable[[Fed], dict[str, np.ndarray]]] = {}
        super().__init__(facts, calls, (), nothing, nothing, Path(), lambda what: None)

    def run(self, name: str, value: Fed) -> dict[str, np.ndarray]:
        """Ask the server; tf.Examples go through its own method for them."""
        if name == self.told.interface.example_signature:
            return self._of_examples(name, list(value))
        return self.client.predict(value, name)

    def feed(self, name: str, contents: list[bytes]) -> Fed:
        """Return contents as the input that a signature takes; no TensorFlow is needed for it."""
        interface = self.told.interface
        if name == interface.example_signature:
            made = contents if not interface.feature else [_example(interface.feature, one) for one in contents]
            return np.array(made, object)
        if interface.columns:
            return self.inputs_of(name, contents)
        return np.array(contents, object)

    def inputs_of(self, name: str, contents: list[bytes]) -> dict[str, np.ndarray]:
        """Return contents as named inputs [n]: the only one, or a row's columns, of which the absent are marked."""
        interface = self.told.interface
        if not interface.columns:
            flat = np.empty(len(contents), object)
            flat[:] = contents
            return {next(iter(self.told.signatures[name].inputs)): flat}
        read = [protos.Example.FromString(one).features.feature for one in contents]
        found = {}
        for column in interface.columns:
            key = column.argument
            given = [getattr(row[key], _LISTS[column.dtype]).value if key in row else () for row in read]
            values = [each[0] if each else column.absent_value for each in given]
            if column.dtype == "float64":  # in decimals
                values = [float(value or "nan") for value in values]
            found[key] = np.array(values, object if column.dtype == "string" else column.dtype)
        return found

    def _of_examples(self, name: str, examples: list[Any]) -> dict[str, np.ndarray]:
        output = self.facts.outputs_of(name)[0]
        if output["value"]:
            return {output["value"]: self.client.regress(examples, name)}
        ranked = self.client.classify(examples, name)
        labels = [[one.label.encode("utf-8") for one in row] for row in ranked]
        scores = np.array([[one.score for one in row] for row in ranked], np.float32)
        return {output["classes"]: np.array(labels, object), output["scores"]: scores}


def _differences(told: SignatureInfo, served: SignatureInfo) -> list[str]:
    if told.method != served.method:
        return [f"method {served.method!r} instead of {told.method!r}"]
    found = []
    for what in ("inputs", "outputs"):
        ours, theirs = getattr(told, what), getattr(served, what)
        for key in sorted(ours.keys() | theirs.keys()):
            if key not in theirs or key not in ours:
                found.append(f"{what} {sorted(theirs)} instead of {sorted(ours)}")
                break
            if ours[key] != theirs[key]:
                found.append(f"{key} is {_shown(theirs[key])} instead of {_shown(ours[key])}")
    return found


def _shown(info: TensorInfo) -> str:
    if info.shape is None:
        return f"{info.dtype} of any shape"
    return f"{info.dtype} [{', '.join('?' if size is None else str(size) for size in info.shape)}]"


def _example(feature: str, content: bytes) -> bytes:
    example = protos.Example()
    example.features.feature[feature].bytes_list.value.append(content)
    written: bytes = example.SerializeToString()
    return written
