"""Complete a project that plain cookiecutter made: shared files, files that the answers leave out, requirements.txt.

The hook of the template gives ANSWERS. `tlkit new` does the same without hooks.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from cookiecutter.generate import generate_files

ANSWERS = globals()["ANSWERS"]
SHARED = Path(__file__).resolve().parents[1]


def asked(root, *words):
    """Return what git says about the clone that holds this template; empty where it says nothing."""
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def origin():
    """Return a requirement, or None where only a version can be named."""
    template = ANSWERS["_template"]
    root = next((one for one in SHARED.parents if (one / "pyproject.toml").is_file()), None)
    if root is None or template.endswith(".zip"):  # cookiecutter removes what it unpacked
        return None
    if not re.match(r"[a-z+]{2,}:|[\w.-]+@", template):
        path = os.path.relpath(root, Path.cwd().resolve())
        return path if re.fullmatch(r"[\w./+~@=,:-]+", path) else f"tlkit @ {root.as_uri()}"
    url, commit = asked(root, "remote", "get-url", "origin"), asked(root, "rev-parse", "HEAD")
    short = re.fullmatch(r"([\w.-]+@[\w.-]+):(?!//)(.+)", url)
    url = f"ssh://{short[1]}/{short[2]}" if short else url
    parts = urlsplit(url)
    given, _, host = parts.netloc.rpartition("@")
    user = given.partition(":")[0] if parts.scheme == "ssh" else ""  # of others it may be a token
    url = f"{parts.scheme}://{user}{'@' * bool(user)}{host}{parts.path}"
    return f"tlkit @ git+{url}@{commit}" if parts.scheme and commit else None


# A template's own file of the same name stays.
generate_files(
    SHARED,
    {"cookiecutter": ANSWERS},
    output_dir="..",
    overwrite_if_exists=True,
    skip_if_file_exists=True,
    accept_hooks=False,
)
for question, choices in ANSWERS.get("_omitted", {}).items():
    for name in choices.get(ANSWERS[question], ()):
        shutil.rmtree(name)

if ANSWERS["tlkit_requirement"] == "auto":
    requirements = Path("requirements.txt")
    text = requirements.read_text(encoding="utf-8")
    version = f"tlkit~={ANSWERS['_tlkit']}"
    requirements.write_text(text.replace(version, origin() or version, 1), encoding="utf-8")
