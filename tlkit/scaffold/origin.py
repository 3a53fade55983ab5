"""Where the installed tlkit came from, as a line of a project's requirements.txt."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

#: The answer of the templates that stands for "find it out".
AUTO = "auto"
_PACKAGE = Path(__file__).resolve().parents[1]
_PLAIN = re.compile(r"[\w./+~@=,:-]+")
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")


def requirement_for(project: Path) -> str:
    """Return the line that installs this tlkit again, in a project's folder.

    Example:
        >>> requirement_for(Path("bees"))
        'tlkit~=0.2.0'

    Args:
        project: the project's folder; it need not exist.

    Returns:
        A requirement as pip reads it. A tlkit that runs from its own checkout is that folder, editable.
    """
    checkout = _PACKAGE.parent
    if (checkout / "pyproject.toml").is_file():
        return requirement_of({"url": checkout.as_uri(), "dir_info": {"editable": True}}, "", project)
    return requirement_of(_direct_url(), importlib.metadata.version("tlkit"), project)


def requirement_of(direct_url: Mapping[str, Any] | None, version: str, project: Path) -> str:
    """Return the requirement for one origin.

    Args:
        direct_url: the content of direct_url.json (PEP 610), which pip writes for all that comes from no index; None
            where there is none.
        version: of the installed tlkit.
        project: the project's folder.

    Returns:
        `tlkit~=VERSION` from an index; `tlkit @ git+URL@COMMIT` from a repository; `tlkit @ URL` of an archive on a
        server; the path of a wheel, relative to the project where it lies beside it; the path of a folder, relative
        to the project, after `-e ` where it was installed as editable. User names, passwords and tokens are left out.
    """
    url = str((direct_url or {}).get("url", ""))
    parts = urlsplit(url)
    if direct_url is None or not parts.scheme:
        return f"tlkit~={version.partition('+')[0]}"
    folder, vcs = direct_url.get("dir_info"), direct_url.get("vcs_info")
    subdirectory = direct_url.get("subdirectory")
    if vcs:
        where = f"#subdirectory={subdirectory}" if subdirectory else ""
        return f"tlkit @ {vcs['vcs']}+{_without_secrets(parts)}@{vcs['commit_id']}{where}"
    if parts.scheme == "file":
        path = Path(unquote(parts.path))
        if folder is None:
            return _line(path_from(project, path), path)
        path = path / subdirectory if subdirectory else path
        written = path_from(project, path, always=True)
        return f"-e {_line(written, path, '')}" if folder.get("editable") else _line(written, path)
    digest = (direct_url.get("archive_info", {}).get("hashes") or {}).get("sha256")
    marks = [f"sha256={digest}"] * bool(digest) + [f"subdirectory={subdirectory}"] * bool(subdirectory)
    return f"tlkit @ {_without_secrets(parts)}" + (f"#{'&'.join(marks)}" if marks else "")


def path_from(project: Path, path: Path, *, always: bool = False) -> str:
    """Return a path as it is to be written down in a project.

    Args:
        project: the project's folder; it need not exist.
        path: a file or folder of this machine.
        always: write it relative to the project wherever it is.

    Returns:
        Relative to the project, beginning with a dot, where the path lies in the project or beside it; otherwise
        absolute.
    """
    root, real = project.resolve(), path.resolve()
    if not (always or is_beside(root, real)):
        return real.as_posix()
    try:
        relative = Path(os.path.relpath(real, root)).as_posix()
    except ValueError:  # another drive
        return real.as_posix()
    return relative if relative.startswith(".") else f"./{relative}"


def is_beside(project: Path, path: Path) -> bool:
    """Say whether a path lies in a project or in the folder that holds the project; both are resolved."""
    parent = project.parent
    return path.is_relative_to(project) or (parent != Path(parent.anchor) and path.is_relative_to(parent))


def _line(written: str, path: Path, name: str = "tlkit @ ") -> str:
    """Return a path as pip reads it; one with spaces, semicolons and the like goes as a URL, which escapes them."""
    return written if _PLAIN.fullmatch(written) else f"{name}{path.resolve().as_uri()}"


def _direct_url() -> dict[str, Any] | None:
    try:
        text = importlib.metadata.distribution("tlkit").read_text("direct_url.json")
        content = json.loads(text) if text else None
    except (importlib.metadata.PackageNotFoundError, OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _without_secrets(parts: SplitResult) -> str:
    """Return a URL without what could let somebody in: user names, passwords, queries and fragments.

    The user of an SSH address stays, and so do names of environment variables, which pip puts in.
    """
    given, at, host = parts.netloc.rpartition("@")
    user, _, password = given.partition(":")
    kept = ""
    if parts.scheme.endswith("ssh"):
        kept = user
    elif at and all(_VARIABLE.fullmatch(one) for one in (user, password) if one):
        kept = given
    return f"{parts.scheme}://{kept}{'@' if kept else ''}{host}{parts.path}"
