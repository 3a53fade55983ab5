"""Strict models for a project's config.toml: unknown keys, wrong types and impossible values are errors."""

from __future__ import annotations

import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from tlkit.errors import ConfigError, did_you_mean


def _learning_rate(value: object) -> object:
    """Accept "auto" or a rate; said once here, because a union of types reports each branch on its own."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value == "auto" or (number and 0 < value <= 10):  # type: ignore[operator]
        return value
    raise ValueError('a learning rate is "auto" or a number above 0 and at most 10')


def _weights(value: object) -> object:
    """Accept a source, or a list of sources that are tried in order."""
    items = value if isinstance(value, list) else [value]
    if items and all(isinstance(item, str) and item for item in items):
        return value
    raise ValueError('weights are "auto", "none", a path, or a list of sources')


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ProjectSection(_Section):
    """[project]: the name that people read."""

    name: Annotated[str, Field(min_length=1)]


class DataSection(_Section):
    """[data]: where the photos are and how they are read."""

    path: Annotated[str, Field(min_length=1)]
    path_column: str = "path"
    label_column: str = "label"
    group_column: str = ""
    split_column: str = ""
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    batch_size: Annotated[int, Field(ge=1)] = 32
    augment: Literal["none", "side_on", "top_down", "strong"] = "side_on"
    max_zoom: Annotated[float, Field(ge=1, le=4)] = 1.1
    mix: Literal["none", "mixup", "cutmix"] = "none"
    class_weight: Literal["none", "balanced"] = "none"
    sampling: Literal["shuffle", "balanced"] = "shuffle"
    cache: Literal["auto", "memory", "off"] = "auto"
    on_error: Literal["fail", "skip"] = "fail"
    seed: Annotated[int, Field(ge=0)] = 0


class ModelSection(_Section):
    """[model]: what the classifier is built on."""

    backbone: Annotated[str, Field(min_length=1)] = "efficientnet-lite0"
    weights: Annotated[str | list[str], BeforeValidator(_weights)] = "auto"
    image_size: Annotated[int, Field(ge=32, le=2048)] = 320
    resize: Literal["crop", "pad", "squash"] = "crop"
    pooling: Literal["avg", "max", "avgmax"] = "avgmax"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    batch_norm: Literal["frozen", "train"] = "frozen"
    cut: str = ""


class TrainSection(_Section):
    """[train]: the two stages, first the head alone and then as much of the network as the policy says."""

    learning_rate: Annotated[float | str, BeforeValidator(_learning_rate)] = "auto"
    frozen_epochs: Annotated[int, Field(ge=1)] = 10
    finetune_epochs: Annotated[int, Field(ge=0)] = 3
    finetune_divisor: Annotated[float, Field(ge=1)] = 10.0
    policy: Literal["all", "head", "auto", "bit"] = "all"
    sizes: list[Annotated[int, Field(ge=32, le=2048)]] = []
    cycle_len: Annotated[int, Field(ge=0)] = 0
    cycle_mult: Annotated[int, Field(ge=1)] = 1
    keep: Literal["best", "last", "swa", "ensemble"] = "best"
    log: Literal["none", "csv", "tensorboard"] = "none"

    @property
    def stages(self) -> dict[str, Any]:
        """The further arguments of `Learner.fine_tune`."""
        given: dict[str, Any] = {
            "frozen_epochs": self.frozen_epochs,
            "divisor": self.finetune_divisor,
            "policy": self.policy,
            "sizes": self.sizes,
        }
        if self.cycle_len:
            given |= {"cycle_len": self.cycle_len, "cycle_mult": self.cycle_mult}
            given["snapshots"] = self.keep in ("swa", "ensemble")
        return given

    @model_validator(mode="after")
    def _cycles_where_needed(self) -> Self:
        if self.keep in ("swa", "ensemble") and not (self.cycle_len and self.finetune_epochs):
            raise ValueError(f'keep = "{self.keep}" needs cycles: set cycle_len and finetune_epochs')
        if self.cycle_mult > 1 and not self.cycle_len:
            raise ValueError("cycle_mult needs cycle_len")
        return self


class StepSection(_Section):
    """[step]: how each training step is taken; the fields of `tlkit.TrainingOptions`."""

    optimizer: Literal["adamw", "adam", "sgd", "lion"] = "adamw"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    accumulate: Annotated[int, Field(ge=1)] = 1
    clip_norm: Annotated[float, Field(ge=0)] = 0.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    patience: Annotated[int, Field(ge=0)] = 0
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "float32"


class ExportSection(_Section):
    """[export]: the folder that receives numbered versions; its last part is the name of the served model."""

    directory: Annotated[str, Field(min_length=1)]


class ProjectConfig(_Section):
    """The whole config.toml, read by `load_config`.

    Attributes:
        root: the project's folder; relative paths of the file start here.
    """

    project: ProjectSection
    data: DataSection
    model: ModelSection = ModelSection()
    train: TrainSection = TrainSection()
    step: StepSection = StepSection()
    export: ExportSection
    _root: Path = PrivateAttr(default_factory=Path.cwd)

    @property
    def root(self) -> Path:
        """The folder that relative paths of the file are relative to."""
        return self._root

    @property
    def data_path(self) -> Path:
        """The photos' folder, or the table that lists them."""
        return self.root / Path(self.data.path).expanduser()

    @property
    def export_dir(self) -> Path:
        """The folder that holds the exported versions."""
        return self.root / Path(self.export.directory).expanduser()

    @property
    def weights(self) -> str | list[str]:
        """`model.weights`, with files that lie in the project spelt out as full paths."""

        def full(source: str) -> str:
            path = self.root / Path(source).expanduser()
            return str(path) if source not in ("auto", "none") and path.exists() else source

        sources = self.model.weights
        return full(sources) if isinstance(sources, str) else [full(source) for source in sources]

    @property
    def checkpoints(self) -> Path:
        """Where training keeps what it needs to go on after a stop."""
        return self.root / "checkpoints"

    @property
    def reports(self) -> Path:
        """Where pictures of a training run go."""
        return self.root / "reports"


def load_config(path: str | Path, overrides: Sequence[str] = (), *, root: str | Path | None = None) -> ProjectConfig:
    """Read a config.toml, apply `SECTION.KEY=VALUE` overrides and check all of it.

    Example:
        config = load_config("config.toml", ["train.frozen_epochs=2"])

    Args:
        path: the file.
        overrides: `SECTION.KEY=VALUE` strings; the value is read as the type that the key has.
        root: what relative paths start from; the file's folder when left out.

    Returns:
        The checked configuration.

    Raises:
        ConfigError: the file is missing or not TOML, a key is unknown, a value has the wrong type or range.
    """
    path = Path(path)
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} is not valid TOML: {str(error).splitlines()[0]}") from error
    for override in overrides:
        section, key, value = parse_override(override)
        table = tree.setdefault(section, {})
        if isinstance(table, dict):
            table[key] = value
    try:
        config = ProjectConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{path.name}: {describe(error)}") from None
    config._root = (Path(root) if root is not None else path.parent).resolve()
    return config


def parse_override(override: str) -> tuple[str, str, Any]:
    """Split `SECTION.KEY=VALUE` and read VALUE as the type of that key.

    >>> parse_override("train.frozen_epochs=2")
    ('train', 'frozen_epochs', 2)

    Raises:
        ConfigError: the form is wrong or there is no such key.
    """
    name, equals, text = override.partition("=")
    section, dot, key = name.strip().partition(".")
    if not equals or not name.strip():
        raise ConfigError("--set takes SECTION.KEY=VALUE", received=override, fix="for example train.frozen_epochs=2")
    fields = dict(known_keys())
    if not dot or f"{section}.{key}" not in fields:
        same_key = [known for known in fields if known.endswith(f".{name.strip()}")]
        near = f"did you mean {same_key[0]!r}?" if same_key else did_you_mean(name.strip(), fields)
        raise ConfigError(f"unknown config key {name.strip()!r}", fix=near or f"known keys: {', '.join(fields)}")
    return section, key, _typed(text.strip(), fields[f"{section}.{key}"])


def known_keys() -> Iterator[tuple[str, Any]]:
    """Yield every `section.key` with its annotation."""
    for section, field in ProjectConfig.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            for key, inner in model.model_fields.items():
                yield f"{section}.{key}", inner.annotation


def describe(error: ValidationError) -> str:
    """Put the problems of a pydantic error into one line, each with its key and the nearest known key."""
    problems = error.errors(include_url=False)
    told = [_describe_one(problem) for problem in problems[:3]]
    if len(problems) > 3:
        told.append(f"and {len(problems) - 3} more")
    return " | ".join(told)


def _describe_one(problem: Mapping[str, Any]) -> str:
    place = [str(part) for part in problem["loc"]]
    name = ".".join(place[:2])
    keys = [known for known, _ in known_keys()]
    if problem["type"] == "extra_forbidden":
        if len(place) == 1:
            return _join(f"unknown section [{name}]", did_you_mean(name, ProjectConfig.model_fields))
        section = [known.partition(".")[2] for known in keys if known.startswith(place[0] + ".")]
        near = did_you_mean(place[1], section) or did_you_mean(place[1], [k.partition(".")[2] for k in keys])
        return _join(f"unknown key {place[1]!r} in [{place[0]}]", near or f"known keys: {', '.join(section)}")
    if problem["type"] == "missing":
        return f"{name} is missing"
    message = str(problem["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return f"{name}: {message}; received: {problem['input']!r}"


def _join(what: str, hint: str) -> str:
    return f"{what}; {hint}" if hint else what


def _typed(text: str, annotation: Any) -> Any:
    origin = typing.get_origin(annotation)
    if annotation is str or origin is Literal:
        return text
    members = typing.get_args(annotation) if origin in (typing.Union, types.UnionType) else (annotation,)
    if str in members and not text.startswith("[") and float not in members:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
