"""What an input declares of itself, and the table of inputs; imports neither TensorFlow nor Keras."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tlkit.errors import DataError, ExportError
from tlkit.lazy import loaded

if TYPE_CHECKING:
    import numpy as np

#: Name -> module and object of its `InputSpec`; loaded on first use.
INPUTS: Mapping[str, str] = {
    "image": "tlkit.inputs.image.spec:SPEC",
    "text": "tlkit.inputs.text.spec:SPEC",
    "row": "tlkit.inputs.row.spec:SPEC",
}


@dataclasses.dataclass(frozen=True)
class FileSource:
    """How files of items are read by `tlkit score`.

    Attributes:
        column: the usual name of the column that holds the items; empty where an item is a whole row.
        option: the option that names it otherwise.
        key: the key of [data] in config.toml that names it.
        items: what the column holds, in messages.
        has_labels: a column of classes may be named.
        lines: whether a .txt file holds an item on each line.
        quoted_tsv: whether the fields of a TSV may be quoted.
        folder: "module:class" that reads a folder of items; empty where a folder is none.
        wrapped: "module:class" that makes items of the column's values; empty where the values are the items.
    """

    column: str = ""
    option: str = ""
    key: str = ""
    items: str = ""
    has_labels: bool = True
    lines: bool = False
    quoted_tsv: bool = False
    folder: str = ""
    wrapped: str = ""


@dataclasses.dataclass(frozen=True)
class RowSource:
    """How rows of files become the columns that a network reads.

    Attributes:
        rows: "module:class" that reads a file: path, separator, encoding, lenient= -> items; with `survey()` and
            `types()`.
        typed: "module:class" that knows the columns of an export: its preprocessing as plain data -> `preprocessing`,
            and `frame(items, problems)`.
        looked_up: the same for a project, whose further tables have the columns that a file lacks: config,
            preprocessing, names of the file's columns, its rows.
    """

    rows: str
    typed: str
    looked_up: str


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """One kind of input. What is named by "module:object" or "module" loads on first use.

    Attributes:
        name: a key of `INPUTS`; `content` in the manifest of an export, and what messages call an example.
        takes: what exports answer, in messages.
        wire: a function: preprocessing of a task -> the fields of `tlkit.export.interface.Interface` that its input
            decides, as plain data.
        golden: a function: examples of the user's data, preprocessing -> what is recorded with an export, list of
            bytes; examples are made up where none were given.
        warmup: a function: preprocessing, contents, wire -> a list of `WarmupExample`.
        hostile: the module that lists what an export must refuse. `tlkit verify` runs it by its path, without tlkit.
        items: the module that turns what a caller gives into what is sent: `checked(item, position)`,
            `content(checked) -> bytes` and `refusal(item, position, data, max_pixels, said) -> NotAnsweredError`;
            empty where an example has named columns.
        commands: the class that tells the commands about items; see `tlkit.inputs.commands.InputCommands`.
        signature: a function: preprocessing, wire, answer -> the function of a signature whose inputs are named in the
            wire; empty where the input is one string [B].
        raw_checks: a function: a network's input, wire -> operations that refuse what its preprocessing never gives;
            empty where every value is fine.
        table: the class of the preprocessing where rows have named columns, an `EncodesRows`; empty for other inputs.
        examine: a function: data, quick=, columns named in config.toml -> the `Examined` that `tlkit check` looks at.
        drift: the module of the statistics that are compared with those of later data. `statistics(settings)` makes, of
            the settings of the preprocessing in the manifest, a function `Statistics`; `suffix(content)` names files of
            examples. It needs no Keras.
        drift_items: how many items of the validation data are looked at for it.
        nothing: a function: path -> the error that an input of `tlkit score` holds no item.
        files: how files of items are read.
        batch: items that are run together by default.
        shard: items of a shard of `tlkit score`.
        by_length: a batch costs what its longest item costs.
        damaged: a function: paths of items that were predicted, decoder= (whether TensorFlow may look) -> what is wrong
            with those that are damaged, by place; empty where there are none.
        sent: a class, where examples have named columns: inputs of a signature, columns of the export, whether it is
            the kit's own, a function that makes an array -> `arrays(rows)`, as a client sends them.
        row_source: how rows of files become columns of a network; None where an item is no row.
        binary: an item travels as bytes that are no text: the name of its input in signatures ends in `_bytes`, which
            TensorFlow Serving writes in base64.
        noise: a pattern of the lines that native code writes to stderr about items, which messages name better; empty
            where there are none.
        views: whether an augmented example is an example, for test-time augmentation.
        junk: bytes that every export refuses; empty where there are none.
        check_settings: settings of config.toml, SECTION.KEY=VALUE, with which `tlkit check` reads data, so that what is
            wrong is found instead of refused; those that a task does not have are left out.
        request: the body of a request to try, for a shell; CURL stands for the command.
    """

    name: str
    takes: str
    wire: str
    golden: str
    warmup: str
    hostile: str
    nothing: str
    commands: str
    files: FileSource
    signature: str = ""
    raw_checks: str = ""
    table: str = ""
    examine: str = ""
    check_settings: tuple[str, ...] = ()
    drift: str = ""
    drift_items: int = 1000
    items: str = ""
    batch: int = 32
    shard: int = 4096
    by_length: bool = False
    damaged: str = ""
    sent: str = ""
    row_source: RowSource | None = None
    binary: bool = False
    noise: str = ""
    views: bool = False
    junk: bytes = b""
    request: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Statistic:
    """One number or name of each item, which a person understands.

    Attributes:
        values: float64 [n] with NaN where it is missing, or str objects [n], "" where it is missing.
        names: names that are counted apart however rare they are.
        unit: of numbers.
    """

    values: np.ndarray
    names: tuple[str, ...] = ()
    unit: str = ""


#: What clients send, [n] by argument of serving_default -> the statistics by name.
Statistics = Callable[[Mapping[str, "np.ndarray"]], dict[str, Statistic]]


@dataclasses.dataclass(frozen=True)
class WarmupExample:
    """One example to warm up with.

    Attributes:
        content: the encoded image, the text or the tf.Example of a row.
        raw_shape: shape of what its preprocessing gives, without the batch.
        raw_value: any value that the raw input takes.
        columns: a row's value for each column, by argument; empty for other inputs.
    """

    content: bytes
    raw_shape: tuple[int | None, ...]
    raw_value: int
    columns: Mapping[str, bytes | float | int] = dataclasses.field(default_factory=dict)


class Preprocessing(Protocol):
    """Makes a network's input of what clients send; training, evaluation and the exported graph call the same object.

    Attributes:
        why_not: why a stock TensorFlow Serving cannot run it; empty where it can.
        tables: what the exported graph has to hold on to, such as lookup tables.
    """

    @property
    def why_not(self) -> str: ...  # noqa: D102
    @property
    def tables(self) -> Sequence[Any]: ...  # noqa: D102

    def batch(self, contents: Any) -> Any:
        """Return the network's input, a tensor [B, ...], of contents: string [B]."""

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, for the manifest and the record of a run."""


class EncodesRows(Preprocessing, Protocol):
    """The preprocessing of an input whose examples have named columns.

    Attributes:
        columns: what each column was fitted to be.
    """

    @property
    def columns(self) -> Sequence[Any]: ...  # noqa: D102
    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EncodesRows:
        """Return what `to_dict` described."""

    def frame_of(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """Return rows, each a value by column, as a DataFrame.

        Raises:
            DataError: a row is no mapping, has none of the columns, or holds a value of another type.
        """

    def to_arguments(self, frame: Any) -> Mapping[str, Any]:
        """Return the columns of a DataFrame as arrays [n] by the names of signatures."""

    def unreadable_values(self, frame: Any) -> Mapping[int, Any]:
        """Return `column`, `value` and what is `allowed` of values that cannot be read, by row of a DataFrame."""


class Augmentation(Protocol):
    """Changes training examples so that their labels stay true.

    Attributes:
        is_active: whether any example or label is changed at all.
    """

    @property
    def is_active(self) -> bool: ...  # noqa: D102

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values."""

    def mixed(self, alpha: float) -> Augmentation:
        """Return the same with pairs of examples blended by MixUp; `alpha` is its strength, and 0 turns it off."""

    def check_view(self, number: int) -> None:
        """Refuse a view that there is not.

        Raises:
            ConfigError: nothing changes examples, or `number` is no whole number from 1.
        """

    def view(self, examples: Any, number: int) -> Any:
        """Return examples, a tensor [B, ...] of a network's input, changed in the fixed way of this number from 1."""


class NotAnsweredError(DataError):
    """An item that the export, or a server, refused.

    Args:
        name: the path of an image, or which item it is.
        reason: why it was refused, one clause that goes on where the name ends.
        allowed: what is taken.

    Attributes:
        reason: as given.
    """

    def __init__(self, name: str, reason: str, allowed: str | None = None):
        super().__init__(f"{name} {reason}", allowed=allowed)
        self.reason = reason


def input_spec(name: str) -> InputSpec:
    """Return the spec of an input.

    Raises:
        ExportError: there is no such input.
    """
    if name not in INPUTS:
        raise ExportError("unknown input type", received=name, allowed=list(INPUTS), fix="upgrade tlkit")
    found: InputSpec = loaded(INPUTS[name])
    return found
