"""Train the network with `tlkit train`, or train and export it with `python train.py`."""

import logging
from pathlib import Path

from model import build_task

import tlkit
from tlkit.config import ImageRegressionConfig, load_config


def load_data(config: ImageRegressionConfig) -> tlkit.ImageTargetData:
    """Load the photos and their targets from the table in config.toml."""
    return tlkit.images_with_targets(config.data_path, config.targets, **config.options)


def main(config: ImageRegressionConfig, resume: bool = False) -> tlkit.Learner:
    """Train the head, fine-tune the network, and evaluate the weights that are kept."""
    data = load_data(config)
    print(data)
    task = build_task(config, data.targets)
    learn = tlkit.Learner(task, data, directory=config.checkpoints, resume=resume, **config.step.model_dump())
    lr = None if config.train.learning_rate == "auto" else config.train.learning_rate
    if lr is None and config.train.head == "epochs":
        found = learn.find_lr()
        found.plot(config.reports / "learning_rate.png")
        lr = found.suggestion
    # Train the head on precomputed features, then fine-tune the backbone if that measures better.
    learn.fine_tune(config.train.epochs, lr, **config.train.stages)
    learn.recorder.report(config.reports, config.train.log)
    learn = learn.finish(keep=config.train.keep, calibrate=config.train.calibrate)
    metrics = learn.evaluate()
    metrics.plot(config.reports / "predictions.png")
    print(metrics)
    return learn


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = load_config(Path(__file__).with_name("config.toml"))
    learn = main(config)
    print("exported to", learn.export(config.export_dir))
