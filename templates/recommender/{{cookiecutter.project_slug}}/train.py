"""Train the recommender with `tlkit train`, or train and export it with `python train.py`."""

import logging
from functools import partial
from pathlib import Path

import keras
from model import build_task

import tlkit
from tlkit.config import RecommenderConfig, load_config


def load_data(config: RecommenderConfig) -> tlkit.TabularData:
    """Read the ratings, leave out what cannot be used, and split them."""
    return tlkit.ratings_from_file(config.data_path, **config.ratings)


def main(config: RecommenderConfig, resume: bool = False) -> tlkit.Learner:
    """Train the vectors, and measure what is kept."""
    data = load_data(config)
    print(data, *(f"  {found.column}: {found.why}" for found in data.findings), sep="\n")
    print("ratings left out:", ", ".join(f"{count} ({why})" for why, count in data.dropped.items() if count) or "none")
    task = build_task(config, data.preprocessing, data.targets, tlkit.catalogue_entries(data, **config.sides))
    tlkit.fill_catalogue(task, data)
    # A strong weight decay is what keeps the vectors of rarely rated items small.
    adamw = partial(keras.optimizers.AdamW, weight_decay=config.train.weight_decay, beta_2=0.99, epsilon=1e-5)
    options = config.step.model_dump(exclude={"optimizer"})
    learn = tlkit.Learner(task, data, directory=config.checkpoints, resume=resume, optimizer=adamw, **options)
    lr = config.train.learning_rate
    if lr == "auto":
        found = learn.find_lr()
        found.plot(config.reports / "learning_rate.png")
        lr = found.suggestion
    learn.fit(config.train.epochs, lr, **config.train.stages)
    learn.recorder.report(config.reports, config.train.log)
    learn = learn.finish(keep=config.train.keep, **config.train.ending)
    print(learn.evaluate(), tlkit.measure_ratings(learn).ranking, sep="\n")
    learn.report(config.reports / "report.html", title=config.project.name)
    return learn


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = load_config(Path(__file__).with_name("config.toml"))
    print("exported to", main(config).export(config.export_dir))
