"""The main jobs on real photographs, reviews and flights, from nothing to answers: what `make demo` runs.

    python tools/demo.py photos        # or texts, tables, ratings

Everything is written below demo/NAME and saved_models/ of the repository; what an earlier walk left there is replaced.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "demo"
PHOTOS = DEMO / "photos" / "data"
PROJECT = DEMO / "photos" / "surfaces"
EXPORTS = ROOT / "saved_models" / "surfaces"
TEXTS = DEMO / "texts" / "data"
REVIEWS = DEMO / "texts" / "reviews"
FLIGHT_TABLES = DEMO / "tables" / "data"
FLIGHTS = DEMO / "tables" / "flights"
RATING_TABLES = DEMO / "ratings" / "data"
BOOKS = DEMO / "ratings" / "books"
SAYINGS = ("A warm, funny film, and not a minute too long.", "Two hours that I will never get back.")


def tlkit(*arguments: str, cwd: Path = PROJECT, read: bool = False) -> str:
    """Run the command line as a user would; a failure ends the demo with its exit code."""
    print(f"\n$ tlkit {shlex.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "tlkit", *arguments]
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE if read else None, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout or ""


def ask_over_rest(photo: Path) -> dict:
    """Serve the export, send one photo as JSON, give the prediction."""
    print(f"\n$ tlkit serve {EXPORTS.relative_to(ROOT)} --rest-port 0 &", flush=True)
    command = [sys.executable, "-m", "tlkit", "serve", str(EXPORTS), "--rest-port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = None
        for line in server.stdout:
            print(line, end="", flush=True)
            if found := re.search(r"at (http://\S+)", line):
                address = found[1]
                break
        if address is None:
            sys.exit("the server did not start")
        body = {"instances": [{"b64": base64.b64encode(photo.read_bytes()).decode()}]}
        request = urllib.request.Request(f"{address}:predict", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["predictions"][0]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)


def walk_photos() -> None:
    """Walk from photos to an answer over HTTP."""
    start = time.monotonic()
    tlkit("samples", "get", "surfaces", str(PHOTOS), cwd=ROOT)
    tlkit(
        "new", "image-classification", str(PROJECT), "--data", str(PHOTOS), "--set", "project_name=Surfaces", cwd=ROOT
    )
    tlkit("train")
    metrics = json.loads(tlkit("evaluate", "--json", read=True))
    version = tlkit("export", "--to", str(EXPORTS), read=True).strip().splitlines()[-1]
    tlkit("verify", version)
    photo = next((PHOTOS / "val" / "gravel").glob("*.jpg"))
    answer = ask_over_rest(photo)
    best = list(zip(answer["classes"], answer["scores"], strict=True))[:3]
    accuracy, n = metrics["metrics"]["accuracy"], metrics["n"]
    print(
        f"""
Done in {time.monotonic() - start:.0f} s.
A network that was pretrained on ImageNet now tells {", ".join(metrics["per_class"])} apart:
{accuracy:.1%} of {n} photo crops that it never saw in training are right.
Asked over HTTP, it says of a photo of gravel: {", ".join(f"{name} {score:.1%}" for name, score in best)}.
The exported model answers as it did in training, checked in a fresh process: {version}
Confusion matrix:  {PROJECT / "reports" / "confusion_matrix.png"}
The project, yours to change:  {PROJECT}
More: `make demo-texts` and `make demo-tables`."""
    )


def walk_texts() -> None:
    """Walk from reviews to answers, with the encoder frozen: the second stage would take minutes."""
    start = time.monotonic()
    tlkit("samples", "get", "reviews", str(TEXTS), cwd=ROOT)
    quick = ["--set", "finetune_epochs=0", "--set", "encoder=all-minilm-l6-v2"]  # a third of the time of bge-small
    tlkit("new", "text-sentiment", str(REVIEWS), "--data", str(TEXTS), *quick, cwd=ROOT)
    tlkit("train", cwd=REVIEWS)
    metrics = json.loads(tlkit("evaluate", "--data", str(TEXTS / "test.csv"), "--json", cwd=REVIEWS, read=True))
    version = tlkit("export", cwd=REVIEWS, read=True).strip().splitlines()[-1]
    answers = json.loads(tlkit("predict", *SAYINGS, "--json", cwd=REVIEWS, read=True))
    accuracy, n = metrics["metrics"]["accuracy"], metrics["n"]
    told = "\n".join(f"  {row['input']}  {row['classes'][0]} {row['scores'][0]:.1%}" for row in answers)
    print(
        f"""
Done in {time.monotonic() - start:.0f} s.
A head on a frozen language model now tells {" from ".join(metrics["per_class"])} film reviews:
{accuracy:.1%} of {n} that it never saw are right; fine-tuning, which takes minutes, gets further.
Asked in plain words, the exported model says:
{told}
It was checked in a fresh process: {version}
Report, with the telling words coloured:  {REVIEWS / "reports" / "report.html"}
The project, yours to change:  {REVIEWS}"""
    )


def walk_table() -> None:
    """Walk from a table of flights to a table with predictions."""
    start = time.monotonic()
    tlkit("samples", "get", "flights", str(FLIGHT_TABLES), cwd=ROOT)
    train, test = FLIGHT_TABLES / "train.csv", FLIGHT_TABLES / "test.csv"
    # Whole days are held out, as in the test file: flights of one day share its weather and its jams.
    options = ("--data", str(train), "--target", "arr_delay", "--set", "group_column=date")
    tlkit("new", "tabular-embeddings", str(FLIGHTS), *options, cwd=ROOT)
    tlkit("train", cwd=FLIGHTS)
    measured = json.loads(tlkit("evaluate", "--data", str(test), "--json", cwd=FLIGHTS, read=True))
    version = tlkit("export", cwd=FLIGHTS, read=True).strip().splitlines()[-1]
    scored = FLIGHTS / "scored.csv"
    tlkit("predict", str(test), "--out", str(scored), cwd=FLIGHTS)
    tlkit("embeddings", "export", "--maps", cwd=FLIGHTS)
    figures, n = measured["metrics"], measured["n"]
    print(
        f"""
Done in {time.monotonic() - start:.0f} s.
A network on a table now predicts how late flights out of New York arrive, from airline, airports, hour and weather:
on {n:,} flights of days that it never saw, it errs by {figures["mae"]:.0f} minutes on average (R2 {figures["r2"]:.2f}).
It was checked in a fresh process: {version}
Every flight of the test file with its prediction:  {scored}
What it learned of each airline and airport, as tables and maps:  {FLIGHTS / "embeddings"}, {FLIGHTS / "reports"}
Report, with gradient boosting on the same rows:  {FLIGHTS / "reports" / "report.html"}
The project, yours to change:  {FLIGHTS}"""
    )


def walk_ratings() -> None:
    """Walk from generated ratings of books to recommendations."""
    start = time.monotonic()
    tlkit("samples", "get", "ratings", str(RATING_TABLES), cwd=ROOT)
    options = ("--data", str(RATING_TABLES / "ratings.csv"), "--set", "split=last")
    tlkit("new", "recommender", str(BOOKS), *options, cwd=ROOT)
    tlkit("train", cwd=BOOKS)
    figures = json.loads(tlkit("evaluate", "--json", cwd=BOOKS, read=True))["metrics"]
    version = tlkit("export", cwd=BOOKS, read=True).strip().splitlines()[-1]
    answers = json.loads(tlkit("recommend", "reader 001", "-k", "5", "--json", cwd=BOOKS, read=True))
    told = "\n".join(f"  {item['item']}  {item['score']:.2f}" for item in answers[0]["items"])
    print(
        f"""
Done in {time.monotonic() - start:.0f} s.
A recommender has learned generated ratings of books. On the last rating of each reader its RMSE is
{figures["rmse"]:.2f} (the noise of the ratings alone is 0.6). It recommends to reader 001:
{told}
It was checked in a fresh process: {version}
Report, with baselines and similar books:  {BOOKS / "reports" / "report.html"}
The project, yours to change:  {BOOKS}"""
    )


def main() -> None:
    """Walk with photos, with texts, with a table or with ratings."""
    walks = {"photos": walk_photos, "texts": walk_texts, "tables": walk_table, "ratings": walk_ratings}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("walk", choices=walks)
    name = parser.parse_args().walk
    shutil.rmtree(DEMO / name, ignore_errors=True)
    (DEMO / name).mkdir(parents=True)
    walks[name]()


if __name__ == "__main__":
    main()
