"""The whole server in a thread, on a model with every signature of an export: what clients see of it."""

import base64
import http.client
import json
import threading

import grpc
import numpy as np
import pytest
import tiny

from tlkit.errors import ExportError
from tlkit.export.manifest import Manifest
from tlkit.serving import protos
from tlkit.serving.background import BackgroundServer

NAME = "tiny photos/1"
PATH = "/v1/models/tiny%20photos%2F1"


@pytest.fixture(scope="module")
def server():
    with BackgroundServer(tiny.shared_export(), name=NAME, max_body_bytes=200_000) as running:
        yield running


def call(server, method, path, body=None):
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        assert answer.getheader("Content-Type") == "application/json"
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def predict(server, content, path=PATH):
    return call(server, "POST", f"{path}:predict", json.dumps(content).encode())


def b64(image):
    return {"b64": base64.b64encode(image).decode()}


@pytest.mark.slow
def test_rows_and_columns_of_images(server):
    golden = Manifest.read(tiny.shared_export()).golden
    images = [b64(example.content_bytes()) for example in golden]
    status, answer = predict(server, {"instances": images})
    assert status == 200
    for row, example in zip(answer["predictions"], golden, strict=True):
        assert sorted(row["classes"]) == sorted(tiny.LABELS)
        expected = [
            example.outputs["probabilities"]["probabilities"][tiny.LABELS.index(label)] for label in row["classes"]
        ]
        np.testing.assert_allclose(row["scores"], expected, atol=1e-5)
    named = predict(server, {"instances": [{"image_bytes": image} for image in images]})
    assert named == (200, answer)
    status, columns = predict(server, {"inputs": {"image_bytes": images}})
    # To the last bit it is the same only where the same rows run together.
    np.testing.assert_allclose(
        columns["outputs"]["scores"], [row["scores"] for row in answer["predictions"]], atol=1e-6
    )


def test_other_signatures(server):
    image = b64(tiny.photos(1)[0])
    status, answer = predict(server, {"signature_name": "probabilities", "instances": [image]})
    assert status == 200
    assert len(answer["predictions"][0]) == len(tiny.LABELS)
    pixels = np.full((1, 32, 32, 3), 100.0).tolist()
    status, answer = predict(server, {"signature_name": "pixels", "inputs": pixels})
    assert status == 200
    assert answer["outputs"]["scores"][0][0] >= answer["outputs"]["scores"][0][1]
    body = json.dumps({"signature_name": "classify", "examples": [{"image/encoded": image}]})
    status, answer = call(server, "POST", f"{PATH}:classify", body)
    assert status == 200
    assert sorted(label for label, _ in answer["results"][0]) == sorted(tiny.LABELS)


def test_status_and_metadata(server):
    fine = {"error_code": "OK", "error_message": ""}
    expected = {"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": fine}]}
    assert call(server, "GET", PATH) == (200, expected)
    status, metadata = call(server, "GET", f"{PATH}/metadata")
    assert status == 200
    assert metadata["model_spec"] == {"name": NAME, "signature_name": "", "version": "1"}
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "probabilities", "embedding", "pixels", "classify"} <= set(signatures)
    info = signatures["serving_default"]["inputs"]["image_bytes"]
    assert info["dtype"] == "DT_STRING"
    assert info["tensor_shape"] == {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        (f"{PATH}:predict", "", 400, "The document is empty"),
        (f"{PATH}:predict", '{"instances": []}', 400, "No values"),
        (f"{PATH}:predict", '{"instances": ["junk"]}', 400, "not an image"),
        (f"{PATH}:predict", '{"inputs": "junk"}', 400, ""),
        (f"{PATH}:predict", '{"instances": [1]}', 400, "is not of expected type: string"),
        (f"{PATH}:predict", '{"signature_name": "nope", "instances": [1]}', 400, '"nope" not found'),
        (f"{PATH}:predict", '{"signature_name": "pixels", "instances": [[1, 2]]}', 400, ""),
        (f"{PATH}/versions/9:predict", "{}", 404, f"Servable not found for request: Specific({NAME}, 9)"),
        (f"{PATH}/labels/x:predict", "{}", 400, "Unrecognized servable version label: x"),
        ("/v1/models/foo:predict", "{}", 404, "Servable not found for request: Latest(foo)"),
    ],
)
def test_errors(server, path, body, status, message):
    got, answer = call(server, "POST", path, body)
    assert got == status, answer
    assert list(answer) == ["error"]
    assert message in answer["error"]
    assert call(server, "GET", PATH)[0] == 200


def test_parallel_requests_get_their_own_answers(server):
    pictures = tiny.photos(6, seed=3)
    alone = [predict(server, {"instances": [b64(picture)]})[1]["predictions"][0] for picture in pictures]
    got = [None] * 24

    def ask(i):
        got[i] = predict(server, {"instances": [b64(pictures[i % 6])]})[1]["predictions"][0]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, row in enumerate(got):
        assert row["classes"] == alone[i % 6]["classes"]
        np.testing.assert_allclose(row["scores"], alone[i % 6]["scores"], atol=1e-6)


def test_grpc_answers_what_rest_answers(server):
    picture = tiny.photos(1)[0]
    request = protos.PredictRequest(model_spec=protos.ModelSpec(name=NAME))
    request.inputs["image_bytes"].dtype = 7
    request.inputs["image_bytes"].tensor_shape.dim.add(size=1)
    request.inputs["image_bytes"].string_val.append(picture)
    with grpc.insecure_channel(server.grpc_address, [("grpc.enable_http_proxy", 0)]) as channel:
        call_it = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        answer = protos.PredictResponse.FromString(call_it(request.SerializeToString(), timeout=20))
    assert (answer.model_spec.name, answer.model_spec.version.value) == (NAME, 1)
    scores = predict(server, {"inputs": [b64(picture)]})[1]["outputs"]["scores"][0]
    np.testing.assert_allclose(list(answer.outputs["scores"].float_val), scores, atol=1e-6)


def test_metrics_of_the_whole(server):
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
    connection.request("GET", "/monitoring/prometheus/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    assert f':tensorflow:cc:saved_model:load_attempt_count{{model_path="{NAME}/1",status="success"}} 1\n' in text
    assert "tlkit_worker_restarts_total 0\n" in text


def test_a_model_that_is_none_is_told_where_the_block_is_entered(tmp_path):
    with pytest.raises(ExportError, match="there is no export at"):
        BackgroundServer(tmp_path / "nothing")
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "1" / "saved_model.pb").write_bytes(b"junk")
    with pytest.raises(ExportError, match="broken"), BackgroundServer(tmp_path / "broken"):
        pytest.fail("it must not be entered")
