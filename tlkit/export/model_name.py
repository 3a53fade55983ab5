"""Which names a model can have; they stand in URLs and are folders."""

from __future__ import annotations

from tlkit.errors import ConfigError


def check_model_name(name: str) -> None:
    """Refuse a model name that no client can reach.

    The name is a part of `/v1/models/NAME`. Browsers, curl and proxies resolve `.` and `..` before they send a URL, and
    many gateways refuse a URL that holds `..` at all.

    Example:
        >>> check_model_name("photos")

    Args:
        name: as clients write it.

    Raises:
        ConfigError: it holds "..", or a part of it is ".".
    """
    if ".." in name or "." in name.split("/"):
        raise ConfigError(
            "a model name cannot contain '..' or be '.', because clients resolve these in a URL",
            received=name,
            allowed="a name such as photos",
            fix="rename the folder, or choose another name with --name or `name` in models.config",
        )
