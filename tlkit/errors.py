"""The errors a user can meet: one small tree, and every message says what, received, allowed and fix."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Sequence


class Advice:
    """What to do about an error, naming an argument that the command line and config.toml call otherwise.

    The words are the same everywhere; `{}` in them stands for how the argument is given. In Python it is passed; the
    command line puts its own option or the key of config.toml there.

    Example:
        >>> str(Advice("repair them, or {}", "on_error", "skip"))
        'repair them, or pass on_error="skip"'

    Args:
        words: what to do, with `{}` once.
        name: of the argument in Python.
        value: that would help; None where the user has to choose it.
    """

    def __init__(self, words: str, name: str, value: object = None):
        self.words, self.name, self.value = words, name, value

    def said(self, say: Callable[[str, object], str]) -> str:
        """Return the advice with the argument as `say` puts it, given its name and value."""
        return self.words.replace("{}", say(self.name, self.value), 1)

    def __str__(self) -> str:
        return self.said(_passed)


def _passed(name: str, value: object) -> str:
    if value is None:
        return f"pass {name}"
    return f"pass {name}={value!r}" if isinstance(value, bool) else f"pass {name}={json.dumps(value)}"


class TlkitError(Exception):
    """Base of all tlkit errors.

    Args:
        what: what was wrong, one sentence without a final full stop.
        received: the offending value, shown with `repr`; leave out when the sentence already holds it.
        allowed: the values or the form that would have been accepted.
        fix: what to do about it.

    Attributes:
        exit_code: what the command line exits with: 2 for bad input, 1 for work that found a problem.
        advice: `fix`, where it names an argument.
    """

    exit_code = 2

    def __init__(self, what: str, *, received: object = None, allowed: object = None, fix: str | Advice | None = None):
        self.advice = fix if isinstance(fix, Advice) else None
        parts = [what]
        if received is not None:
            parts.append(f"received: {received!r}")
        if allowed is not None:
            listed = allowed if isinstance(allowed, str) else ", ".join(str(item) for item in _as_iterable(allowed))
            parts.append(f"allowed: {listed}")
        if fix is not None and str(fix):
            parts.append(str(fix))
        super().__init__("; ".join(parts))

    def message(self, say: Callable[[str, object], str]) -> str:
        """Return the message with the argument that it advises as `say` puts it; see `Advice`."""
        text = str(self)
        if self.advice is None:
            return text
        python = str(self.advice)
        return text.removesuffix(python) + self.advice.said(say) if text.endswith(python) else text


class ConfigError(TlkitError, ValueError):
    """An argument or a value of config.toml is not usable."""


class ArgumentError(ConfigError, TypeError):
    """A function has no argument of this name."""


class ProjectError(TlkitError):
    """A project folder is missing, not a project, or would be overwritten."""


class DataError(TlkitError, ValueError):
    """The user's data cannot be used as it is."""


class SeveralDataError(DataError):
    """Several things are wrong with the user's data.

    Args:
        what: what they have in common.
        errors: they stand below it, one a line.
        fix: what to do about all of them.

    Attributes:
        errors: as given.
    """

    def __init__(self, what: str, errors: Sequence[DataError], *, fix: str | None = None):
        super().__init__(what, fix=fix)
        self.errors = tuple(errors)
        self._headline = str(self)
        self.args = (self.message(_passed),)

    def message(self, say: Callable[[str, object], str]) -> str:
        """Return the message, a line for each error; arguments are put as `say` puts them."""
        return "\n".join([self._headline, *(f"  {' '.join(error.message(say).split())}" for error in self.errors)])


class ModelError(TlkitError, ValueError):
    """A backbone is unknown or a model does not fit what was asked."""


class WeightsError(TlkitError):
    """Pretrained weights could not be had or do not fit the architecture."""


class TrainingError(TlkitError):
    """Training cannot start or go on."""


class DivergedError(TrainingError):
    """The loss of a training is not finite any more."""


class ExportError(TlkitError):
    """A SavedModel could not be written or read."""


class VerificationError(TlkitError):
    """An export does not do what it must; it is not published."""

    exit_code = 1


class CheckError(TlkitError):
    """The check of the data before training failed."""

    exit_code = 1


class ScoringError(TlkitError):
    """A batch scoring failed, or its counts do not add up."""

    exit_code = 1


class ServerError(TlkitError):
    """A server of models is not there, or answered an error.

    Args:
        what: as in `TlkitError`.
        code: the canonical code (google/rpc/code.proto) by name, such as "UNAVAILABLE".
        received, allowed, fix: as in `TlkitError`.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        code: str = "UNKNOWN",
        received: object = None,
        allowed: object = None,
        fix: str | Advice | None = None,
    ):
        super().__init__(what, received=received, allowed=allowed, fix=fix)
        self.code = code


def did_you_mean(name: str, options: Iterable[str], n: int = 3) -> str:
    """Return ", did you mean 'x' or 'y'?" for the options nearest to `name`, or an empty string.

    >>> did_you_mean("resnet5", ["resnet50", "vgg16"])
    "did you mean 'resnet50'?"
    """
    near = difflib.get_close_matches(name, list(options), n=n, cutoff=0.5)
    return f"did you mean {' or '.join(repr(item) for item in near)}?" if near else ""


def check_choice(name: str, value: object, options: Iterable[str]) -> None:
    """Refuse a value that is not one of the options, and name the nearest ones.

    Raises:
        ConfigError: `value` is none of `options`.
    """
    allowed = tuple(options)
    if value not in allowed:
        raise ConfigError(
            f"unknown {name}", received=value, allowed=allowed, fix=did_you_mean(str(value), allowed) or None
        )


def missing_column(column: str, have: Iterable[object], origin: str) -> DataError:
    """Return the error about a column that a table does not have.

    >>> str(missing_column("labl", ["text", "label"], "reviews.csv"))
    "reviews.csv has no column 'labl'; allowed: text, label; did you mean 'label'?"

    Args:
        column: the name that was asked for.
        have: names of the columns that there are.
        origin: what messages call the table, or the row.
    """
    names = [str(name) for name in have]
    fix: str | Advice | None = did_you_mean(column, names) or None
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (",", "commas")):
        if len(names) == 1 and mark in names[0]:
            fix = Advice(f"its fields are separated by {name}: {{}}", "separator", mark)
    return DataError(f"{origin} has no column {column!r}", allowed=names, fix=fix)


def _as_iterable(value: object) -> Iterable[object]:
    return value if isinstance(value, Iterable) else (value,)
