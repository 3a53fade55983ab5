"""Train the network: `tlkit train`, or `python train.py` to train and export in one go."""

import logging
from pathlib import Path

from model import build_task

import tlkit
from tlkit.config import ImageRegressionConfig, load_config


def load_data(config: ImageRegressionConfig) -> tlkit.ImageTargetData:
    """Read the photos and their values that the table in config.toml lists."""
    return tlkit.images_with_targets(config.data_path, config.targets, **config.options)


def main(config: ImageRegressionConfig, resume: bool = False) -> tlkit.Learner:
    """Train the head, then more of the network where that pays, and measure what is kept."""
    data = load_data(config)
    print(data)
    task = build_task(config, data.targets)
    learn = tlkit.Learner(task, data, directory=config.checkpoints, resume=resume, **config.step.model_dump())
    lr = None if config.train.learning_rate == "auto" else config.train.learning_rate
    if lr is None and config.train.head == "epochs":
        found = learn.find_lr()
        found.plot(config.reports / "learning_rate.png")
        lr = found.suggestion
    # First the head, on features that are computed once; then, where that proves better, the backbone joins in.
    learn.fine_tune(config.train.epochs, lr, **config.train.stages)
    learn.recorder.report(config.reports, config.train.log)
    learn = learn.finish(keep=config.train.keep)
    metrics = learn.evaluate()
    metrics.plot(config.reports / "predictions.png")
    print(metrics)
    return learn


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = load_config(Path(__file__).with_name("config.toml"))
    learn = main(config)
    print("exported to", learn.export(config.export_dir))
