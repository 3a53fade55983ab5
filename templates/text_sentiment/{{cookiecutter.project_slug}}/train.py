"""Train the classifier with `tlkit train`, or train and export it with `python train.py`."""

import logging
from pathlib import Path

from model import build_task

import tlkit
from tlkit.config import TextConfig, load_config


def load_data(config: TextConfig) -> tlkit.TextData:
    """Load the texts: a table, a folder with a table for each split, or class folders."""
    options = {
        "encoder": config.encoder,
        "weights": config.weights,
        "max_tokens": config.model.max_tokens,
        "long_texts": config.model.long_texts,
        "strip_html": config.data.strip_html,
        "encoding": config.data.encoding,
        "batch_size": config.data.batch_size,
        "val_fraction": config.data.val_fraction,
        "class_weight": config.data.class_weight,
        "sampling": config.data.sampling,
        "on_duplicate": config.data.on_duplicate,
        "seed": config.data.seed,
        "exclude": config.exclude,
    }
    if config.data_path.is_dir() and not any(config.data_path.glob("train*.*")):
        return tlkit.texts_from_folder(config.data_path, **options)
    return tlkit.texts_from_table(config.data_path, **options, **config.data.columns)


def main(config: TextConfig, resume: bool = False) -> tlkit.Learner:
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
    # Train the head on precomputed embeddings, then fine-tune the encoder if that measures better.
    learn.fine_tune(config.train.epochs, lr, **config.train.stages)
    learn.recorder.report(config.reports, config.train.log)
    learn = learn.finish(keep=config.train.keep, thresholds=config.train.thresholds, calibrate=config.train.calibrate)
    metrics = learn.evaluate()
    metrics.plot_confusion(config.reports / "confusion_matrix.png")
    print(metrics)
    learn.report(config.reports / "report.html", title=config.project.name)
    return learn


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = load_config(Path(__file__).with_name("config.toml"))
    print("exported to", main(config).export(config.export_dir))
