"""Which names and which web pages may use the HTTP port: the Host and Origin headers of a request.

A website that its visitor's browser holds for harmless can point its own name at 127.0.0.1 (DNS rebinding), or post to
the port from its page. The first shows in Host, the second in Origin. Programs send no Origin and are not concerned.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from tlkit.errors import ConfigError

ANY = "*"
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}
# What TensorFlow Serving adds with --rest_api_enable_cors_support (http_rest_api_util.cc).
_CORS = [(b"access-control-allow-methods", b"POST, GET"), (b"access-control-allow-headers", b"Content-Type")]
Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True)
class HttpAccess:
    """Which requests are taken by their Host and Origin.

    Example:
        >>> access = HttpAccess.of("127.0.0.1", allowed_hosts=["models.test"])
        >>> access.refusal([(b"host", b"evil.example:8501")])
        "the Host header names 'evil.example', and this server answers to localhost, 127.0.0.1, models.test: ..."

    Args:
        hosts: allowed names and addresses, in small letters; None allows any.
        origins: allowed origins of pages, such as "https://app.example.org"; "*" allows any.
    """

    hosts: tuple[str, ...] | None = None
    origins: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, host: str, address: str = "", *, allowed_hosts: Iterable[str] = (), cors_origins: Iterable[str] = ()
    ) -> HttpAccess:
        """Return what a server allows that listens on `host`.

        Loopback names and the bound name and address are always allowed. On a loopback address nothing else is. On all
        addresses (0.0.0.0) any name is, because the names of a machine cannot be known, until `allowed_hosts` are
        given.

        Args:
            host: the name or address that the server was told to listen on.
            address: the address that it listens on, where that is known.
            allowed_hosts: further names; "*" allows any.
            cors_origins: origins whose pages may use the API.

        Raises:
            ConfigError: one is no host or no origin.
        """
        named = tuple(_checked_host(name) for name in allowed_hosts)
        origins = tuple(_checked_origin(origin) for origin in cors_origins)
        everywhere = _is_unspecified(address or host)
        if ANY in named or (everywhere and not named):
            return cls(None, origins)
        bound = () if everywhere else (_plain(host), _plain(address))
        found = dict.fromkeys(("localhost", "127.0.0.1", "::1", *bound, *named))
        return cls(tuple(name for name in found if name), origins)

    def refusal(self, headers: Headers, target: bytes = b"", *, preflight: bool = False) -> str:
        """Return why a request is refused, or an empty string.

        Args:
            headers: the request's, with names in small letters.
            target: the request's target; where it names a host, that one counts too.
            preflight: it only asks what its page may do, so any origin may ask.
        """
        host = _value(headers, b"host")
        for one in filter(None, (host, _authority_of(target))):
            name = _split(one)[0]
            if not self._answers_to(name):
                allowed = ", ".join(self.hosts or ())
                return (
                    f"the Host header is {name[:100]!r}, and this server accepts {allowed}: start it with "
                    "--allowed-host NAME to accept another name"
                )
        origins = [value.decode("latin-1") for header, value in headers if header == b"origin"]
        for origin in () if preflight else origins:
            if not self._allows(origin, host):
                return (
                    f"pages of {origin[:100]!r} may not use this server: start it with --cors-origin ORIGIN to "
                    "allow pages "
                    "of another origin"
                )
        return ""

    def response_headers(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """Return the CORS headers of the response to a request that was not refused."""
        if ANY in self.origins:
            return [(b"access-control-allow-origin", b"*"), *_CORS]
        if not self.origins:
            return []
        origin = _value(headers, b"origin")
        vary = (b"vary", b"Origin")
        if origin.decode("latin-1") not in self.origins:
            return [vary]
        return [(b"access-control-allow-origin", origin), *_CORS, vary]

    def _answers_to(self, name: str) -> bool:
        return self.hosts is None or name in self.hosts or is_loopback(name)

    def _allows(self, origin: str, host: bytes) -> bool:
        if ANY in self.origins or origin in self.origins:
            return True
        scheme, _, authority = origin.partition("://")
        port = _DEFAULT_PORTS.get(scheme)
        return port is not None and _split(authority.encode("latin-1"), port) == _split(host, port)


def _checked_host(name: str) -> str:
    plain = _plain(name)
    if name == ANY or _address(plain) is not None or _NAME.fullmatch(plain):
        return plain
    raise ConfigError(
        "--allowed-host is not a host", received=name, allowed="a name or an address without scheme and port, or *"
    )


def _checked_origin(origin: str) -> str:
    try:
        parts = urlsplit(origin)
        whole = parts.scheme in _DEFAULT_PORTS and parts.hostname and origin == f"{parts.scheme}://{parts.netloc}"
        whole = whole and "@" not in parts.netloc and (parts.port is None or parts.port > 0)
    except ValueError:
        whole = False
    if origin == ANY or whole:
        return origin.lower()
    raise ConfigError(
        "--cors-origin is not an origin", received=origin, allowed="scheme://host or scheme://host:port, or * for any"
    )


def _value(headers: Headers, wanted: bytes) -> bytes:
    return next((value for name, value in headers if name == wanted), b"")


def _authority_of(target: bytes) -> bytes:
    """Return the host of a target in absolute form, as it is sent to proxies."""
    if target[:1] == b"/" or not target.lower().startswith((b"http://", b"https://")):
        return b""
    return target.split(b"/", 3)[2].rpartition(b"@")[2]


def _split(authority: bytes, default: int = 0) -> tuple[str, int]:
    """Return name and port of "name:port", the name plain."""
    text = authority.decode("latin-1").strip()
    name, colon, port = text.rpartition(":")
    if not colon or "]" in port:  # no port
        return _plain(text), default
    return _plain(name), int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else default


def _plain(name: str) -> str:
    """Write a name as it is compared: in small letters, without brackets and the root's dot."""
    return name.strip().strip("[]").removesuffix(".").lower()


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(name)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def is_loopback(name: str) -> bool:
    """Say whether a plain name or address is of the machine itself, whatever its network."""
    address = _address(name)
    return name == "localhost" if address is None else address.is_loopback


def _is_unspecified(host: str) -> bool:
    address = _address(_plain(host))
    return not host or (address is not None and address.is_unspecified)
