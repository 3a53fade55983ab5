"""What Prometheus reads: TensorFlow Serving's names, labels and buckets, and a few numbers of our own.

prometheus_client cannot write this page: it adds `_total` to the name in a counter's TYPE line, sorts labels, writes
buckets as `le="32.400000000000006"` and adds a `_created` gauge to each histogram.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from tlkit.serving.served_fleet import ServedFleet
from tlkit.serving.status import Code, ServingError

#: Where TensorFlow Serving serves them.
PATH = "/monitoring/prometheus/metrics"
#: Upper limits in microseconds: a scale of 10 and a power of 1.8, 33 of them, to about 20 minutes.
BUCKETS = tuple(10 * 1.8**i for i in range(33))
#: The methods by the names that TensorFlow Serving's runtime and gRPC interface give them.
API = {"predict": "Predict", "classify": "Classify", "regress": "Regress", "multi_inference": "MultiInference"}
#: How the supervisor's refusal of a request that killed the worker twice begins.
REFUSED = "this request crashed the worker process twice"

#: What our own metrics count. TensorFlow Serving writes no HELP lines, so its names have none here either.
HELP = {
    "tlkit_refused_poison_total": "Requests rejected because they crashed the worker process twice.",
    "tlkit_worker_restarts_total": "Restarts of the worker process.",
    "tlkit_calls_in_flight": "Model calls that are running or queued.",
    "tlkit_requests_in_flight": "Requests in flight, by entry point.",
    "tlkit_versions": "Model versions by state.",
}

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters and histograms of a server, kept by its event loop.

    Requests for names that are not served are counted under model_name="": a client must not be able to add a row for
    every name that it makes up.

    Example:
        >>> metrics = Metrics()
        >>> metrics.observe_request("REST", "photos", "predict", Code.OK, 0.0123)
        >>> print(metrics.page(fleet).decode())
        # TYPE :tensorflow:serving:request_count counter
        :tensorflow:serving:request_count{model_name="photos",status="OK"} 1
        ...

    Names and buckets follow tensorflow_serving/servables/tensorflow/util.cc, the text
    tensorflow_serving/util/prometheus_exporter.cc, and the loads tensorflow/cc/saved_model/loader.cc.
    """

    def __init__(self) -> None:
        self._counters: dict[str, dict[Labels, int]] = {
            ":tensorflow:cc:saved_model:load_attempt_count": {},
            ":tensorflow:cc:saved_model:load_latency": {},
            ":tensorflow:serving:request_count": {},
            "tlkit_refused_poison_total": {(): 0},
        }
        self._histograms: dict[str, dict[Labels, _Histogram]] = {
            ":tensorflow:serving:request_latency": {},
            ":tensorflow:serving:runtime_latency": {},
        }
        self.requests_in_flight = {"REST": 0, "GRPC": 0}
        #: Functions that give further lines of the page.
        self.sources: list[Callable[[], list[str]]] = []

    def observe_request(self, entrypoint: str, model: str, api: str, code: Code, seconds: float) -> None:
        """Count a request; its time is kept where it ended well, as TensorFlow Serving does.

        Args:
            entrypoint: "REST" or "GRPC".
            model: the served model's name, "" for any other.
            api: "predict" over REST, "Predict" over gRPC, and so on; "" for a status or metadata.
            code: how it ended.
            seconds: from the request's head to the answer.
        """
        self._count(":tensorflow:serving:request_count", (("model_name", model), ("status", code.name)))
        if code is Code.OK:
            labels = (("model_name", model), ("API", api), ("entrypoint", entrypoint))
            self._time(":tensorflow:serving:request_latency", labels, seconds * 1e6)

    def observe_runtime(self, model: str, method: str, microseconds: int) -> None:
        """Keep how long the model itself ran.

        Args:
            model: its name.
            method: "predict", "classify", "regress" or "multi_inference".
            microseconds: of running the graph.
        """
        labels = (("model_name", model), ("API", API[method]), ("runtime", "TF1"))
        self._time(":tensorflow:serving:runtime_latency", labels, microseconds)

    def observe_load(self, name: str, version: int, seconds: float, fine: bool) -> None:
        """Count a load of a version; its time is added up where it went well.

        Args:
            name: the model, `version` its version: they stand as "name/version" for TensorFlow Serving's model_path.
            version: its version.
            seconds: of loading and warming up.
            fine: whether it went well.
        """
        path = ("model_path", f"{name}/{version}")
        status = ("status", "success" if fine else "fail")
        self._count(":tensorflow:cc:saved_model:load_attempt_count", (path, status))
        if fine:
            self._count(":tensorflow:cc:saved_model:load_latency", (path,), int(seconds * 1e6))

    def observe_error(self, error: ServingError) -> None:
        """Count the refusal of a request that has ended the worker before."""
        if error.message.startswith(REFUSED):
            self._count("tlkit_refused_poison_total", ())

    def count(self, name: str) -> int:
        """Return the sum of a counter over all its labels; 0 for a name that is none."""
        return sum(self._counters.get(name, {}).values())

    def page(self, fleet: ServedFleet) -> bytes:
        """Return the text of all metrics, in Prometheus' exposition format 0.0.4."""
        lines: list[str] = []
        for name, cells in sorted(self._counters.items()):
            lines += _head(name, "counter")
            lines += [f"{name}{_braces(labels)} {value}" for labels, value in cells.items()]
        for name, histograms in self._histograms.items():
            lines += _head(name, "histogram")
            for labels, histogram in histograms.items():
                lines += histogram.lines(name, labels)
        states: dict[str, int] = {}
        for statuses in fleet.models().values():
            for status in statuses:
                states[status.state] = states.get(status.state, 0) + 1
        lines += [
            *_head("tlkit_worker_restarts_total", "counter"),
            f"tlkit_worker_restarts_total {fleet.restarts}",
            *_head("tlkit_calls_in_flight", "gauge"),
            f"tlkit_calls_in_flight {fleet.in_flight}",
            *_head("tlkit_requests_in_flight", "gauge"),
            *(f'tlkit_requests_in_flight{{entrypoint="{k}"}} {v}' for k, v in self.requests_in_flight.items()),
            *_head("tlkit_versions", "gauge"),
            *(f'tlkit_versions{{state="{state}"}} {count}' for state, count in sorted(states.items())),
        ]
        for source in self.sources:
            lines += source()
        return ("\n".join(lines) + "\n").encode("utf-8")

    def _count(self, name: str, labels: Labels, amount: int = 1) -> None:
        cells = self._counters[name]
        cells[labels] = cells.get(labels, 0) + amount

    def _time(self, name: str, labels: Labels, microseconds: float) -> None:
        cells = self._histograms[name]
        if labels not in cells:
            cells[labels] = _Histogram()
        cells[labels].add(microseconds)


class _Histogram:
    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(BUCKETS, value)] += 1
        self.sum += value

    def lines(self, name: str, labels: Labels) -> list[str]:
        found, total = [], 0
        for limit, count in zip((*BUCKETS, None), self.counts, strict=True):
            total += count
            text = "+Inf" if limit is None else f"{limit:.6g}"  # what absl::StrCat makes of a double
            found.append(f"{name}_bucket{_braces((*labels, ('le', text)))} {total}")
        return [*found, f"{name}_sum{_braces(labels)} {self.sum:.6g}", f"{name}_count{_braces(labels)} {total}"]


def _head(name: str, kind: str) -> list[str]:
    """Return the comments above a metric: what it counts, where it is ours, and its type."""
    about = [f"# HELP {name} {HELP[name]}"] if name in HELP else []
    return [*about, f"# TYPE {name} {kind}"]


def _braces(labels: Labels) -> str:
    written = ",".join(f'{name}="{escaped_label(value)}"' for name, value in labels)
    return f"{{{written}}}" if labels else ""


def escaped_label(value: str) -> str:
    """Return the value of a label as the exposition format writes it."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
