"""Write a models.config for TensorFlow Serving from the server_config.json of a folder of conformance vectors.

    python tools/models_config.py ../shared/conformance/server_config.json MODELS > models.config

MODELS is the folder that make_models.py filled; the entry "*" of the JSON stands for every folder in it. Base paths
become absolute. `--add NAME=FOLDER` serves another model as well.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from tlkit.errors import ConfigError
from tlkit.serving import protos

KEYS = {"base_path", "versions", "labels", "comment"}


def models_config(document: dict[str, Any], folder: Path, models: Path) -> Any:
    """Give the ModelServerConfig.

    Args:
        document: the content of server_config.json.
        folder: where that file lies; base paths are relative to it.
        models: the folder whose folders "*" stands for.

    Raises:
        ConfigError: an entry says something unknown, or its folder does not exist.
    """
    server = protos.ModelServerConfig()
    entries = dict(document["models"])
    rest = entries.pop("*", None)
    if rest is not None:
        if rest.get("base_path") != "models/<name>":
            raise ConfigError('"*" must say models/<name>', received=rest.get("base_path"))
        named = {path.name: {"base_path": str(path.resolve())} for path in sorted(models.iterdir()) if path.is_dir()}
        entries = named | entries
    for name, entry in entries.items():
        unknown = set(entry) - KEYS
        if unknown:
            raise ConfigError(f"{name}: unknown keys {sorted(unknown)}", allowed=sorted(KEYS))
        add_model(server, name, folder / entry["base_path"], entry.get("versions"), entry.get("labels", {}))
    return server


def add_model(server: Any, name: str, base: Path, versions: str | list[int] | None, labels: dict[str, int]) -> None:
    """Add one model; `versions` is a list, "all", or None for the newest."""
    if name in [model.name for model in server.model_config_list.config]:
        raise ConfigError(f"there are two models called {name}", fix="rename one of the folders")
    if not base.is_dir():
        raise ConfigError(f"{name}: there is no folder {base}")
    model = server.model_config_list.config.add(
        name=name, base_path=str(base.resolve()), model_platform="tensorflow", version_labels=labels
    )
    if versions == "all":
        model.model_version_policy.all.SetInParent()
    elif isinstance(versions, list):
        model.model_version_policy.specific.versions.extend(versions)
    elif versions is not None:
        raise ConfigError(f"{name}: versions", received=versions, allowed='a list of numbers, or "all"')


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("config", type=Path, help="server_config.json")
    parser.add_argument("models", type=Path, help="the folder that make_models.py filled")
    parser.add_argument("--add", action="append", default=[], metavar="NAME=FOLDER")
    given = parser.parse_args(words)
    try:
        document = json.loads(given.config.read_text(encoding="utf-8"))
        server = models_config(document, given.config.parent, given.models)
        for pair in given.add:
            name, _, folder = pair.partition("=")
            add_model(server, name, Path(folder), None, {})
    except (ConfigError, OSError, ValueError, KeyError) as error:
        raise SystemExit(f"error: {given.config}: {error}") from error
    sys.stdout.write(text_format.MessageToString(server, as_utf8=True))


if __name__ == "__main__":
    main(sys.argv[1:])
