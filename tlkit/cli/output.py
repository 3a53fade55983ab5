"""What a terminal and a program get to see: quiet imports, and a stdout that carries nothing but JSON."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator

# Reads from the pipe until all that have it open are gone; Ctrl-C is for the command, not for it.
_FILTER = """
import os, re, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
noise, rest = re.compile(sys.argv[1].encode()), b""
while part := os.read(0, 65536):
    *lines, rest = (rest + part).split(b"\\n")
    os.write(1, b"".join(line + b"\\n" for line in lines if not noise.match(line)))
os.write(1, rest)
"""


def set_quiet_environment(debug: bool = False) -> None:
    """Ask TensorFlow's native code to be quiet, which says nothing that Python is not told as an exception.

    Must run before TensorFlow is imported.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    for name, value in (("TF_CPP_MIN_LOG_LEVEL", "0" if debug else "3"), ("MPLBACKEND", "Agg")):
        os.environ.setdefault(name, value)


def show_progress_lines() -> None:
    """Show the library's progress and warnings on stderr as plain lines, and nothing of its neighbours'."""
    logger = logging.getLogger("tlkit")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [_StderrLines()]
    if not sys.warnoptions:  # python -W still shows them
        warnings.simplefilter("ignore")


class _StderrLines(logging.Handler):
    """Writes to what stderr is now: tests and `stdout_to_stderr` exchange it."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        note(prefix + record.getMessage())


def import_tensorflow() -> None:
    """Import TensorFlow and wake its devices without the lines that it writes before its log level counts.

    Native code writes them straight to file descriptor 2. They are kept aside, and shown if the import fails.
    """
    if "tensorflow" in sys.modules:
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as aside:
        keep = os.dup(2)
        os.dup2(aside.fileno(), 2)
        done = False
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
            tf.get_logger().addFilter(_is_no_retracing)
            done = True
        finally:
            os.dup2(keep, 2)
            os.close(keep)
            if not done:
                aside.seek(0)
                os.write(2, aside.read())


def _is_no_retracing(record: logging.LogRecord) -> bool:
    """Return whether a line of TensorFlow says anything to users: each of several networks is traced once."""
    return "triggered tf.function retracing" not in record.getMessage()


@contextlib.contextmanager
def native_noise_filtered() -> Iterator[None]:
    """While open, drop the lines of libjpeg and its like on file descriptor 2; tlkit names what they are about.

    Native code and child processes write through a small process that passes on everything else, so that the last words
    of a process that dies are not lost with it. Python's own `sys.stderr` goes on writing to where it did.
    """
    from tlkit.inputs.base import INPUTS, input_spec

    sys.stderr.flush()
    try:
        keep = os.dup(2)
    except OSError:  # there is no stderr that could be noisy
        yield
        return
    python_stderr, own = sys.stderr, None
    with contextlib.suppress(OSError, ValueError, AttributeError):  # what stands for stderr in tests has no descriptor
        if sys.stderr.fileno() == 2:
            own = os.fdopen(os.dup(keep), "w", 1, encoding=sys.stderr.encoding, errors=sys.stderr.errors)
            sys.stderr = own
    reader, writer = os.pipe()
    noise = "|".join(spec.noise for spec in map(input_spec, INPUTS) if spec.noise)
    command = [sys.executable, "-I", "-S", "-c", _FILTER, noise]
    process = subprocess.Popen(command, stdin=reader, stdout=keep, start_new_session=True)
    os.close(reader)
    os.dup2(writer, 2)
    os.close(writer)
    try:
        yield
    finally:
        os.dup2(keep, 2)
        if own is not None:
            sys.stderr = python_stderr
            own.close()
        os.close(keep)
        with contextlib.suppress(subprocess.TimeoutExpired):  # a process that was started meanwhile has it open still
            process.wait(timeout=2)


@contextlib.contextmanager
def stdout_to_stderr(active: bool = True) -> Iterator[None]:
    """While open, send everything written to stdout, by Python or by native code, to stderr instead."""
    if not active:
        yield
        return
    sys.stdout.flush()
    keep, python_stdout = os.dup(1), sys.stdout
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = python_stdout
        os.dup2(keep, 1)
        os.close(keep)


def print_json(value: object) -> None:
    """Write one JSON document to stdout."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))


def note(message: str) -> None:
    """Tell a person something on stderr, where it does not disturb a program that reads stdout."""
    print(message, file=sys.stderr)


@contextlib.contextmanager
def counting(total: int, items: str) -> Iterator[Callable[[int], None]]:
    """Show on stderr how far a long work is: a bar on a terminal, a plain line now and then elsewhere.

    Example:
        with counting(1000, "texts") as advance:
            advance(32)

    Args:
        total: how many items there are.
        items: what they are, in the plural.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(items, total=total)
            yield lambda count: bar.advance(task, count)
        return
    done = told = 0

    def advance(count: int) -> None:
        nonlocal done, told
        done += count
        if done == total or done - told >= total / 10:  # at most ten lines
            told = done
            note(f"{done:,} of {total:,} {items}")

    yield advance
