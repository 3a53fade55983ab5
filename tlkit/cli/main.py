"""The `tlkit` command: registers the commands and turns errors into one line and an exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

import tlkit
from tlkit.cli import embeddings, samples, weights
from tlkit.cli.ask import ask_commands
from tlkit.cli.card import card
from tlkit.cli.check import check
from tlkit.cli.deploy import deploy
from tlkit.cli.doctor import doctor
from tlkit.cli.drift import drift
from tlkit.cli.evaluate import evaluate
from tlkit.cli.export import export
from tlkit.cli.find_lr import find_lr
from tlkit.cli.new import new
from tlkit.cli.output import note, set_quiet_environment, show_progress_lines
from tlkit.cli.predict import predict
from tlkit.cli.report import report
from tlkit.cli.score import score
from tlkit.cli.serve import serve
from tlkit.cli.templates import templates
from tlkit.cli.train import train
from tlkit.cli.verify import verify
from tlkit.errors import SeveralDataError, TlkitError

INTERRUPTED = 130

app = typer.Typer(
    name="tlkit",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for function in (
    new,
    templates,
    check,
    train,
    evaluate,
    report,
    card,
    predict,
    export,
    verify,
    serve,
    deploy,
    score,
    drift,
    doctor,
):
    app.command()(function)
for name, function in ask_commands():
    app.command(name)(function)
app.command("find-lr")(find_lr)
app.add_typer(weights.app, name="weights")
app.add_typer(samples.app, name="samples")
app.add_typer(embeddings.app, name="embeddings")


def _version(show: bool) -> None:
    if show:
        print(f"tlkit {tlkit.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Train models on photos, texts or tables, and export them for TensorFlow Serving.

    Start with:  tlkit new image-classification bees --data PHOTOS
    or with:     tlkit new text-sentiment reviews --data reviews.csv
    or with:     tlkit new tabular-embeddings houses --data houses.csv --target price
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Args:
        arguments: what follows `tlkit`.

    Returns:
        The exit code: 0 done, 1 the work found a problem, 2 wrong usage or bad input, 130 Ctrl-C.
    """
    own = list(arguments)
    end = own.index("--") if "--" in own else len(own)
    debug = "--debug" in own[:end]  # accepted before and after the command's name
    set_quiet_environment(debug)
    show_progress_lines()
    own = [word for position, word in enumerate(own) if word != "--debug" or position >= end]
    command = get_command(app)
    try:
        result = command.main(args=own, prog_name="tlkit", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except TlkitError as error:
        from tlkit.cli.advice import sayer

        return _report(error, error.exit_code, debug, message=error.message(sayer(own, command)))
    except typer.TyperException as error:  # the base of every usage error
        return _usage(error, debug)
    except typer.Abort:
        return INTERRUPTED
    except OSError as error:
        return _report(error, 2, debug)
    except Exception as error:  # noqa: BLE001 - the last line of defence still owes the user one clear line
        return _report(
            error, 1, debug, kind=f"{type(error).__name__}: ", hint="; run with --debug to see the traceback"
        )


def main() -> None:
    """Run the command line of this process and exit."""
    sys.exit(run(sys.argv[1:]))


def _usage(error: typer.TyperException, debug: bool) -> int:
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        note(message)
        return 2
    return _report(Exception(message), 2, debug)


def _report(
    error: BaseException, code: int, debug: bool, kind: str = "", hint: str = "", message: str | None = None
) -> int:
    if debug:
        traceback.print_exception(error)
    said = message or str(error)
    first, *others = said.split("\n") if isinstance(error, SeveralDataError) else [said]
    note(f"error: {kind}{' '.join(first.split())}{hint}")
    for line in others:
        note(line)
    return code
