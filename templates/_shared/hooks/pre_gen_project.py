"""Refuse answers that would not give a working project. The hook of the template gives ANSWERS."""

import re
import sys

ANSWERS = globals()["ANSWERS"]

problems = [
    f"{name} must be {meaning}; received: {ANSWERS[name]!r}"
    for name, (pattern, meaning) in ANSWERS["_rules"].items()
    if not re.fullmatch(pattern, ANSWERS[name])
]
for problem in problems:
    print(f"error: {problem}", file=sys.stderr)
sys.exit(2 if problems else 0)
