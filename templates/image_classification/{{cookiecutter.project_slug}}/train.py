"""Train the classifier with `tlkit train`, or train and export it with `python train.py`."""

import logging
from pathlib import Path

from model import build_task

import tlkit
from tlkit.config import ImageConfig, load_config


def load_data(config: ImageConfig) -> tlkit.ImageData:
    """Load the photos: class folders, or a table of paths and labels."""
    size = {"size": config.model.image_size, "resize": config.model.resize}
    options = {**size, "exclude": config.exclude, **config.data.options}
    if config.data_path.suffix.lower() in (".csv", ".parquet"):
        return tlkit.images_from_table(config.data_path, **options, **config.data.columns)
    return tlkit.images_from_folder(config.data_path, **options)


def main(config: ImageConfig, resume: bool = False) -> tlkit.Learner:
    """Train the head, fine-tune the network, and evaluate the weights that are kept."""
    data = load_data(config)
    print(data)
    task = build_task(config, data.class_names)
    learn = tlkit.Learner(task, data, directory=config.checkpoints, resume=resume, **config.step.model_dump())
    lr = None if config.train.learning_rate == "auto" else config.train.learning_rate
    if lr is None and config.train.head == "epochs":
        found = learn.find_lr()
        found.plot(config.reports / "learning_rate.png")
        lr = found.suggestion
    # Train the head on precomputed features, then fine-tune the backbone if that measures better.
    learn.fine_tune(config.train.epochs, lr, **config.train.stages)
    learn.recorder.report(config.reports, config.train.log)
    learn = learn.finish(keep=config.train.keep, thresholds=config.train.thresholds, calibrate=config.train.calibrate)
    metrics = learn.evaluate()
    metrics.plot_confusion(config.reports / "confusion_matrix.png")
    print(metrics)
    return learn


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = load_config(Path(__file__).with_name("config.toml"))
    learn = main(config)
    print("exported to", learn.export(config.export_dir))
