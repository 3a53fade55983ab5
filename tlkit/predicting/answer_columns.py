"""The columns that are added to an input's own: the same for `tlkit predict` and `tlkit score`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tlkit.errors import ConfigError
from tlkit.export.interface import Output, region_prefixes
from tlkit.export.manifest import Manifest
from tlkit.targets.base import is_any_number
from tlkit.targets.survival_columns import CURVE, time_name

if TYPE_CHECKING:
    import numpy as np

_REGION = {"set": "string", "lower": "double", "upper": "double"}  # what conformal predictions hold


class AnswerColumns:
    """Names, types and values of the columns that hold answers.

    These are `predicted_<target>` (`predicted` where the target has no name), `probability_<class>` (with several
    targets `probability_<target>=<class>`) and `survival_<time>`. With `trust`, also `conformal_set_<target>` or
    `conformal_lower_<target>` and `conformal_upper_<target>`, `trust_distance` and `trust_outlier`.

    Example:
        >>> AnswerColumns.of(Manifest.read("saved_models/photos/1"), score_columns=False).names
        ['predicted', 'probability_ants', 'probability_bees']

    Args:
        outputs: what is answered.
        top: of one classification, how many of the best classes to write instead of a probability for each.
        separator: between several labels of an answer.
        score_columns: write the probabilities again as `score_<class>`, their name in release 0.1.
        trust: of the signatures `conformal` and `trust`, those that are written, with the names of their outputs.
    """

    def __init__(
        self,
        outputs: Sequence[Output],
        *,
        top: int | None = None,
        separator: str = "|",
        score_columns: bool = False,
        trust: Mapping[str, Iterable[str]] | None = None,
    ):
        self.outputs, self.separator = list(outputs), separator
        self._top = None if top is None else min(top, len(self.outputs[0].class_names))
        types = self._answer_types()
        aliases = [name for name in types if name.startswith("probability_")] if score_columns else []
        self._aliases = {f"score_{name.removeprefix('probability_')}": name for name in aliases}
        self._types = types | self._trust_types(trust or {}) | dict.fromkeys(self._aliases, "double")

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        *,
        top: int | None = None,
        target: str | None = None,
        separator: str = "|",
        score_columns: bool = True,
        trust: bool = False,
    ) -> AnswerColumns:
        """Return the columns of an export.

        Args:
            manifest: of the export.
            top, separator: as above.
            target: of rows, a target of the export; where the export does not name it, as those of `tlkit` 0.1 with one
                target, this is its name: the column of the answer is called `predicted_<target>`, else `predicted`.
            score_columns: as above; only one classification of images or texts had such columns.
            trust: write what the signatures `conformal` and `trust` answer, where the export has them.

        Raises:
            ConfigError: an option does not go with the export.
        """
        interface = manifest.interface
        rows = bool(interface.columns)
        outputs = interface.outputs_or(manifest.labels, manifest.objective)
        if top is not None and rows:
            raise ConfigError("--top is an option for photos and texts; rows get all probabilities", received=top)
        if target is not None and not rows:
            raise ConfigError("--target is an option for exports that take rows", received=target, fix="remove it")
        own = [output.target for output in outputs if output.target]
        if target is not None and own and target not in own:
            raise ConfigError("unknown target", received=target, allowed=own)
        if top is not None and own:
            raise ConfigError("--top is an option for classifiers, and this export is not a classifier", received=top)
        named = [output.model_copy(update={"target": output.target or target or ""}) for output in outputs]
        aliases = score_columns and not rows and not own
        signatures = trust_signatures(manifest) if trust else []
        further = {name: manifest.signatures[name].outputs for name in signatures}
        return cls(named, top=top, separator=separator, score_columns=aliases, trust=further)

    @property
    def names(self) -> list[str]:
        """Return the names of the columns, in order."""
        return list(self._types)

    def types(self) -> dict[str, Any]:
        """Return the Arrow type of each column."""
        import pyarrow as pa

        return {name: pa.type_for_alias(alias) for name, alias in self._types.items()}

    def of_record(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns of one record; see `of_records`."""
        return self.of_records([record])[0]

    def of_records(self, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the columns of records, as `SavedModelPredictor.predict` returns them, with all classes."""
        return self.of_numbers(self.numbers(records), records)

    def numbers(self, records: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the numbers of records, float64 [n, K], targets side by side."""
        import numpy as np

        width = sum(one.width for one in self.outputs)
        return np.array([self._numbers(record) for record in records], np.float64).reshape(len(records), width)

    def of_numbers(self, numbers: np.ndarray, trust: Sequence[Mapping[str, Any]] | None = None) -> list[dict[str, Any]]:
        """Return the columns of numbers, a dictionary for each item.

        Args:
            numbers: float32 or float64 [n, K], targets side by side: values, probabilities of classes, risk and
                survival.
            trust: n dictionaries with what `tlkit.export.records.add_trust` adds to a record.
        """
        found = self._ranked(numbers) if self._top is not None else self._columns(numbers)
        rows = [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]
        for row, record in zip(rows, trust or (), strict=False):
            row |= self._trusted(record)
        for row in rows if self._aliases else ():
            row |= {alias: row[name] for alias, name in self._aliases.items()}
        return rows

    def _columns(self, numbers: np.ndarray) -> dict[str, list[Any]]:
        predicted: dict[str, list[Any]] = {}
        others: dict[str, list[Any]] = {}
        begin = 0
        for one in self.outputs:
            part = numbers[:, begin : begin + one.width]
            begin += one.width
            if one.value:
                predicted[_named("predicted", one)] = _plain(part[:, 0].astype(one.dtype, copy=False))
                others |= zip(_numbered(one, len(self.outputs)), map(_rounded, part[:, 1:].T), strict=True)
                continue
            names = one.class_names
            if is_any_number(one.kind):
                above = [zip(names, row, one.limits, strict=True) for row in part]
                chosen = [self.separator.join(name for name, p, limit in row if p > limit) for row in above]
            else:
                chosen = [names[number] for number in part.argmax(axis=1)]
            predicted[_named("predicted", one)] = chosen
            others |= zip(_numbered(one, len(self.outputs)), map(_rounded, part.T), strict=True)
        return {**predicted, **others}

    def _ranked(self, numbers: np.ndarray) -> dict[str, list[Any]]:
        import numpy as np

        order = np.argsort(-numbers, axis=1, kind="stable")[:, : self._top]
        best = np.take_along_axis(numbers, order, axis=1)
        found: dict[str, list[Any]] = {}
        for rank in range(order.shape[1]):
            found[f"class_{rank + 1}"] = [self.outputs[0].class_names[number] for number in order[:, rank]]
            found[f"probability_{rank + 1}"] = _rounded(best[:, rank])
        return found

    def _numbers(self, record: Mapping[str, Any]) -> list[float]:
        """Return the numbers of a record in the order of the outputs."""
        numbers: list[float] = []
        for one in self.outputs:
            if one.value:
                numbers += [record["predictions"][one.target], *(record[CURVE].values() if one.curve else ())]
                continue
            classes, scores = record["classes"], record["scores"]
            if isinstance(classes, Mapping):
                classes, scores = classes[one.target], scores[one.target]
            own = dict(zip(classes, scores, strict=True))
            numbers += [own[label] for label in one.class_names]
        return numbers

    def _trusted(self, record: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        regions = record.get("conformal", {})
        for prefix, one in zip(region_prefixes(self.outputs), self.outputs, strict=True) if regions else ():
            for name in _REGION:
                if (value := regions.get(f"{prefix}{name}")) is not None:
                    value = self.separator.join(value) if isinstance(value, list) else value
                    found[_named(f"conformal_{name}", one)] = value
        if "distance" in record:
            found |= {"trust_distance": record["distance"], "trust_outlier": record["outlier"]}
        return found

    def _answer_types(self) -> dict[str, str]:
        if self._top is not None:
            types = {"class": "string", "probability": "double"}
            return {f"{name}_{rank}": types[name] for rank in range(1, self._top + 1) for name in types}
        found = {_named("predicted", one): "double" if one.value else "string" for one in self.outputs}
        for one in self.outputs:
            found |= dict.fromkeys(_numbered(one, len(self.outputs)), "double")
        return found

    def _trust_types(self, trust: Mapping[str, Iterable[str]]) -> dict[str, str]:
        found: dict[str, str] = {}
        regions = {name.removesuffix("in_set") + "set" * name.endswith("in_set") for name in trust.get("conformal", ())}
        for prefix, one in zip(region_prefixes(self.outputs), self.outputs, strict=True):
            own = {name: kind for name, kind in _REGION.items() if f"{prefix}{name}" in regions}
            found |= {_named(f"conformal_{name}", one): kind for name, kind in own.items()}
        return found | ({"trust_distance": "double", "trust_outlier": "bool"} if "trust" in trust else {})


def trust_signatures(manifest: Manifest) -> list[str]:
    """Return the signatures that say how far an answer can be trusted; none where the model was not calibrated."""
    return [name for name in ("conformal", "trust") if name in manifest.signatures]


def numbers_of(record: Mapping[str, Any]) -> list[float]:
    """Return all numbers of a record, as `SavedModelPredictor.predict` returns it."""
    scores = record.get("scores", [])
    by_target = [*scores.values()] if isinstance(scores, Mapping) else [scores]
    values = [*record.get("predictions", {}).values(), *record.get(CURVE, {}).values()]
    return [*values, *(score for part in by_target for score in part)]


def _named(what: str, one: Output) -> str:
    return f"{what}_{one.target}" if one.target else what


def _numbered(one: Output, targets: int) -> list[str]:
    """Return the columns of an output beside the predicted value or class."""
    stem = f"{one.target}=" if targets > 1 else ""
    return [f"probability_{stem}{label}" for label in one.class_names] + [f"{CURVE}_{time_name(t)}" for t in one.times]


def _rounded(values: np.ndarray) -> list[float]:
    return [round(value, 6) for value in values.tolist()]


def _plain(values: np.ndarray) -> list[float]:
    """Return numbers with the fewest digits that stand for them."""
    from tlkit.export.short_floats import short_floats

    if values.dtype.name == "float32":
        return short_floats(values).tolist()
    return [float(f"{value:.15g}") for value in values]  # the last digits of a float64 are noise of its arithmetic
