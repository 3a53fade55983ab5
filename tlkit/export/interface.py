"""What an export of each kind of task takes, as data; imports neither TensorFlow nor Keras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from tlkit.errors import ExportError
from tlkit.inputs.base import InputSpec, Preprocessing, input_spec
from tlkit.inputs.wire import argument_names, as_held
from tlkit.lazy import loaded
from tlkit.tasks.base import TASKS, spec_of

if TYPE_CHECKING:
    from tlkit.models.task import Task


class InputColumn(BaseModel):
    """One column of a table as clients send it.

    Args:
        name: what the table calls it.
        argument: its name in the signatures and in tf.Examples.
        dtype: "string", "int64", "float32" or "float64"; the latter comes in decimals, as bytes, in tf.Examples.
        kind: "categorical", "continuous" or "date".
        absent: what stands for a missing value: "", the float NaN (written "NaN"), or the smallest int64.
        form: how its numbers are written in files, as `tlkit.inputs.row.number_forms.NumberForm.to_dict` gives it;
            empty for plain numbers and text. Clients send numbers.
        sample: a value that it reads, where it refuses others; empty where it takes whatever comes.
    """

    model_config = ConfigDict(frozen=True)
    name: str
    argument: str
    dtype: str
    kind: str
    absent: str | int
    form: dict[str, Any] = {}
    sample: str = ""

    @property
    def absent_value(self) -> bytes | float | int:
        """What stands for a missing value, as a tensor holds it."""
        return as_held(self.absent, self.dtype)


class Output(BaseModel):
    """What serving_default answers about one target, and by which names.

    Args:
        target: the column that was learned; empty where the manifest's labels say it all.
        kind: "regression", "single_label", "multi_label" or "survival".
        class_names: the classes; empty for a regression.
        thresholds: of several labels, the probability above which each is predicted; empty for 0.5.
        value: the output [B] of a regression, or of a risk.
        classes, scores: the outputs of a classification, string and float32 [B, k], best first.
        curve: the output float32 [B, T] of a risk with the probability to be without event at each of `times`.
        times: T numbers, rising; empty where there is no curve.
        unit: of a regression's values, as the training's files wrote it, such as "€"; empty for plain numbers.
        dtype: of the value: "float32" or "float64".
        middle, spread: of the values that were learned, where they are float64: differences are measured by them.
    """

    model_config = ConfigDict(frozen=True)
    target: str
    kind: str
    class_names: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = ()
    value: str = ""
    classes: str = ""
    scores: str = ""
    curve: str = ""
    times: tuple[float, ...] = ()
    unit: str = ""
    dtype: str = "float32"
    middle: float = 0.0
    spread: float = 1.0

    @property
    def width(self) -> int:
        """How many numbers of an answer are about it."""
        return 1 + len(self.times) if self.value else len(self.class_names)

    @property
    def limits(self) -> tuple[float, ...]:
        """The probability above which each of several labels is predicted."""
        return self.thresholds or (0.5,) * len(self.class_names)

    @property
    def stem(self) -> str:
        """What the names of its outputs begin with; empty where there is one classification."""
        return (self.value or self.scores.removesuffix("scores")).rstrip("_")

    @property
    def names(self) -> tuple[str, ...]:
        """The outputs that are about it."""
        return tuple(filter(None, (self.value, self.curve, self.classes, self.scores)))


def region_prefixes(outputs: Sequence[Output]) -> list[str]:
    """Return what the names of each target's region begin with in the signature conformal.

    Args:
        outputs: of the export; none where it is one classification of the manifest's labels.
    """
    return [f"{output.stem}_" for output in outputs] if len(outputs) > 1 else [""]


class Interface(BaseModel):
    """What clients send to an export, and by which names; part of manifest.json.

    Whoever reads an export learns it from here: verification, prediction and the servers hold no table of kinds.

    Example:
        >>> interface_of(task).input
        'image_bytes'

    Args:
        content: what one example is: "image" (an encoded photo), "text" (UTF-8) or "row" (a serialized tf.Example).
        input: name of the string [B] input of serving_default, probabilities and embedding; empty for rows, which
            come as `columns`.
        feature: the bytes feature of the tf.Examples that the signature classify takes; empty for rows, whose
            tf.Examples have a feature for each column.
        raw_signature: the signature for those who preprocess themselves, and `raw_input` the name of its one input.
        raw_dtype: dtype of that input, and `raw_shape` its shape, None where it is free.
        vocabulary: token ids are at least 0 and below it; None where the raw input is no token ids.
        max_tokens: the most tokens of a row; beyond it a row is made of whole windows of `max_tokens`.
        max_windows: the most windows of a row.
        columns: what a row is made of, an input [B] each; empty for other contents.
        outputs: what is answered about each target; empty where it is one classification of the manifest's labels.
        answers: the signature that answers [B, K] in the order of the labels, and the name of its output: float32, or
            float64 where one of the outputs is.
        example_signature: "classify" or "regress", which take tf.Examples; empty where there is neither.
        code_sizes: the raw input begins with so many category codes, each a whole number below its size.
    """

    model_config = ConfigDict(frozen=True)
    content: str
    input: str
    feature: str
    raw_signature: str
    raw_input: str
    raw_dtype: str
    raw_shape: tuple[int | None, ...]
    vocabulary: int | None = None
    max_tokens: int | None = None
    max_windows: int = 1
    columns: tuple[InputColumn, ...] = ()
    outputs: tuple[Output, ...] = ()
    answers: str = "probabilities"
    example_signature: str = "classify"
    code_sizes: tuple[int, ...] = ()

    def outputs_or(self, labels: Sequence[str], objective: str) -> tuple[Output, ...]:
        """Give what is answered: the outputs, or the one classification of these labels."""
        plain = Output(target="", kind=objective, class_names=tuple(labels), classes="classes", scores="scores")
        return self.outputs or (plain,)


def input_of(task: Task) -> InputSpec:
    """Return the spec of a task's input.

    Raises:
        ExportError: no export is known for this kind of task.
    """
    if task.kind not in TASKS:
        raise ExportError("tasks of this type cannot be exported", received=task.kind, allowed=sorted(TASKS))
    return input_spec(spec_of(task.kind).input)


def interface_of(task: Task) -> Interface:
    """Give the interface of a task's export.

    Args:
        task: a task of any kind that can be exported.

    Returns:
        For images: image_bytes, "image/encoded", pixels float32 [B, S, S, 3]. For texts: text, "text", token_ids
        int32 [B, T] of the signature tokens. For rows of tables: an input for each column, encoded float32 [B, D].
        Whatever the input, outputs other than one classification are named after their targets.

    Raises:
        ExportError: no export is known for this kind of task, or a stock server could not run its preprocessing.
    """
    preprocessing: Preprocessing = task.preprocessing
    spec = input_of(task)
    if preprocessing.why_not:
        raise ExportError(
            f"{task.backbone_name} cannot be exported: {preprocessing.why_not}",
            fix="train on an encoder with a WordPiece or SentencePiece tokenizer, such as bge-small-en-v1.5",
        )
    found = Interface(**loaded(spec.wire)(preprocessing))
    outputs = _outputs(task)
    plain = not outputs[0].target and not outputs[0].thresholds
    if not found.columns and plain:  # one classification: the manifest's labels say it all
        return found
    only = outputs[0] if len(outputs) == 1 else None
    if only is not None and only.classes:
        return found.model_copy(update={"outputs": outputs})
    examples = "regress" if only is not None and not only.curve and only.dtype == "float32" else ""
    return found.model_copy(update={"outputs": outputs, "answers": "predictions", "example_signature": examples})


def _outputs(task: Task) -> tuple[Output, ...]:
    """Name the outputs: those of one classification as everywhere, others after their targets."""
    targets = task.objective.targets
    if task.objective.classes is not None:
        about = {"kind": task.objective.name, "class_names": task.class_names}
        return (Output(**targets[0].wire() | about, target="", classes="classes", scores="scores"),)
    arguments = argument_names([target.name for target in targets])
    taken = {"predictions", "probabilities"}  # where all numbers stand side by side
    outputs = []
    for target in targets:
        stem, number = arguments[target.name], 1
        while True:
            base = stem if number == 1 else f"{stem}_{number}"
            names: dict[str, Any] = {part: base + end for part, end in target.output_parts.items()}
            if taken.isdisjoint(names.values()):
                break
            number += 1
        taken.update(names.values())
        outputs.append(Output(target=target.name, **target.wire(), **names))
    return tuple(outputs)
