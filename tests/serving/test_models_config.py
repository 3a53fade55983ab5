"""TensorFlow Serving's text protos: what they say, and one clear error for what they cannot."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tlkit.errors import ConfigError
from tlkit.serving.models_config import (
    check_labels,
    read_batching_config,
    read_models_config,
    read_monitoring_config,
    read_ssl_config,
)
from tlkit.serving.served_model import ServedModel


def written(folder: Path, text: str, name: str = "models.config") -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def config(fields: str) -> str:
    return f"model_config_list {{ config {{ {fields} }} }}"


GOOD = 'name: "m" base_path: "m" model_platform: "tensorflow" '


def test_every_part_of_a_models_config_is_read(tmp_path: Path):
    path = written(
        tmp_path,
        """
        # comments are allowed
        model_config_list {
          config { name: "newest" base_path: "/srv/newest" model_platform: "tensorflow" }
          config: {
            name: 'two'
            base_path: "../two"
            model_platform: "tensorflow"
            model_version_policy: { latest { num_versions: 2 } }
            logging_config { log_collector_config { type: "x" filename_prefix: "/tmp/x" } }
          },
          config {
            name: "all/of them" base_path: "deep/er" model_platform: "tensorflow"
            model_version_policy { all {} }
            version_labels { key: "old" value: 1 }
          }
          config {
            name: "some" base_path: "some" model_platform: "tensorflow"
            model_version_policy { specific { versions: 123 versions: 124 } }
            version_labels { key: "stable" value: 123 }
            version_labels { key: "canary" value: 124 }
          }
        }
        """,
    )
    assert read_models_config(path) == [
        ServedModel("newest", Path("/srv/newest")),
        ServedModel("two", tmp_path.parent / "two", latest=2),
        ServedModel("all/of them", tmp_path / "deep" / "er", latest=0, labels={"old": 1}),
        ServedModel("some", tmp_path / "some", specific=(123, 124), labels={"stable": 123, "canary": 124}),
    ]


def test_a_file_for_a_container_is_read_with_the_folder_that_stands_for_models(tmp_path: Path):
    path = written(tmp_path, config('name: "m" base_path: "/models/m" model_platform: "tensorflow"'))
    assert read_models_config(path, Path("/home/me/exports"))[0].base_path == Path("/home/me/exports/m")
    assert read_models_config(path)[0].base_path == Path("/models/m")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "has no model"),
        ("model_config_list {}", "has no model"),
        ("custom_model_config {}", "custom_model_config is not supported"),
        ("model_config_list {", "is not a ModelServerConfig: 1:"),
        ("model_config_lists {}", 'no field named "model_config_lists"'),
        (config('name: "m" nme: "x"'), 'no field named "nme"'),
        (config('base_path: "m" model_platform: "tensorflow"'), "config 1 has no name"),
        (config('name: "m" model_platform: "tensorflow"'), "model 'm' has no base_path"),
        (
            config('name: "../m" base_path: "m" model_platform: "tensorflow"'),
            "config 1: a model name cannot contain '..'",
        ),
        (config('name: "m" base_path: "m"'), "model_platform; received: ''; allowed: \"tensorflow\""),
        (config('name: "m" base_path: "m" model_platform: "pytorch"'), "received: 'pytorch'"),
        (config('name: "m" base_path: "gs://b/m" model_platform: "tensorflow"'), "only local folders can be served"),
        (f"model_config_list {{ config {{ {GOOD} }} config {{ {GOOD} }} }}", "two models have the name 'm'"),
        (config(GOOD + "model_version_policy { specific {} }"), "specific has no versions"),
        (config(GOOD + "model_version_policy { specific { versions: 1 versions: 1 } }"), "different numbers"),
        (config(GOOD + "model_version_policy { specific { versions: -1 } }"), "different numbers"),
        (config(GOOD + 'version_labels { key: "" value: 1 }'), "version label"),
        (config(GOOD + 'version_labels { key: "a" value: -1 }'), "version label; received: \"'a': -1\""),
        (
            config(GOOD + 'model_version_policy { specific { versions: 1 } } version_labels { key: "a" value: 2 }'),
            "the label 'a' is on a version that is not served; received: 2; allowed: 1",
        ),
    ],
)
def test_a_bad_models_config_is_one_clear_error(tmp_path: Path, text: str, expected: str):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_models_config(path)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_unreadable_models_config_is_a_clear_error(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"cannot read .*models\.config: No such file"):
        read_models_config(tmp_path / "models.config")
    (tmp_path / "models.config").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        read_models_config(tmp_path / "models.config")


def test_a_label_must_be_on_a_version_that_the_policy_serves(tmp_path: Path):
    model = ServedModel("m", tmp_path, latest=2, labels={"old": 3})
    check_labels(model, [1, 3, 4], tmp_path)
    with pytest.raises(ConfigError, match=r"the label 'old' is on a version that is not served; received: 3; .*5, 4"):
        check_labels(model, [3, 4, 5], tmp_path)
    with pytest.raises(ConfigError, match="none: no version exists"):
        check_labels(model, [], tmp_path)


def test_a_batching_config_gives_the_workers_settings(tmp_path: Path):
    path = written(
        tmp_path,
        """
        max_batch_size { value: 16 } batch_timeout_micros { value: 5000 } max_enqueued_batches { value: 7 }
        num_batch_threads { value: 3 } allowed_batch_sizes: 4 allowed_batch_sizes: 16 pad_variable_length_inputs: true
        """,
    )
    assert read_batching_config(path) == {
        "max_batch_size": 16,
        "batch_timeout_micros": 5000,
        "max_enqueued_batches": 7,
        "num_batch_threads": 3,
        "allowed_batch_sizes": [4, 16],
        "enable_large_batch_splitting": False,
    }
    splitting = read_batching_config(written(tmp_path, "enable_large_batch_splitting { value: true }"))
    assert splitting["enable_large_batch_splitting"] is True
    plain = read_batching_config(written(tmp_path, ""))
    assert (plain["max_batch_size"], plain["batch_timeout_micros"], plain["allowed_batch_sizes"]) == (1000, 0, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_batch_size: 3", "is not a BatchingParameters"),
        ("max_batch_size { value: 0 }", "max_batch_size; received: 0; allowed: at least 1"),
        ("batch_timeout_micros { value: -1 }", "at least 0"),
        ("num_batch_threads { value: 0 }", "num_batch_threads"),
        ("max_enqueued_batches { value: 0 }", "max_enqueued_batches"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: [8, 4]", "each larger"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: [0, 8]", "positive numbers"),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: [2, 4]",
            "must be max_batch_size; received: 4; allowed: 8",
        ),
    ],
)
def test_a_bad_batching_config_is_one_clear_error(tmp_path: Path, text: str, expected: str):
    with pytest.raises(ConfigError) as caught:
        read_batching_config(written(tmp_path, text))
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('prometheus_config { enable: true path: "/metrics" }', "/metrics"),
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ('prometheus_config { path: "/metrics" }', None),
        ("", None),
    ],
)
def test_a_monitoring_config_says_where_the_metrics_are(tmp_path: Path, text: str, expected: str | None):
    assert read_monitoring_config(written(tmp_path, text)) == expected
    with pytest.raises(ConfigError, match="starts with /"):
        read_monitoring_config(written(tmp_path, 'prometheus_config { enable: true path: "metrics" }'))


def test_an_ssl_config_holds_pem_texts(tmp_path: Path):
    pem = "-----BEGIN X-----\\nabc\\n-----END X-----\\n"
    path = written(tmp_path, f'server_key: "{pem}" server_cert: "{pem}" custom_ca: "{pem}" client_verify: true')
    ssl = read_ssl_config(path)
    assert ssl.key == ssl.certificate == ssl.client_ca == b"-----BEGIN X-----\nabc\n-----END X-----\n"
    assert ssl.client_verify is True
    assert read_ssl_config(written(tmp_path, f'server_key: "{pem}" server_cert: "{pem}"')).client_ca is None
    for text, expected in (
        (f'server_cert: "{pem}"', "server_key contains no PEM text"),
        (f'server_key: "{pem}" server_cert: "server.pem"', "server_cert contains no PEM text"),
        (f'server_key: "{pem}" server_cert: "{pem}" client_verify: true', "client_verify needs custom_ca"),
    ):
        with pytest.raises(ConfigError, match=expected):
            read_ssl_config(written(tmp_path, text))
