"""The certificate, the key and the clients' authority of a server's ports."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from tlkit.errors import ConfigError


@dataclass(frozen=True)
class Tls:
    """What both doors need for TLS, as PEM files; they are read and tried at once.

    Example:
        >>> Tls(Path("server.pem"), Path("server.key"), client_ca=Path("clients.pem"))

    Args:
        certificate: the server's certificate and the chain up to its authority.
        key: its private key, without a passphrase.
        client_ca: only clients with a certificate of this authority are let in; anybody where it is None.

    Raises:
        ConfigError: a file cannot be read, or key and certificate do not belong together.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def __post_init__(self) -> None:
        for path in (self.certificate, self.key, self.client_ca):
            if path is not None:
                try:
                    path.read_bytes()
                except OSError as error:
                    raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
        try:
            self.context()
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(
                f"cannot use {self.certificate} with the key {self.key}"
                f"{f' and the authority {self.client_ca}' if self.client_ca else ''}: "
                f"{getattr(error, 'reason', None) or error}",
                allowed="a PEM certificate, its own PEM key without a passphrase, and an authority's PEM certificate",
            ) from error

    def context(self) -> ssl.SSLContext:
        """Return the settings of a server's socket that speaks HTTP/1.1.

        Raises:
            ssl.SSLError: the files cannot be used.
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # A key with a passphrase must not make a server wait for somebody to type it.
        context.load_cert_chain(self.certificate, self.key, password=lambda: b"")
        context.set_alpn_protocols(["http/1.1"])
        if self.client_ca is not None:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context
