"""Options of the functions that read data, in groups: objects, or flat keywords that stand for their fields."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from tlkit.errors import ArgumentError, ConfigError, did_you_mean
from tlkit.inputs.files.fields import Reading, reading_of
from tlkit.inputs.row.number_forms import NumberForm
from tlkit.targets.base import TargetKind
from tlkit.targets.regression import AutoTransform

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class NumberOptions:
    """How the numbers of a table are written, and what is missing.

    Args:
        decimal, thousands: the decimal mark, `"."` or `","`, and what stands between groups of three digits, `","`,
            `"."`, `" "` or `"'"`. By default they are inferred column by column, and reported in `findings`.
        missing: texts that mean a missing value in every column. The empty text does in any case, and in columns of
            numbers, dates and booleans the usual marks do (`USUAL_MISSING`): a category or class NA is none of them.
        formats: column -> a `NumberForm` or its fields, if a column is written otherwise, such as
            `{"price": {"unit": "€", "missing": ["-"]}}`. Of a column of text, `missing` alone counts.
    """

    decimal: str = "."
    thousands: str = ""
    missing: Sequence[str] = ()
    formats: Mapping[str, NumberForm | Mapping[str, Any]] | None = None

    def reading(self, kinds: Mapping[str, str]) -> Reading:
        """Return how fields are read.

        Args:
            kinds: column -> its kind, if it is known.

        Raises:
            ConfigError: an option is invalid.
        """
        return reading_of(
            decimal=self.decimal, thousands=self.thousands, missing=self.missing, formats=self.formats, kinds=kinds
        )


@dataclasses.dataclass(frozen=True)
class FileOptions(NumberOptions):
    """How the files of a table are written.

    Args:
        separator: between the fields of a text file, if it is not that of its suffix.
        encoding: of a text file, any codec that Python has.
        decimal, thousands, missing, formats: see `NumberOptions`.
    """

    separator: str | None = None
    encoding: str = "utf-8"


@dataclasses.dataclass(frozen=True)
class TargetOptions:
    """What the targets are and how they are learned.

    Args:
        target_kinds: target -> `"regression"`, `"single_label"` or `"multi_label"`, instead of what is inferred:
            numbers with a fraction and whole numbers with more than 20 values are regressions, all else is classes;
            3 to 50 whole numbers are reported in `questions`.
            Two or more columns of 0 and 1 that are all `"multi_label"` make one target, `labels`.
        transform: of regression targets: `"none"`, `"log"`, `"log1p"` or `"yeo_johnson"`, or target -> transform.
            `"auto"` (of tables alone) takes the one that predicts best in the target's own unit; see
            `choose_transforms`.
        y_range: lowest and highest prediction of a regression, or target -> range.
        loss_weights: target -> weight of its loss.
    """

    target_kinds: Mapping[str, TargetKind] | None = None
    transform: AutoTransform | Mapping[str, AutoTransform] = "none"
    y_range: Sequence[float] | Mapping[str, Sequence[float]] | None = None
    loss_weights: Mapping[str, float] | None = None


def grouped(
    function: str, flat: Mapping[str, Any], groups: Mapping[str, tuple[type, Any]], others: Sequence[str] = ()
) -> list[Any]:
    """Return the option objects of a call: as they were passed, or made of the flat keywords of their fields.

    Example:
        >>> grouped("table_from_file", {"separator": ";"}, {"read": (FileOptions, None)})
        [FileOptions(decimal='.', thousands='', missing=(), formats=None, separator=';', encoding='utf-8')]

    Args:
        function: the name of the function, for messages.
        flat: the flat keywords of the call.
        groups: argument -> class of its object, and the object that was passed, or None.
        others: names of the further keywords of the function, for messages.

    Raises:
        ArgumentError: a keyword is unknown.
        ConfigError: an object is of another class, or an object and a keyword of it are both given.
    """
    homes = {name: argument for argument, (own, _) in groups.items() for name in fields_of(own)}
    for name in flat:
        if name not in homes:
            known = [*homes, *groups, *others]
            near = did_you_mean(name, known)
            raise ArgumentError(f"{function} has no argument {name!r}", fix=near or f"arguments: {', '.join(known)}")
    found = []
    for argument, (own, given) in groups.items():
        values = {name: value for name, value in flat.items() if homes[name] == argument}
        if given is None:
            found.append(own(**values))
            continue
        if not isinstance(given, own):
            raise ConfigError(f"{argument} is invalid", received=given, allowed=f"a {own.__name__}")
        if values:
            name = next(iter(values))
            raise ConfigError(
                f"{argument} and {name} cannot both be given",
                received=values,
                fix=f"pass {argument}={own.__name__}({name}=..., ...)",
            )
        found.append(given)
    return found


def with_fields_of(*groups: type) -> Callable[[Function], Function]:
    """Return a decorator that names the fields of classes of options in the signature of a function.

    `inspect.signature` and `help` then show each flat keyword with its default, in place of `**options`.
    """

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
        flat = [
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
            for group in groups
            for field in dataclasses.fields(group)
            if field.name in fields_of(group)
        ]
        function.__signature__ = signature.replace(parameters=[*own, *flat])  # type: ignore[attr-defined]
        return function

    return decorate


def fields_of(own: type) -> list[str]:
    """Return the names of the arguments of a class of options."""
    fields: Any = dataclasses.fields(own)
    return [field.name for field in fields if not field.metadata.get("internal")]
