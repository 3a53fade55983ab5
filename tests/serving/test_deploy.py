"""Deployment files: what they say, and that Kubernetes, Compose and TensorFlow Serving can read them.

The image that they start could not be pulled where they are made; what is checked is schemas, protos and contents.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from tlkit.errors import ConfigError, ExportError
from tlkit.export.manifest import MANIFEST_NAME, Manifest, MemoryUse, batch_sizes
from tlkit.serving import protos
from tlkit.serving.deploy import (
    IMAGE,
    Deployment,
    check_image,
    facts,
    kubernetes_name,
    label_moves,
    render,
    size_of,
)
from tlkit.serving.deploy_folder import RECORD, DeployFolder
from tlkit.serving.models_config import read_batching_config, read_models_config, read_monitoring_config
from tlkit.serving.status import Code

AWKWARD = '写真 $x\'s "best": #1'
DEPLOYMENTS = {
    "new": Deployment("bees"),
    "canary": Deployment("bees", stable=3, canary=4, model_bytes=10**9, max_batch=24, measured=True, cores=4),
    "awkward": Deployment(AWKWARD, models_path=f"/srv/{AWKWARD}", export_path=f"/srv/{AWKWARD}"),
    "digest": Deployment(
        "bees",
        image=f"registry.example:5000/tf@sha256:{'0' * 64}",
        measured=True,
        memory=MemoryUse(base_mib=500, peak_mib=1300),
        monitoring=True,
    ),
}


@pytest.fixture(scope="module", params=DEPLOYMENTS)
def deployment(request: pytest.FixtureRequest) -> Deployment:
    return DEPLOYMENTS[request.param]


@pytest.fixture(scope="module")
def files(deployment: Deployment) -> dict[str, str]:
    return render(deployment)


def read(text: str) -> dict[str, Any]:
    (document,) = yaml.safe_load_all(text)
    return document


def pod_spec(files: dict[str, str]) -> dict[str, Any]:
    return read(files["k8s/deployment.yaml"])["spec"]["template"]["spec"]


def parse(text: str, message: Any) -> Any:
    return text_format.Parse(text, message)


def test_every_kubernetes_object_fits_its_strict_schema(files: dict[str, str]):
    names = {name for name in files if name.startswith("k8s/")}
    known = names - {"k8s/servicemonitor.yaml", "k8s/prometheusrule.yaml"}  # kinds of the Prometheus operator
    assert len(known) == 8
    for name in known:
        for version in ("1.31", kubernetes_validate.latest_version()):
            kubernetes_validate.validate(read(files[name]), version, strict=True)


def test_the_schemas_catch_what_is_wrong():
    deployment = read(render(DEPLOYMENTS["new"])["k8s/deployment.yaml"])
    deployment["spec"]["template"]["spec"]["containers"][0]["redinessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="redinessProbe"):
        kubernetes_validate.validate(deployment, "1.31", strict=True)


def test_compose_fits_the_compose_specification(files: dict[str, str]):
    package = importlib.metadata.distribution("check-jsonschema")
    schema = json.loads(
        Path(package.locate_file("check_jsonschema/builtin_schemas/vendor/compose-spec.json")).read_text()
    )
    document = read(files["compose.yaml"])
    jsonschema.validate(document, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "services": {"serving": {"imag": "x"}}}, schema)


def test_the_text_protos_fit_tensorflow_serving_s(files: dict[str, str], deployment: Deployment):
    for message in (ModelServerConfig(), protos.ModelServerConfig()):
        (model,) = parse(files["models.config"], message).model_config_list.config
        assert (model.name, model.base_path) == (deployment.name, f"/models/{deployment.name}")
        assert model.model_platform == "tensorflow"
        assert list(model.model_version_policy.specific.versions) == deployment.served
        assert model.version_labels["stable"] == deployment.stable
        assert model.version_labels.get("canary", None) == deployment.canary
    batching = parse(files["batching.config"], protos.BatchingParameters())
    assert batching.max_batch_size.value == deployment.max_batch
    assert batching.allowed_batch_sizes[-1] == deployment.max_batch
    assert list(batching.allowed_batch_sizes) == sorted(set(batching.allowed_batch_sizes))
    assert batching.num_batch_threads.value == deployment.cores
    assert 0 <= batching.batch_timeout_micros.value <= 10_000
    assert 0 < batching.max_enqueued_batches.value <= 1000
    monitoring = parse(files["monitoring.config"], protos.MonitoringConfig())
    assert monitoring.prometheus_config.enable
    assert monitoring.prometheus_config.path == "/monitoring/prometheus/metrics"


def test_the_local_server_reads_the_same_files(files: dict[str, str], deployment: Deployment, tmp_path: Path):
    for name in ("models.config", "batching.config", "monitoring.config"):
        (tmp_path / name).write_text(files[name], encoding="utf-8")
    (model,) = read_models_config(tmp_path / "models.config", tmp_path / "saved")
    assert (model.name, model.base_path) == (deployment.name, tmp_path / "saved" / deployment.name)
    assert list(model.specific) == deployment.served
    assert model.labels["stable"] == deployment.stable
    assert read_batching_config(tmp_path / "batching.config")["max_batch_size"] == deployment.max_batch
    assert read_monitoring_config(tmp_path / "monitoring.config") == "/monitoring/prometheus/metrics"


def test_names_of_objects_belong_together(files: dict[str, str], deployment: Deployment):
    name = deployment.kubernetes_name
    selector = {"app.kubernetes.io/name": name}
    assert read(files["k8s/deployment.yaml"])["spec"]["selector"]["matchLabels"] == selector
    assert read(files["k8s/deployment.yaml"])["spec"]["template"]["metadata"]["labels"] == selector
    assert read(files["k8s/service.yaml"])["spec"]["selector"] == selector
    assert read(files["k8s/pdb.yaml"])["spec"]["selector"]["matchLabels"] == selector
    assert read(files["k8s/networkpolicy.yaml"])["spec"]["podSelector"]["matchLabels"] == selector
    assert read(files["k8s/loader.yaml"])["metadata"]["labels"] != selector, "the loader would get requests"
    for hpa in ("k8s/hpa.yaml", "k8s/hpa-latency.yaml"):
        assert read(files[hpa])["spec"]["scaleTargetRef"] == {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": name,
        }
    kustomization = read(files["kustomization.yaml"])
    assert set(kustomization["resources"]) <= set(files)
    used = {file for source in kustomization["configMapGenerator"] for file in source["files"]}
    assert used == {"models.config", "batching.config", "monitoring.config"}
    volumes = {volume["name"]: volume for volume in pod_spec(files)["volumes"]}
    generated = {source["name"] for source in kustomization["configMapGenerator"]}
    assert {volumes["models-config"]["configMap"]["name"], volumes["server-config"]["configMap"]["name"]} == generated
    claim = read(files["k8s/models-claim.yaml"])["metadata"]["name"]
    assert volumes["models"]["persistentVolumeClaim"]["claimName"] == claim
    assert read(files["k8s/loader.yaml"])["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim
    assert read(files["kserve.yaml"])["spec"]["predictor"]["model"]["storageUri"] == f"pvc://{claim}/{deployment.name}"


def test_the_flags_point_at_what_is_mounted(files: dict[str, str]):
    container = pod_spec(files)["containers"][0]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert not any("subPath" in mount for mount in container["volumeMounts"]), "would never see a new content"
    compose = read(files["compose.yaml"])["services"]["serving"]
    targets = {volume["target"] for volume in compose["volumes"]}
    for flags, folders in ((container["args"], mounted), (compose["command"], targets)):
        given = dict(flag.removeprefix("--").split("=", 1) for flag in flags)
        for name in ("model_config_file", "batching_parameters_file", "monitoring_config_file"):
            assert str(Path(given[name]).parent) in folders
            assert Path(given[name]).name in files
        assert given["enable_batching"] == given["allow_version_labels_for_unavailable_models"] == "true"
        assert int(given["model_config_file_poll_wait_seconds"]) > 0
        assert (given["port"], given["rest_api_port"]) == ("8500", "8501")


def test_probes_tell_ready_from_alive(files: dict[str, str], deployment: Deployment):
    container = pod_spec(files)["containers"][0]
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    url = paths["liveness"]
    assert paths == {"startup": f"{url}/metadata", "readiness": f"{url}/metadata", "liveness": url}
    assert re.fullmatch(r"/v1/models/[A-Za-z0-9_.~%-]+", url)
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 600


def test_the_pod_may_do_next_to_nothing(files: dict[str, str], deployment: Deployment):
    for spec in (pod_spec(files), read(files["k8s/loader.yaml"])["spec"]):
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
    assert read(files["k8s/service.yaml"])["spec"]["type"] == "ClusterIP"
    policy = read(files["k8s/networkpolicy.yaml"])["spec"]
    assert policy["egress"] == []
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    callers, prometheus = (rule["from"] for rule in policy["ingress"])
    label = {f"{deployment.kubernetes_name}-client": "true"}
    assert callers == [{"podSelector": {"matchLabels": label}}, {"namespaceSelector": {"matchLabels": label}}]
    assert prometheus == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    (key,) = label
    assert re.fullmatch(r"[a-z0-9A-Z]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?", key), "a label's name has 63 characters"
    assert f"kubectl label namespace ingress-nginx {key}=true" in files["k8s/networkpolicy.yaml"]
    assert f"{key}=true" in files["README.md"]
    models = next(mount for mount in pod_spec(files)["containers"][0]["volumeMounts"] if mount["name"] == "models")
    assert models["readOnly"] is True


def test_compose_is_as_narrow(files: dict[str, str]):
    for service in read(files["compose.yaml"])["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service["image"].endswith(":latest")
        assert service["mem_limit"]
        assert service["cpus"]
    assert "Docker Compose 2.3 or newer" in files["compose.yaml"].splitlines()[0]
    command = read(files["compose.yaml"])["services"]["prometheus"]["command"]
    assert {"--storage.tsdb.retention.time=15d", "--storage.tsdb.retention.size=2GB"} <= set(command)
    serving = read(files["compose.yaml"])["services"]["serving"]
    assert serving["read_only"] is True
    assert serving["init"] is True
    assert serving["user"] == "10001:10001"
    assert all(volume["read_only"] for volume in serving["volumes"])


def test_the_image_is_pinned_everywhere(files: dict[str, str], deployment: Deployment):
    assert pod_spec(files)["containers"][0]["image"] == deployment.image
    assert read(files["compose.yaml"])["services"]["serving"]["image"] == deployment.image
    assert "did not pull or run" in files["README.md"]
    model = read(files["kserve.yaml"])["spec"]["predictor"]["model"]
    assert model.get("runtimeVersion") == (None if "@" in deployment.image else "2.21.0")


def test_kserve_has_what_an_inference_service_needs(files: dict[str, str]):
    document = read(files["kserve.yaml"])
    assert (document["apiVersion"], document["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert set(document) == {"apiVersion", "kind", "metadata", "spec"}
    assert set(document["spec"]) == {"predictor"}
    model = document["spec"]["predictor"]["model"]
    assert model["modelFormat"] == {"name": "tensorflow"}
    assert model["protocolVersion"] == "v1"
    # KServe makes a host name of it: NAME-predictor must be a DNS label.
    assert len(document["metadata"]["name"] + "-predictor") <= 63


def test_prometheus_asks_where_the_metrics_are(files: dict[str, str]):
    document = read(files["prometheus.yaml"])
    assert set(document) - {"rule_files"} == {"global", "scrape_configs"}
    (job,) = document["scrape_configs"]
    assert job["metrics_path"] == parse(files["monitoring.config"], protos.MonitoringConfig()).prometheus_config.path
    assert job["static_configs"][0]["targets"] == ["serving:8501"]
    annotations = read(files["k8s/deployment.yaml"])["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == job["metrics_path"]


def test_the_memory_limit_holds_two_models_and_the_server(files: dict[str, str], deployment: Deployment):
    resources = pod_spec(files)["containers"][0]["resources"]
    limit = resources["limits"]["memory"]
    assert limit == resources["requests"]["memory"] == f"{deployment.memory_mib}Mi"
    if deployment.memory is None:
        needed = 2 * deployment.model_bytes + 2**30
        assert "was not measured" in files["k8s/deployment.yaml"] or not deployment.measured
    else:  # two versions, and a run a core
        run = deployment.memory.peak_mib * 2**20 - deployment.memory.base_mib * 2**20 - deployment.model_bytes
        needed = deployment.memory.base_mib * 2**20 + 2 * deployment.model_bytes + deployment.cores * run
        assert f"{deployment.memory.base_mib} MiB (the server) + " in files["k8s/deployment.yaml"]
        assert f"{deployment.cores} x {run // 2**20} MiB (a run of 32 rows" in files["k8s/deployment.yaml"]
    assert needed <= deployment.memory_mib * 2**20 < needed + 130 * 2**20
    assert "cpu" not in resources["limits"], "throttling costs latency"
    assert f"2 x {deployment.model_mib} MiB" in files["k8s/deployment.yaml"]
    assert read(files["compose.yaml"])["services"]["serving"]["mem_limit"] == f"{deployment.memory_mib}m"


def test_alerts_and_a_service_monitor_are_there_when_asked_for(files: dict[str, str], deployment: Deployment):
    extra = {"alerts.yaml", "k8s/servicemonitor.yaml", "k8s/prometheusrule.yaml"}
    kustomization = read(files["kustomization.yaml"])["resources"]
    mounted = {volume.get("source") for volume in read(files["compose.yaml"])["services"]["prometheus"]["volumes"]}
    if not deployment.monitoring:
        assert not extra & set(files)
        assert not {"k8s/servicemonitor.yaml", "k8s/prometheusrule.yaml"} & set(kustomization)
        assert "rule_files" not in read(files["prometheus.yaml"])
        assert "./alerts.yaml" not in mounted
        assert "--monitoring" in files["README.md"]
        return
    assert extra <= set(files)
    assert {"k8s/servicemonitor.yaml", "k8s/prometheusrule.yaml"} <= set(kustomization)
    assert read(files["prometheus.yaml"])["rule_files"] == ["alerts.yaml"]
    assert "./alerts.yaml" in mounted
    monitor = read(files["k8s/servicemonitor.yaml"])
    assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "ServiceMonitor")
    service = read(files["k8s/service.yaml"])
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["path"] == "/monitoring/prometheus/metrics"
    rule = read(files["k8s/prometheusrule.yaml"])
    assert (rule["apiVersion"], rule["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    for groups, cluster in ((read(files["alerts.yaml"])["groups"], False), (rule["spec"]["groups"], True)):
        (group,) = groups
        names = [alert["alert"].removeprefix("TensorFlowServing") for alert in group["rules"]]
        wanted = ["Down", "ModelNotAvailable", "VersionNotLoaded", "Errors", "QueueFull", "Slow", "Restarts"]
        assert names == [*wanted, *(["Memory"] if cluster else [])]
        for alert in group["rules"]:
            assert set(alert) <= {"alert", "expr", "for", "labels", "annotations"}
            check_expression(alert["expr"], deployment)


#: What TensorFlow Serving, Prometheus, kube-state-metrics and cAdvisor call them.
METRICS = {
    ":tensorflow:cc:saved_model:load_attempt_count",
    ":tensorflow:serving:request_count",
    ":tensorflow:serving:request_latency_bucket",
    "up",
    "kube_pod_container_status_restarts_total",
    "kube_pod_container_resource_limits",
    "container_memory_working_set_bytes",
}


def check_expression(expression: str, deployment: Deployment) -> None:
    """Hold that an expression is about known metrics of this server, and in balance; promtool says the rest."""
    found = re.findall(r"([:a-z_]+)\{([^}]*(?:\{[0-9]+\}[^}]*)*)\}", expression)
    assert found, expression
    for metric, labels in found:
        assert metric in METRICS, metric
        own = (
            f'pod=~"{deployment.kubernetes_name}-'
            if metric.startswith(("kube", "container"))
            else (f'job="{deployment.kubernetes_name}"')
        )
        assert own in labels, labels
    for status in re.findall(r"[A-Z_]{5,}", " ".join(re.findall(r'status=~?"([^"]*)"', expression))):
        assert status in Code.__members__, status
    for pair in ("()", "[]", "{}"):
        assert expression.count(pair[0]) == expression.count(pair[1])


def test_the_local_server_has_the_metrics_that_alerts_read():
    from doors import FakeFleet

    from tlkit.serving.metrics import Metrics

    metrics = Metrics()
    metrics.observe_request("REST", "bees", "predict", Code.OK, 0.1)
    metrics.observe_load("bees", 1, 0.5, True)
    text = metrics.page(FakeFleet()).decode()
    for name in (name for name in METRICS if name.startswith(":tensorflow")):
        assert f"\n{name}{{" in text


def test_awkward_names_arrive_unchanged():
    files = render(DEPLOYMENTS["awkward"])
    volume = read(files["compose.yaml"])["services"]["serving"]["volumes"][0]
    assert volume["source"].replace("$$", "$") == f"/srv/{AWKWARD}"
    assert "$x" not in volume["source"].replace("$$", "")
    assert "'\"'\"'" in files["README.md"], "the shell would end the word at the apostrophe"


def test_readme_has_the_steps():
    text = render(DEPLOYMENTS["canary"])["README.md"]
    for part in (
        "tlkit verify --server http://127.0.0.1:8501 saved_models/bees/4",
        "tlkit deploy --canary 4",
        "kubectl apply -k serving/",
        "labels/canary:predict",
        "kubectl rollout restart deployment/tfs-bees",
        "--allow_version_labels_for_unavailable_models",
        "## Rollback",
        "--model_config_file_poll_wait_seconds",
    ):
        assert part in text


def test_commands_name_the_folder_that_they_are_in():
    files = render(Deployment("bees", export_path="models/bees", folder="the ops"))
    assert not [name for name, text in files.items() if re.search(r"(?<!tensorflow/)(?<!/)\bserving/", text)]
    for part in (
        "kubectl apply -k 'the ops'/\n",
        "--model-config 'the ops'/models.config --models-root models ",
        "`tlkit deploy models/bees --canary 2 --to 'the ops'`",
        "`tlkit deploy models/bees/2 --to 'the ops'`",
    ):
        assert part in files["README.md"], part
    with pytest.raises(ConfigError, match="cannot be printed"):
        Deployment("bees", folder="a\nb: c")


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\nb", "a\u2028b", "\udc80", "x" * 201])
def test_names_that_are_no_folder_s_are_refused(name: str):
    with pytest.raises(ConfigError, match="a model's name must be a valid folder name"):
        Deployment(name)


@pytest.mark.parametrize("name", [".", "..", "../bees", "a..b"])
def test_names_that_a_url_cannot_hold_are_refused(name: str):
    with pytest.raises(ConfigError, match=r"cannot contain '\.\.'.*received: .*choose another name"):
        Deployment(name)


@pytest.mark.parametrize("image", ["tensorflow/serving", "tensorflow/serving:latest", "a b:1", "host:5000/serving", ""])
def test_images_that_are_not_pinned_are_refused(image: str):
    with pytest.raises(ConfigError, match=r"must be pinned by a tag or a digest.*not latest"):
        Deployment("bees", image=image)


def test_images_that_are_pinned():
    assert check_image(IMAGE) == "2.21.0"
    assert check_image("host:5000/a/serving:2.20.0-gpu") == "2.20.0-gpu"
    digest = f"@sha256:{'a' * 64}"
    assert check_image(f"tensorflow/serving:latest{digest}") == "latest"
    assert check_image(f"tensorflow/serving{digest}") == ""
    for image, said in (
        (f"tensorflow/serving:2.21.0{digest}", "its digest; the tag is only informative. Not run by tlkit."),
        (f"tensorflow/serving{digest}", "its digest. Not run by tlkit."),
        (IMAGE, "its tag, which its owner can change;"),
    ):
        files = render(Deployment("bees", image=image))
        assert f"# Pinned by {said}" in files["compose.yaml"]
        assert read(files["compose.yaml"])["services"]["serving"]["image"] == image
        assert pod_spec(files)["containers"][0]["image"] == image
        assert ("sha256" in files["kserve.yaml"]) is False, "KServe's runtimes know tags alone"


def test_other_values_that_cannot_be():
    with pytest.raises(ConfigError, match="another version than the stable one"):
        Deployment("bees", stable=2, canary=2)
    with pytest.raises(ConfigError, match="a server needs at least one CPU core"):
        Deployment("bees", cores=0)


def test_kubernetes_names():
    assert kubernetes_name("bees") == "tfs-bees"
    assert kubernetes_name("7_bees-") == "tfs-7-bees"
    names = [kubernetes_name(name) for name in ("写真", "描画", "Bees", "bees", "b.ees", "x" * 200, "X" * 200)]
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"[a-z]([a-z0-9-]{0,48}[a-z0-9])?", name)


def test_batch_sizes():
    assert batch_sizes(1) == [1]
    assert batch_sizes(2) == [1, 2]
    assert batch_sizes(24) == [1, 2, 4, 8, 16, 24]
    assert batch_sizes(32) == [1, 2, 4, 8, 16, 32]


def test_labels_that_a_running_server_would_not_move():
    both = {"stable": 1, "canary": 2}
    assert label_moves(both, [1, 2], Deployment("bees", stable=2)) == []
    assert label_moves(both, [1, 2], Deployment("bees", stable=1)) == []
    assert label_moves({"stable": 1}, [1], Deployment("bees", stable=1, canary=2)) == []
    assert label_moves({"stable": 1}, [1], Deployment("bees", stable=2)) == ["stable"]
    assert label_moves(both, [1, 2], Deployment("bees", stable=1, canary=3)) == ["canary"]
    assert label_moves({}, [], Deployment("bees", stable=9)) == []


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Versions 1 (3 MiB) and 2 (5 MiB, with a manifest)."""
    for version, size in ((1, 3), (2, 5)):
        folder = tmp_path / "project" / "saved_models" / "bees" / str(version)
        (folder / "variables").mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"x")
        (folder / "variables" / "data").write_bytes(bytes(size * 2**20 - 1))
    return tmp_path / "project" / "saved_models" / "bees"


def test_facts_come_from_the_disk(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    to = tmp_path / "project" / "serving"
    found = facts(base, stable=1, to=to)
    assert (found.name, found.stable, found.canary, found.model_mib) == ("bees", 1, None, 3)
    assert found.measured
    assert (found.models_path, found.export_path) == ("../saved_models/bees", "saved_models/bees")
    assert facts(base, stable=1, canary=2, to=to).model_mib == 5
    assert facts(base, stable=1, newest=2, to=to).model_mib == 5
    assert facts(base, stable=1, to=tmp_path / "elsewhere" / "serving").models_path == str(base)
    assert size_of(base / "1") == 3 * 2**20
    (base / "2" / MANIFEST_NAME).write_text("{}")
    monkeypatch.setattr(
        Manifest, "read", classmethod(lambda cls, path: Manifest.model_construct(max_batch=12, memory=None))
    )
    assert facts(base, stable=1, to=to).max_batch == 32
    assert facts(base, stable=1, canary=2, to=to).max_batch == 12
    assert facts(base, stable=2, to=to).memory is None
    small, large = MemoryUse(base_mib=500, peak_mib=600), MemoryUse(base_mib=500, peak_mib=900)
    found = {"1": small, "2": large}
    monkeypatch.setattr(
        Manifest,
        "read",
        classmethod(lambda cls, path: Manifest.model_construct(max_batch=12, memory=found.get(Path(path).name))),
    )
    assert facts(base, stable=2, to=to).memory == large
    assert facts(base, stable=1, canary=2, to=to).memory is None, "version 1 has no manifest"
    (base / "1" / MANIFEST_NAME).write_text("{}")
    assert facts(base, stable=1, canary=2, to=to).memory == large
    del found["2"]
    assert facts(base, stable=1, canary=2, to=to).memory is None
    with pytest.raises(ExportError, match=r"has no version 7; .*existing versions: 1, 2"):
        facts(base, stable=7, to=to)


def test_a_folder_keeps_what_its_owner_changed(tmp_path: Path):
    path = tmp_path / "serving"
    first = DeployFolder(path).write({"a": "1", "k8s/b": "1"}, settings={"stable": 1})
    assert first == {"a": "written", "k8s/b": "written"}
    assert DeployFolder(path).settings == {"stable": 1}
    (path / "a").write_text("mine")
    assert DeployFolder(path).write({"a": "1", "k8s/b": "2"}, settings={}) == {"a": "kept", "k8s/b": "written"}
    assert not (path / "a.new").exists()
    assert DeployFolder(path).write({"a": "2", "k8s/b": "2"}, settings={}) == {"a": "beside", "k8s/b": "unchanged"}
    assert ((path / "a").read_text(), (path / "a.new").read_text()) == ("mine", "2")
    assert DeployFolder(path).write({"a": "2", "k8s/b": "2"}, settings={})["a"] == "kept"
    (path / "a.new").replace(path / "a")  # the owner takes the new one
    assert DeployFolder(path).write({"a": "3", "k8s/b": "2"}, settings={})["a"] == "written"
    (path / "a").write_text("mine again")
    DeployFolder(path).write({"a": "4", "k8s/b": "2"}, settings={})
    assert DeployFolder(path).write({"a": "5", "k8s/b": "2"}, settings={}, force=True)["a"] == "written"
    assert sorted(str(item.relative_to(path)) for item in path.rglob("*")) == [RECORD, "a", "k8s", "k8s/b"]
    (path / "a").unlink()
    assert DeployFolder(path).write({"a": "5", "k8s/b": "2"}, settings={})["a"] == "written"


def test_a_folder_without_a_record(tmp_path: Path):
    (tmp_path / "new").write_text("as the template made it")
    (tmp_path / "old").write_text("who knows")
    pristine = {"new": "as the template made it", "old": "as the template made it"}
    outcome = DeployFolder(tmp_path).write({"new": "1", "old": "1"}, settings={}, pristine=pristine)
    assert outcome == {"new": "written", "old": "beside"}
    (tmp_path / RECORD).write_text('{"format": 99, "files": {}, "settings": {}}')
    with pytest.raises(ConfigError, match=r"its format is 99.*remove it"):
        DeployFolder(tmp_path)
    (tmp_path / RECORD).write_text("[")
    with pytest.raises(ConfigError, match=r"cannot be read"):
        DeployFolder(tmp_path)
