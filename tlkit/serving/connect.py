"""Which transport a server's address means; the library of the other one is not imported."""

from __future__ import annotations

import urllib.parse
from pathlib import Path
from typing import Any

from tlkit.errors import ConfigError, check_choice
from tlkit.serving.transport import Transport

_SCHEMES = ("http", "https", "grpc", "grpcs")


def connect(target: str, model: str, **options: Any) -> Transport:
    """Make the transport that an address asks for; nothing is sent yet.

    Args:
        target: http://, https://, grpc:// or grpcs://, host and port.
        model: the model's name.
        options: keyword arguments of `RestTransport` and `GrpcTransport`.

    Raises:
        ConfigError: the address or a certificate is not usable, or gRPC is wanted and not installed.
    """
    parts = urllib.parse.urlsplit(target)
    if "://" not in target and parts.scheme not in _SCHEMES:
        raise ConfigError(
            "a server's address must start with its protocol", received=target,
            fix=f"http://{target} or, for gRPC's port, grpc://{target}",
        )  # fmt: skip
    check_choice("scheme of a server's address", parts.scheme, _SCHEMES)
    try:
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or parts.username:
        raise ConfigError("a server's address must be SCHEME://HOST:PORT", received=target)
    tls = parts.scheme in ("https", "grpcs")
    if not tls and any(options[name] for name in ("ca_file", "client_cert", "client_key")):
        raise ConfigError("certificates need https:// or grpcs://", received=target)
    for name in ("ca_file", "client_cert", "client_key"):
        if options[name] is not None and not Path(options[name]).is_file():
            raise ConfigError(f"{name} is not a file", received=str(options[name]))
    if parts.scheme in ("http", "https"):
        if "/v1/" in f"{parts.path}/":
            raise ConfigError(
                "the address of a server must not include /v1", received=target, fix="pass the model's name separately"
            )
        from tlkit.serving.rest_transport import RestTransport

        return RestTransport(target, model, **options)
    if parts.path:
        raise ConfigError("a gRPC address must not have a path", received=target)
    if parts.port is None:
        raise ConfigError("a gRPC address needs a port", received=target, fix="TensorFlow Serving's default is 8500")
    try:
        from tlkit.serving.grpc_transport import GrpcTransport
    except ImportError as error:
        raise ConfigError(f"grpc:// needs grpcio: {error}", fix="pip install grpcio, or use http://") from error
    return GrpcTransport(parts.netloc, model, tls=tls, **options)
