"""Hosts and origins: DNS rebinding and posts of foreign pages are refused, programs and allowed pages are not."""

import pytest
from doors import Doors, echo

from tlkit.errors import ConfigError
from tlkit.serving.http_access import HttpAccess

BODY = b'{"instances": [1.0]}'
PATH = "/v1/models/default:predict"


def refusal(access, host="localhost:8501", origin=None, target=b"/v1/models/x"):
    headers = [] if host is None else [(b"host", host.encode())]
    return access.refusal([*headers, *([(b"origin", origin.encode())] if origin is not None else [])], target)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("LocalHost.:8501", True),
        ("127.0.0.1:1", True),
        ("127.9.9.9", True),
        ("[::1]:8501", True),
        ("[::ffff:127.0.0.1]:8501", True),
        (None, True),  # HTTP/1.0; a browser always says it
        ("evil.example:8501", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("evil.example@localhost", False),
        ("192.168.0.5:8501", False),
        ("0.0.0.0:8501", False),
        ("[::2]:8501", False),
        ("127.0.0.1:8501:evil.example", False),
        ("\u00e9".encode().decode("latin-1"), False),
    ],
)
@pytest.mark.parametrize("bound", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_a_loopback_port_answers_to_loopback_names(host, allowed, bound):
    found = refusal(HttpAccess.of(bound), None if host is None else host)
    assert (found == "") is allowed
    if not allowed:
        assert "the Host header is" in found
        assert "--allowed-host" in found


def test_other_names_are_allowed_by_option():
    access = HttpAccess.of("127.0.0.1", allowed_hosts=["Models.Test.", "10.0.0.7", "fe80::1"])
    for host in ("models.test:80", "10.0.0.7:8501", "[fe80::1]:1", "localhost"):
        assert refusal(access, host) == ""
    assert "localhost, 127.0.0.1, ::1, models.test, 10.0.0.7, fe80::1" in refusal(access, "sub.models.test")
    assert refusal(HttpAccess.of("127.0.0.1", allowed_hosts=["*"]), "evil.example") == ""


def test_a_port_on_the_network_answers_to_what_it_is_bound_to():
    named = HttpAccess.of("Box.local", "192.168.0.5")
    for host in ("box.local:8501", "192.168.0.5:8501", "127.0.0.1:8501"):
        assert refusal(named, host) == ""
    assert refusal(named, "evil.example") != ""
    for everywhere in ("0.0.0.0", "::", ""):
        assert refusal(HttpAccess.of(everywhere), "pod-7.service:8501") == ""
        strict = HttpAccess.of(everywhere, allowed_hosts=["models.test"])
        assert refusal(strict, "models.test") == refusal(strict, "localhost") == ""
        assert refusal(strict, "pod-7.service") != ""
        assert refusal(strict, "0.0.0.0") != ""


def test_the_host_of_an_absolute_target_counts_too():
    access = HttpAccess.of("127.0.0.1")
    assert refusal(access, target=b"http://localhost:8501/v1/models/x") == ""
    for target in (b"http://evil.example/v1/models/x", b"HTTP://localhost@evil.example", b"https://evil.example"):
        assert "evil.example" in refusal(access, target=target)


@pytest.mark.parametrize(
    ("host", "origin", "allowed"),
    [
        ("localhost:8501", None, True),
        ("localhost:8501", "http://localhost:8501", True),  # the server's own page
        ("LOCALHOST:8501", "http://localhost:8501", True),
        ("localhost", "http://localhost:80", True),
        ("localhost", "https://localhost:443", True),  # behind a proxy that ends TLS
        ("[::1]:8501", "http://[::1]:8501", True),
        ("localhost:8501", "http://localhost:3000", False),
        ("localhost:8501", "http://127.0.0.1:8501", False),
        ("localhost:8501", "http://localhost", False),
        ("localhost:8501", "https://evil.example", False),
        ("localhost:8501", "null", False),  # a file, or a sandboxed frame
        ("localhost:8501", "", False),
        ("localhost:8501", "file://localhost:8501", False),
        ("localhost:8501", "http://localhost:8501.evil.example", False),
        (None, "http://localhost:8501", False),
    ],
)
def test_only_the_server_s_own_pages_may_use_it(host, origin, allowed):
    found = refusal(HttpAccess.of("127.0.0.1"), host, origin)
    assert (found == "") is allowed
    assert allowed or "--cors-origin" in found


def test_two_origins_are_both_looked_at():
    access = HttpAccess.of("127.0.0.1")
    headers = [(b"host", b"localhost:1"), (b"origin", b"http://localhost:1"), (b"origin", b"https://evil.example")]
    assert "evil.example" in access.refusal(headers)


def test_other_origins_are_allowed_by_option():
    access = HttpAccess.of("127.0.0.1", cors_origins=["https://App.example", "http://localhost:3000"])
    assert refusal(access, origin="https://app.example") == refusal(access, origin="http://localhost:3000") == ""
    assert refusal(access, origin="https://app.example:444") != ""
    assert refusal(HttpAccess.of("127.0.0.1", cors_origins=["*"]), origin="null") == ""


@pytest.mark.parametrize("name", ["http://x", "x:80", "a b", "", "*.example", "x/y", "-"])
def test_what_is_no_host_is_told(name):
    with pytest.raises(ConfigError, match="--allowed-host is not a host"):
        HttpAccess.of("127.0.0.1", allowed_hosts=[name])


@pytest.mark.parametrize(
    "origin", ["example.org", "http://", "http://x/", "http://x/path", "ftp://x", "http://u@x", "http://x:y", "null"]
)
def test_what_is_no_origin_is_told(origin):
    with pytest.raises(ConfigError, match="--cors-origin is not an origin"):
        HttpAccess.of("127.0.0.1", cors_origins=[origin])


def test_foreign_names_and_pages_are_answered_403_on_every_path():
    with Doors(access=HttpAccess.of("127.0.0.1"), ui=True) as server:
        own = {"Host": f"localhost:{server.port}", "Origin": f"http://localhost:{server.port}"}
        for headers in ({}, own):
            assert server.request("POST", PATH, BODY, headers)[:2] == (
                200,
                echo("default", 123, "rest", "predict", BODY),
            )
        calls = len(server.fleet.calls)
        for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
            for method, path in (
                ("POST", PATH),
                ("GET", "/v1/models/default"),
                ("GET", "/"),
                ("GET", "/ui/models.json"),
            ):
                status, answer, found = server.request(method, path, BODY if method == "POST" else None, headers)
                assert (status, list(answer)) == (403, ["error"])
                assert not any(name.lower().startswith("access-control") for name in found)
        assert len(server.fleet.calls) == calls
        # As TensorFlow Serving without CORS: a preflight is answered, and allows nothing.
        status, _, found = server.request("OPTIONS", PATH, headers={"Origin": "https://evil.example"})
        assert status == 200
        assert not any(name.lower().startswith("access-control") for name in found)
        assert server.request("OPTIONS", PATH, headers={"Origin": "https://x.y", "Host": "evil.example"})[0] == 403


CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, GET",
    "access-control-allow-headers": "Content-Type",
}


def cors(headers):
    return {name.lower(): value for name, value in headers.items() if name.lower().startswith("access-control")}


def test_cors_for_any_page_is_as_in_tensorflow_serving():
    with Doors(access=HttpAccess.of("127.0.0.1", cors_origins=["*"])) as server:
        preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
        status, answer, found = server.request("OPTIONS", PATH, headers=preflight)
        assert (status, answer, cors(found)) == (200, None, CORS)
        for body, expected in ((BODY, 200), (b"fail 3 wrong", 400)):  # pages read errors, too
            status, _, found = server.request("POST", PATH, body, {"Origin": "https://app.example"})
            assert (status, cors(found)) == (expected, CORS)
        assert cors(server.request("GET", "/v1/models/default")[2]) == CORS


def test_cors_for_one_page_names_it_and_nobody_else():
    with Doors(access=HttpAccess.of("127.0.0.1", cors_origins=["https://app.example"])) as server:
        status, _, found = server.request("POST", PATH, BODY, {"Origin": "https://app.example"})
        assert (status, cors(found)) == (200, {**CORS, "access-control-allow-origin": "https://app.example"})
        assert found["vary"] == "Origin"
        status, _, found = server.request("POST", PATH, BODY, {"Origin": "https://other.example"})
        assert (status, cors(found)) == (403, {})
        status, _, found = server.request("GET", "/v1/models/default")
        assert (status, cors(found), found["vary"]) == (200, {}, "Origin")
