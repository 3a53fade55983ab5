"""The workflow files and policies of the repository are valid and run the commands that developers run."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[2]
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))


def test_the_workflows_are_valid():
    assert [path.stem for path in WORKFLOWS] == ["release", "test"]
    schema = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*schema, *map(str, WORKFLOWS)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_tests_run_on_every_supported_python():
    matrix = yaml.safe_load((REPOSITORY / ".github/workflows/test.yml").read_text())["jobs"]["test"]["strategy"]
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    versions = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert matrix["matrix"]["python"] == versions


def test_the_workflows_call_targets_of_the_makefile():
    targets = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    called = [
        word
        for path in [*WORKFLOWS, REPOSITORY / ".ci" / "run"]
        for line in re.findall(r"^(?!#).*\bmake ([^\n]+)", path.read_text(), re.MULTILINE)
        for word in line.split()
        if "=" not in word
    ]
    assert {"lint", "docs", "test"} <= set(called) <= targets


def test_the_hooks_before_a_commit_run_the_linters_of_make_lint():
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)[1]
    assert {hook["entry"].split("/")[-1].split()[0] for hook in hooks} == set(re.findall(r"\$\(BIN\)/(\w+)", recipe))
