"""Train the network: `tlkit train`, or `python train.py` to train and export in one go."""

import logging
from pathlib import Path

from model import build_task

import tlkit
from tlkit.config import TabularConfig, load_config


def load_data(config: TabularConfig) -> tlkit.TabularData:
    """Read the table that config.toml names, split it, and learn from its training rows how columns are encoded."""
    # For features of your own, pass a DataFrame in place of the path; `tlkit predict` then needs tables with them, too.
    return tlkit.table_from_file(config.data_path, config.targets, **config.table_options)


def build(config: TabularConfig, data: tlkit.TabularData, **run: object) -> tlkit.Task:
    """Build the network of model.py, with boosted trees beside it or in its place where `model.kind` says so."""

    def train(part: tlkit.TabularData, folder: Path) -> tlkit.Task:
        return fit(config.for_part, build_task(config, part.preprocessing, part.targets), part, directory=folder).task

    task = build_task(config, data.preprocessing, data.targets)
    return tlkit.with_boosting(task, data, train=train, **run, **config.boosting_options)


def fit(config: TabularConfig, task: tlkit.Task, data: tlkit.TabularData, **where: object) -> tlkit.Learner:
    """Train the network; for a blend also on a part of the rows, to weigh it against the boosted trees."""
    learn = tlkit.Learner(task, data, **where, **config.step.model_dump())
    if config.model.kind != "boosting":  # whose trees are fitted already
        learn.freeze_to(1 if config.model.freeze_embeddings else 0)
        lr = config.train.learning_rate
        if lr == "auto":
            found = learn.find_lr()
            found.plot(config.reports / "learning_rate.png")
            lr = found.suggestion
        callbacks = [tlkit.ValidateNetwork(task), tlkit.TimeBudget(config.minutes_for(data))]
        learn.fit(config.train.epochs_for(data), lr, callbacks=callbacks, **config.train.stages)
    return learn.finish(keep=config.train.keep if learn.history else "last", **config.train.ending)


def main(config: TabularConfig, resume: bool = False) -> tlkit.Learner:
    """Train, and measure what is kept."""
    data = load_data(config)
    print(data, *(f"  {found.column}: {found.why}" for found in (*data.questions, *data.findings)), sep="\n")
    print("rows left out:", ", ".join(f"{count} ({why})" for why, count in data.dropped.items() if count) or "none")
    run = {"directory": config.checkpoints, "resume": resume}
    learn = fit(config, build(config, data, **run), data, **run)
    if learn.history:
        learn.recorder.report(config.reports, config.train.log)
    print(learn.evaluate())
    learn.report(config.reports / "report.html", title=config.project.name)
    return learn


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = load_config(Path(__file__).with_name("config.toml"))
    print("exported to", main(config).export(config.export_dir))
