"""Train the network: `tlkit train`, or `python train.py` to train and export in one go."""

import logging
from pathlib import Path

from model import build_task

import tlkit
from tlkit.config import TabularConfig, load_config


def load_data(config: TabularConfig) -> tlkit.TabularData:
    """Read the table that config.toml names, split it, and learn from its training rows how columns are encoded."""
    # Features of your own can be made here: read the table with pandas and pass the DataFrame in place of the path;
    # then `tlkit evaluate --data` and `tlkit predict` need tables with the same columns.
    return tlkit.table_from_file(config.data_path, config.targets, **config.table_options)


def main(config: TabularConfig, resume: bool = False) -> tlkit.Learner:
    """Train, and measure what is kept."""
    data = load_data(config)
    print(data)
    for finding in (*data.questions, *data.findings):
        print(f"  {finding.column}: {finding.why}")
    print("rows left out:", ", ".join(f"{count} ({why})" for why, count in data.dropped.items() if count) or "none")
    task = build_task(config, data.preprocessing, data.targets)
    learn = tlkit.Learner(task, data, directory=config.checkpoints, resume=resume, **config.step.model_dump())
    learn.freeze_to(1 if config.model.freeze_embeddings else 0)
    lr = config.train.learning_rate
    if lr == "auto":
        found = learn.find_lr()
        found.plot(config.reports / "learning_rate.png")
        lr = found.suggestion
    learn.fit(config.train.epochs, lr, **config.train.stages)
    learn.recorder.report(config.reports, config.train.log)
    learn = learn.finish(keep=config.train.keep, thresholds=config.train.thresholds)
    print(learn.evaluate())
    learn.report(config.reports / "report.html", title=config.project.name)
    return learn


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = load_config(Path(__file__).with_name("config.toml"))
    print("exported to", main(config).export(config.export_dir))
