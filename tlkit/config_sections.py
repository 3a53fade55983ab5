"""The sections of config.toml as strict models: shared ones, and those of projects with images and with texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from tlkit.errors import ConfigError
from tlkit.lazy import loaded


def check_learning_rate(value: object) -> object:
    """Accept "auto" or a rate; said once here, because a union of types reports each branch on its own."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value == "auto" or (number and 0 < value <= 10):  # type: ignore[operator]
        return value
    raise ValueError('a learning rate is "auto" or a number above 0 and at most 10')


def _epochs(value: object) -> object:
    """Accept "auto" or a whole number."""
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise ValueError('a number of epochs is "auto" or a whole number, 0 or more')


def _weights(value: object) -> object:
    """Accept a source, or a list of sources that are tried in order."""
    items = value if isinstance(value, list) else [value]
    if items and all(isinstance(item, str) and item for item in items):
        return value
    raise ValueError('weights are "auto", "none", a path, or a list of sources')


class Section(BaseModel):
    """A section, or the whole file: unknown keys and other types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ProjectSection(Section):
    """[project]: the name that people read, and what the project does."""

    name: Annotated[str, Field(min_length=1)]
    task: str


class DataSection(Section):
    """[data]: what every kind of project says of its data."""

    path: Annotated[str, Field(min_length=1)]
    group_column: str = ""
    split_column: str = ""
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    batch_size: Annotated[int, Field(ge=1)] = 32
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    exclude: str = ""


class LabelledDataSection(DataSection):
    """[data] where every item has a label."""

    label_column: str = "label"
    label_separator: str = ""
    label_columns: list[Annotated[str, Field(min_length=1)]] = []
    class_weight: Literal["none", "balanced"] = "none"
    sampling: Literal["shuffle", "balanced"] = "shuffle"

    @property
    def multi_label(self) -> bool:
        """Whether an item may have several labels, or none."""
        return bool(self.label_separator or self.label_columns)

    @model_validator(mode="after")
    def _labels_are_named_once(self) -> Self:
        if self.label_separator and self.label_columns:
            raise ValueError("label_separator and label_columns cannot be combined")
        return self


class ModelSection(Section):
    """[model]: what the network is."""


class PretrainedModelSection(ModelSection):
    """[model]: where the pretrained weights come from."""

    weights: Annotated[str | list[str], BeforeValidator(_weights)] = "auto"


class TrainSection(Section):
    """[train]: what every kind of project says of its training."""

    learning_rate: Annotated[float | str, BeforeValidator(check_learning_rate)] = "auto"
    cycle_len: Annotated[int, Field(ge=0)] = 0
    cycle_mult: Annotated[int, Field(ge=1)] = 1
    keep: Literal["best", "last", "swa", "ensemble"] = "best"
    log: Literal["none", "csv", "tensorboard"] = "none"
    calibrate: bool = False

    @property
    def stages(self) -> dict[str, Any]:
        """The further arguments of the training: the cycles."""
        if not self.cycle_len:
            return {}
        given = {"cycle_len": self.cycle_len, "cycle_mult": self.cycle_mult}
        return given | {"snapshots": self.keep in ("swa", "ensemble")}

    @property
    def ending(self) -> dict[str, Any]:
        """The arguments of `Learner.finish` beside `keep`."""
        return {"calibrate": self.calibrate}

    def _check_cycles(self, cycles: int, key: str) -> None:
        if self.keep in ("swa", "ensemble") and not (self.cycle_len and cycles):
            raise ValueError(f'keep = "{self.keep}" needs cycles: set cycle_len and {key}')
        if self.cycle_mult > 1 and not self.cycle_len:
            raise ValueError("cycle_mult needs cycle_len")


class FineTuneSection(TrainSection):
    """[train]: the two stages, first the head alone and then as much of the network as the policy says."""

    head: Literal["epochs", "probe"] = "epochs"
    frozen_epochs: Annotated[int, Field(ge=1)] = 10
    finetune_epochs: Annotated[int | str, BeforeValidator(_epochs)] = 3
    policy: str = "all"  # each kind of project says which there are
    budget_minutes: Annotated[float, Field(gt=0)] = 10.0

    @property
    def epochs(self) -> int | None:
        """Epochs of the second stage; None where the policy decides, which for all but "measure" means 3."""
        return None if self.finetune_epochs == "auto" else int(self.finetune_epochs)

    @property
    def stages(self) -> dict[str, Any]:
        """The further arguments of `Learner.fine_tune`."""
        given = {"head": self.head, "frozen_epochs": self.frozen_epochs, "policy": self.policy}
        return given | {"budget_minutes": self.budget_minutes} | super().stages

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        self._check_cycles(self.epochs != 0, "finetune_epochs")
        measured = self.policy == "measure"
        if measured and self.head != "probe":
            raise ValueError('policy = "measure" starts from a linear probe: set head = "probe"')
        if measured and self.cycle_len:
            raise ValueError('cycles cannot be combined with policy = "measure": set policy = "all"')
        return self


class ThresholdSection(Section):
    """Part of [train] where several labels can be true: predict each above 0.5, or above a threshold of its own.

    It is chosen on validation data: "f1", "cost=N" (a missed label costs N false alarms), "precision=P", "recall=R".
    """

    thresholds: str = "half"

    @field_validator("thresholds")
    @classmethod
    def _is_a_rule(cls, value: str) -> str:
        try:
            loaded("tlkit.report.thresholds:threshold_rule")(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return value


class StepSection(Section):
    """[step]: how each training step is taken; the fields of `tlkit.TrainingOptions`."""

    optimizer: Literal["adamw", "adam", "sgd", "lion"] = "adamw"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    accumulate: Annotated[int, Field(ge=1)] = 1
    clip_norm: Annotated[float, Field(ge=0)] = 0.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    patience: Annotated[int, Field(ge=0)] = 0
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "float32"


class ExportSection(Section):
    """[export]: the folder that receives numbered versions; its last part is the name of the served model."""

    directory: Annotated[str, Field(min_length=1)]


Level = Literal["fail", "warn", "off"]


RuleName = Literal[
    "unreadable", "damaged", "conflicting_labels", "copies_across_splits", "copies", "near_copies_across_splits",
    "near_copies", "group_leakage", "time_leakage", "target_leakage", "shortcuts", "label_noise", "class_imbalance",
    "tiny_classes", "missing_classes", "shift", "outliers", "rare_forms",
]  # fmt: skip


class ProjectConfig(Section):
    """The whole config.toml, read by `load_config`; each kind of project adds keys of its own.

    Attributes:
        check: rule of `tlkit check` -> what a finding means, where it is not the default.
        root: the project's folder; relative paths of the file start here.
    """

    project: ProjectSection
    data: DataSection
    model: ModelSection
    train: TrainSection
    step: StepSection = StepSection()
    export: ExportSection
    check: dict[RuleName, Level] = {}
    #: Keys that a new project does not show: earlier spellings, and what the task cannot have.
    not_shown: ClassVar[frozenset[str]] = frozenset()
    _root: Path = PrivateAttr(default_factory=Path.cwd)

    @property
    def root(self) -> Path:
        """The folder that relative paths of the file are relative to."""
        return self._root

    @classmethod
    def replaced_keys(cls, name: str, value: object, tree: Mapping[str, Any]) -> Sequence[str]:
        """Return the keys that a key replaces because they are other spellings of it.

        Args:
            name: the `SECTION.KEY` that is set.
            value: its value.
            tree: the configuration as it is now.
        """
        return ()

    @property
    def data_path(self) -> Path:
        """The folder or table with the data."""
        return self.root / Path(self.data.path).expanduser()

    @property
    def check_levels(self) -> dict[RuleName, Level]:
        """What a finding of a rule of `tlkit check` means; the rules that are left out warn."""
        defaults: dict[RuleName, Level] = {"unreadable": "fail", "conflicting_labels": "fail"}
        return defaults | self.check

    @property
    def exclude(self) -> Path | None:
        """The list of items that are left out, or None."""
        return self.root / Path(self.data.exclude).expanduser() if self.data.exclude else None

    @property
    def export_dir(self) -> Path:
        """The folder that holds the exported versions."""
        return self.root / Path(self.export.directory).expanduser()

    @property
    def checkpoints(self) -> Path:
        """Where training keeps what it needs to go on after a stop."""
        return self.root / "checkpoints"

    @property
    def reports(self) -> Path:
        """Where pictures of a training run go."""
        return self.root / "reports"

    @property
    def several_labels(self) -> bool:
        """Whether an item may have several labels."""
        return bool(getattr(self.data, "multi_label", False))

    @model_validator(mode="after")
    def _thresholds_need_labels(self) -> Self:
        chosen = getattr(self.train, "thresholds", "half")
        if chosen != "half" and not self.several_labels:
            raise ValueError(f'train.thresholds = "{chosen}" is for items with several labels')
        return self

    def _full(self, source: str) -> str:
        path = self.root / Path(source).expanduser()
        return str(path) if source not in ("auto", "none") and path.exists() else source


class PretrainedConfig(ProjectConfig):
    """config.toml of a project that begins with a pretrained network."""

    model: PretrainedModelSection
    train: FineTuneSection

    @property
    def weights(self) -> str | list[str]:
        """`model.weights`, with files that lie in the project spelt out as full paths."""
        sources = self.model.weights
        return self._full(sources) if isinstance(sources, str) else [self._full(source) for source in sources]


class ImageProjectSection(ProjectSection):
    """[project] where photos are classified."""

    task: Literal["image_classification"] = "image_classification"


class ImageFields(Section):
    """What [data] says of photos, whatever is predicted from them."""

    path_column: str = "path"
    separator: Annotated[str, Field(max_length=1)] = ""
    encoding: Annotated[str, Field(min_length=1)] = "utf-8"
    augment: Literal["none", "side_on", "top_down", "strong"] = "side_on"
    max_zoom: Annotated[float, Field(ge=1, le=4)] = 1.1
    mix: Literal["none", "mixup", "cutmix"] = "none"
    cache: Literal["auto", "memory", "off"] = "auto"
    on_error: Literal["fail", "skip"] = "fail"
    on_duplicate: Literal["report", "drop"] = "report"
    damaged: Literal["keep", "refuse"] = "keep"
    max_pixels: Annotated[int, Field(ge=1, le=178_000_000)] = 40_000_000  # above it, TensorFlow's decoders refuse

    @property
    def options(self) -> dict[str, Any]:
        """How photos are read, augmented and batched: arguments of the functions that read them."""
        names = {
            "augment", "max_zoom", "mix", "batch_size", "val_fraction", "cache", "seed", "on_error", "damaged",
            "on_duplicate", "max_pixels",
        }  # fmt: skip
        return self.model_dump(include=names)


class ImageDataSection(LabelledDataSection, ImageFields):
    """[data]: where the photos are and how they are read."""

    @property
    def columns(self) -> dict[str, Any]:
        """What only tables have: arguments of `images_from_table`, None where the file says nothing."""
        optional = ("label_separator", "label_columns", "group_column", "split_column")
        given = {name: getattr(self, name) or None for name in optional}
        return given | {name: getattr(self, name) for name in ("path_column", "label_column", "separator", "encoding")}

    @property
    def options(self) -> dict[str, Any]:
        """How photos are read, augmented and batched: arguments of `images_from_folder` and `images_from_table`."""
        return super().options | self.model_dump(include={"class_weight", "sampling"})


class ImageModelSection(PretrainedModelSection):
    """[model]: what the classifier of photos is built on."""

    backbone: Annotated[str, Field(min_length=1)] = "efficientnet-lite0"
    image_size: Annotated[int, Field(ge=32, le=2048)] = 320
    resize: Literal["crop", "pad", "squash"] = "crop"
    pooling: Literal["avg", "max", "avgmax"] = "avgmax"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    batch_norm: Literal["frozen", "train"] = "frozen"
    cut: str = ""


class ImageTrainSection(FineTuneSection):
    """[train] with what only photos have: sizes, and Big Transfer's rule."""

    finetune_divisor: Annotated[float, Field(ge=1)] = 10.0
    finetune_rate: Annotated[float, Field(ge=0, le=10)] = 0.0
    policy: Literal["all", "head", "auto", "gradual", "bit", "measure"] = "all"
    sizes: list[Annotated[int, Field(ge=32, le=2048)]] = []

    @model_validator(mode="after")
    def _sizes_are_chosen_once(self) -> Self:
        if self.sizes and self.policy == "measure":
            raise ValueError(
                'sizes cannot be combined with policy = "measure", which chooses the size: set sizes = [], '
                'or policy = "all"'
            )
        return self

    @property
    def stages(self) -> dict[str, Any]:
        """The further arguments of `Learner.fine_tune`."""
        own = {"divisor": self.finetune_divisor, "sizes": self.sizes}
        return super().stages | own | {"finetune_lr": self.finetune_rate or None}


class ImageLabelsTrainSection(ThresholdSection, ImageTrainSection):
    """[train] for images with classes or labels."""


class TextProjectSection(ProjectSection):
    """[project] where texts are classified."""

    task: Literal["text_classification"]


class TextDataSection(LabelledDataSection):
    """[data]: where the texts are and how they are read."""

    text_column: Annotated[str, Field(min_length=1)] = "text"
    time_column: str = ""
    separator: Annotated[str, Field(max_length=1)] = ""
    encoding: Annotated[str, Field(min_length=1)] = "utf-8"
    quoting: Literal["auto", "minimal", "none"] = "auto"
    strip_html: bool = False
    on_duplicate: Literal["report", "drop"] = "report"

    @property
    def columns(self) -> dict[str, Any]:
        """What only tables have: arguments of `texts_from_table`, None where the file says nothing."""
        optional = ("label_separator", "label_columns", "group_column", "split_column", "time_column")
        given = {name: getattr(self, name) or None for name in optional}
        return given | {name: getattr(self, name) for name in ("text_column", "label_column", "separator", "quoting")}


class TextModelSection(PretrainedModelSection):
    """[model]: what the classifier of texts is built on."""

    encoder: Annotated[str, Field(min_length=1)] = "all-minilm-l6-v2"
    max_tokens: Annotated[int, Field(ge=4)] = 128
    long_texts: Literal["head", "head_tail", "windows"] = "head"
    pooling: Literal["auto", "mean", "cls", "max", "meanmax"] = "auto"
    layers: Annotated[int, Field(ge=1)] = 1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    encoder_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


class TextTrainSection(ThresholdSection, FineTuneSection):
    """[train] for texts; both stages have rates of their own, which hardly depend on the data.

    With `cycle_len`, warm restarts take the place of `schedule`.
    """

    learning_rate: Annotated[float | str, BeforeValidator(check_learning_rate)] = 1e-3
    finetune_rate: Annotated[float, Field(gt=0, le=10)] = 3e-4
    group_factor: Annotated[float, Field(ge=1)] = 1.5
    policy: Literal["all", "head", "auto", "gradual", "measure"] = "all"
    schedule: Literal["one_cycle", "slanted_triangular"] = "slanted_triangular"

    @property
    def stages(self) -> dict[str, Any]:
        """The further arguments of `Learner.fine_tune`."""
        given = super().stages | {"finetune_lr": self.finetune_rate, "group_factor": self.group_factor}
        return given if self.cycle_len else given | {"schedule": self.schedule}


class TextStepSection(StepSection):
    """[step] for texts: encoders are fine-tuned with smoothed labels and clipped gradients, long texts in pieces."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    clip_norm: Annotated[float, Field(ge=0)] = 1.0
    step_tokens: Annotated[int, Field(ge=0)] = 1024
