from __future__ import annotations

from pathlib import Path

import pytest

from tlkit.config import ImageConfig, TabularConfig, TextConfig, known_keys, load_config, parse_override
from tlkit.errors import ConfigError
from tlkit.tasks.base import TASKS

SMALLEST = '[project]\nname = "bees"\n[data]\npath = "photos"\n[export]\ndirectory = "saved_models/bees"\n'

TEXTS = (
    '[project]\nname = "reviews"\ntask = "text_classification"\n'
    '[data]\npath = "reviews.csv"\n[export]\ndirectory = "saved_models/reviews"\n'
)

TABLES = (
    '[project]\nname = "sales"\ntask = "tabular"\n[data]\npath = "train.csv"\ntargets = "Sales"\n'
    'where = ["Open == 1", "Sales > 0"]\njoin = { "store.csv" = "Store" }\n'
    'time_column = "Date"\ntest_from = 2015-06-19\n'
    '[columns]\nCustomers = "ignore"\n"wind.speed" = "continuous"\n'
    '[target]\ntransform = "log"\n[export]\ndirectory = "saved_models/sales"\n'
)


@pytest.fixture
def write(tmp_path: Path):
    def _write(text: str) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def message_of(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults_fill_what_is_left_out(write):
    config = load_config(write(SMALLEST))
    assert config.model.backbone == "efficientnet-lite0"
    assert config.train.learning_rate == "auto"
    assert (config.train.frozen_epochs, config.train.finetune_epochs) == (10, 3)


def test_a_byte_order_mark_is_passed_over(write, tmp_path: Path):
    file = write(f"{SMALLEST}[train]\nfrozen_epochs = 7\n")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert load_config(file).train.frozen_epochs == 7


def test_relative_paths_start_at_the_file_and_full_ones_stay(write, tmp_path: Path):
    path = write(SMALLEST)
    config = load_config(path)
    assert config.root == tmp_path.resolve()
    assert config.data_path == tmp_path.resolve() / "photos"
    assert config.export_dir == tmp_path.resolve() / "saved_models" / "bees"
    assert load_config(path, ["data.path=/srv/photos"]).data_path == Path("/srv/photos")
    assert load_config(path, root="/elsewhere").checkpoints == Path("/elsewhere/checkpoints")


def test_weights_that_lie_in_the_project_become_full_paths(write, tmp_path: Path):
    path = write(SMALLEST + '[model]\nweights = ["mine.h5", "auto"]\n')
    assert load_config(path).weights == ["mine.h5", "auto"]
    (tmp_path / "mine.h5").touch()
    (tmp_path / "auto").touch()  # a file of that name does not hide the word
    assert load_config(path).weights == [str(tmp_path.resolve() / "mine.h5"), "auto"]


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("[trian]\nx = 1\n", "unknown section [trian]; did you mean 'train'?"),
        (
            "[train]\nlearning_rat = 1\n",
            "unknown key 'learning_rat' in [train]; did you mean 'learning_rate'?",
        ),
        (
            "[train]\nfrozen_epochs = '3'\n",
            "train.frozen_epochs: input should be a valid integer; received: '3'",
        ),
        ("[train]\nfrozen_epochs = 0\n", "train.frozen_epochs: input should be greater than or equal to 1"),
        (
            "[train]\nfinetune_epochs = true\n",
            'train.finetune_epochs: a number of epochs is "auto" or a whole number, 0 or more; received: True',
        ),
        ("[train]\nlearning_rate = -0.1\n", "above 0 and at most 10; received: -0.1"),
        ("[train]\nlearning_rate = nan\n", "above 0 and at most 10; received: nan"),
        ("[train]\nlearning_rate = 'fast'\n", 'a learning rate is "auto" or a number'),
        ("[model]\nresize = 'stretch'\n", "model.resize: input should be 'crop', 'pad' or 'squash'"),
        ("[model]\nweights = 3\n", "model.weights: weights are"),
        ("[model]\ndropout = 1.0\n", "model.dropout: input should be less than 1"),
        ("[model]\nencoder = 'x'\n", "unknown key 'encoder' in [model]"),
        ("[train\n", "is not valid TOML"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(write, extra: str, expected: str):
    assert expected in message_of(write(SMALLEST + extra))


def test_a_missing_file_and_a_missing_key_are_named(write, tmp_path: Path):
    assert "does not exist" in message_of(tmp_path / "nothing.toml")
    assert "data is missing" in message_of(write('[project]\nname = "x"\n[export]\ndirectory = "y"\n'))


def test_several_problems_come_together(write):
    message = message_of(write(SMALLEST + "[model]\ndropout = 2\nimage_size = 1\n"))
    assert "model.dropout" in message
    assert "model.image_size" in message


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.frozen_epochs=2", ("train", "frozen_epochs", 2)),
        ("train.learning_rate=0.1", ("train", "learning_rate", 0.1)),
        ("train.learning_rate=auto", ("train", "learning_rate", "auto")),
        ("project.name=123", ("project", "name", "123")),
        ("data.path=/a=b", ("data", "path", "/a=b")),
        ("model.weights=2024.h5", ("model", "weights", "2024.h5")),
        ('model.weights=["a", "b"]', ("model", "weights", ["a", "b"])),
        ("data.augment=none", ("data", "augment", "none")),
    ],
)
def test_an_override_is_read_as_the_type_of_its_key(override: str, expected: tuple):
    assert parse_override(override) == expected


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.frozn_epochs=2", "did you mean 'train.frozen_epochs'"),
        ("frozen_epochs=2", "did you mean 'train.frozen_epochs'"),
        ("train.frozen_epochs", "SECTION.KEY=VALUE"),
        ("=2", "SECTION.KEY=VALUE"),
        ("train.frozen_epochs=two", "valid integer; received: 'two'"),
        ("train.learning_rate=-1", "received: -1"),
        ("data.val_fraction=1.5", "less than 1"),
        ("data.seed=99999999999999999999", "less than 4294967296"),
    ],
)
def test_an_override_that_cannot_be_used_is_one_clear_line(write, override: str, expected: str):
    assert expected in message_of(write(SMALLEST), override)


def test_overrides_win_over_the_file_and_the_last_one_wins(write):
    path = write(SMALLEST + "[train]\nfrozen_epochs = 7\n")
    assert load_config(path, ["train.frozen_epochs=2", "train.frozen_epochs=3"]).train.frozen_epochs == 3


def test_every_key_is_known_by_its_section():
    names = [name for name, _ in known_keys()]
    assert len(names) == len(set(names))
    assert {"project.name", "data.path", "model.backbone", "train.learning_rate", "export.directory"} <= set(names)


def test_the_task_says_which_keys_there_are(write):
    assert type(load_config(write(SMALLEST))) is ImageConfig
    config = load_config(write(TEXTS))
    assert type(config) is TextConfig
    assert (config.model.encoder, config.model.max_tokens, config.data.text_column) == ("all-minilm-l6-v2", 128, "text")
    assert (config.train.frozen_epochs, config.train.finetune_epochs, config.train.finetune_rate) == (10, 3, 3e-4)


@pytest.mark.parametrize(
    ("text", "overrides", "expected"),
    [
        (TEXTS.replace("text_class", "txt_class"), (), "did you mean 'text_classification'"),
        (TEXTS.replace('"text_classification"', "3"), (), "project.task is unknown; received: 3"),
        (TEXTS + "[model]\nbackbone = 'resnet50'\n", (), "unknown key 'backbone' in [model]"),
        (TEXTS + "[train]\nschedul = 'one_cycle'\n", (), "did you mean 'schedule'"),
        (TEXTS, ("model.image_size=224",), 'it exists only for task = "image_classification"'),
        (SMALLEST, ("model.max_tokens=64",), 'it exists only for task = "text_classification"'),
        (TEXTS, ("model.max_token=64",), "did you mean 'model.max_tokens'"),
        (TEXTS, ("project.task=image_classification",), "project.task: input should be 'text_classification'"),
        (TEXTS, ("model.max_tokens=3",), "greater than or equal to 4; received: 3"),
        (TEXTS, ("train.policy=bit",), "'all', 'head', 'auto', 'gradual' or 'measure'"),
        (TEXTS, ("train.keep=swa",), "needs cycles"),
        (TEXTS, ("data.strip_html=maybe",), "valid boolean; received: 'maybe'"),
    ],
)
def test_what_a_text_project_cannot_use_is_one_clear_line(write, text: str, overrides: tuple, expected: str):
    assert expected in message_of(write(text), *overrides)


def test_epochs_are_a_number_or_left_to_the_policy(write):
    for text, epochs in (("0", 0), ("5", 5), ("auto", None)):
        config = load_config(write(SMALLEST), [f"train.finetune_epochs={text}"])
        assert config.train.epochs == epochs
    assert load_config(write(SMALLEST)).train.epochs == 3  # as in projects of 0.1.0


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["train.policy=measure"], 'policy = "measure" starts from a linear probe: set head = "probe"'),
        (["train.policy=measure", "train.head=probe", "train.cycle_len=1"], "cycles cannot be combined with policy ="),
        (["train.budget_minutes=0"], "train.budget_minutes: input should be greater than 0"),
        (["train.finetune_epochs=some"], 'a number of epochs is "auto" or a whole number, 0 or more'),
    ],
)
def test_a_measured_fine_tuning_says_what_it_cannot_take(write, overrides, expected):
    assert expected in message_of(write(SMALLEST), *overrides)


def test_stages_are_what_fine_tune_takes(write):
    path = write(TEXTS)
    assert load_config(path).train.stages == {
        "head": "epochs",
        "frozen_epochs": 10,
        "finetune_lr": 3e-4,
        "group_factor": 1.5,
        "policy": "all",
        "budget_minutes": 10.0,
        "schedule": "slanted_triangular",
    }
    cycles = load_config(path, ["train.cycle_len=1", "train.cycle_mult=2", "train.keep=swa"]).train.stages
    assert cycles == {
        "budget_minutes": 10.0,
        "head": "epochs",
        "frozen_epochs": 10,
        "finetune_lr": 3e-4,
        "group_factor": 1.5,
        "policy": "all",
        "cycle_len": 1,
        "cycle_mult": 2,
        "snapshots": True,
    }
    assert load_config(write(SMALLEST)).train.stages == {
        "head": "epochs",
        "frozen_epochs": 10,
        "divisor": 10.0,
        "policy": "all",
        "sizes": [],
        "budget_minutes": 10.0,
        "finetune_lr": None,
    }


def test_columns_that_are_not_named_are_none(write):
    path = write(TEXTS)
    columns = load_config(path, ["data.group_column=film", "data.quoting=none"]).data.columns
    assert columns == {
        "text_column": "text",
        "label_column": "label",
        "label_separator": None,
        "label_columns": None,
        "group_column": "film",
        "split_column": None,
        "time_column": None,
        "separator": "",
        "quoting": "none",
    }
    assert not load_config(path).data.multi_label
    assert load_config(path, ["data.label_separator=|"]).data.multi_label
    assert load_config(path, ['data.label_columns=["a", "b"]']).data.multi_label


def test_an_encoder_s_folder_starts_at_the_project_and_a_name_stays(write, tmp_path: Path):
    path = write(TEXTS)
    (tmp_path / "mine").mkdir()
    assert load_config(path).encoder == "all-minilm-l6-v2"
    assert load_config(path, ["model.encoder=./mine"]).encoder == str(tmp_path.resolve() / "mine")
    assert load_config(path, ["model.encoder=mine"]).encoder == "mine"


@pytest.mark.parametrize("task", TASKS)
def test_every_kind_of_project_has_the_common_keys(task: str):
    names = [name for name, _ in known_keys(task)]
    assert len(names) == len(set(names))
    common = {"project.task", "data.path", "data.seed", "train.keep", "step.ema", "export.directory"}
    assert common <= set(names)


def test_a_table_s_config_is_what_reads_it(write, tmp_path: Path):
    config = load_config(write(TABLES))
    assert isinstance(config, TabularConfig)
    assert len(TABLES.splitlines()) <= 25
    options = config.table_options
    assert options["join"] == [(tmp_path.resolve() / "store.csv", ["Store"])]
    assert (options["time_column"], options["test_from"], options["val_from"]) == ("Date", "2015-06-19", None)
    assert options["kinds"] == {"Customers": "ignore", "wind.speed": "continuous"}
    assert (options["where"], options["transform"]) == (["Open == 1", "Sales > 0"], "log")
    assert set(config.reading) <= set(options)
    assert config.train.stages == {"schedule": "one_cycle"}
    assert config.start_from is None


@pytest.mark.parametrize("border", [2015, 0, -1.5])
def test_a_time_column_of_numbers_has_numbers_as_borders(write, border: float):
    path = write(TABLES.replace("2015-06-19", str(border)))
    options = load_config(path, ["data.val_from=-7"]).table_options
    assert (options["val_from"], options["test_from"]) == (-7, border)
    assert type(options["test_from"]) is type(border)
    assert "data: test_from needs time_column" in message_of(path, "data.time_column=")


def test_columns_of_a_table_can_be_overridden(write):
    path = write(TABLES)
    overrides = ["columns.wind.speed=ignore", "columns.new=id", 'data.targets=["a", "b"]', "target.weights={a = 2.0}"]
    config = load_config(path, overrides)
    assert config.columns == {"Customers": "ignore", "wind.speed": "ignore", "new": "id"}
    assert (config.targets, config.target.weights) == (["a", "b"], {"a": 2.0})


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("columns.Age=categoricl", "columns.Age: input should be 'categorical'"),
        ("columns.Sales=continuous", "columns.Sales is a target: set its kind in [target] kinds"),
        ("target.transform=sqrt", "target.transform: transform must be auto, none, log, log1p or yeo_johnson"),
        ("target.y_range=[3]", "target.y_range: a range must be [lowest, highest]"),
        ("target.weights={cost = 1.0}", "target.weights names 'cost', which is not in data.targets"),
        ('data.targets=["a", "a"]', "data.targets: must be a column, or a list of different columns"),
        ("data.time_column=", "data: test_from needs time_column"),
        ("data.test_from=true", "data.test_from: a day is written as 2015-06-19, a number as 2015; received: True"),
        ("data.test_from=nan", "data.test_from: a day is written as 2015-06-19, a number as 2015; received: nan"),
        ("target.weights={Sales = 2.0}", "target.weights needs several targets"),
        (
            "data.test_from=19.6.2015",
            "data.test_from: a day is written as 2015-06-19, a number as 2015; received: '19.6",
        ),
        ("data.event_group=Store", "data: event_group needs events"),
        ("model.dropout=[0.1]", "model: dropout and hidden have different lengths"),
        ("model.dropout=1.0", "model.dropout: a dropout is a number from 0 and below 1"),
        ("model.freeze_embeddings=true", "model: freeze_embeddings needs start_from"),
        ("train.budget_minutes=0", "train.budget_minutes: input should be greater than 0"),
        ('model.monotonic={ area = "increasing" }', 'monotonic needs kind = "boosting", not '),
        ("train.keep=swa", 'train: keep = "swa" needs cycles: set cycle_len and epochs'),
        ("column.x=id", "unknown config key 'column.x'"),
    ],
)
def test_what_a_table_s_project_cannot_use_is_one_clear_line(write, override: str, expected: str):
    message = message_of(write(TABLES), override)
    assert expected in message
    assert len(message) < 300


def test_embeddings_to_start_from_are_a_folder_or_what_a_project_exported(write, tmp_path: Path):
    path = write(TABLES)
    assert load_config(path, ["model.start_from=vectors"]).start_from == tmp_path.resolve() / "vectors"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.toml").touch()
    assert load_config(path, ["model.start_from=other"]).start_from == tmp_path.resolve() / "other" / "embeddings"


def test_the_options_of_photos_are_what_the_reader_of_folders_takes():
    import inspect

    from tlkit.config_sections import ImageDataSection
    from tlkit.inputs.image.reading import images_from_folder

    options = ImageDataSection(path="photos", max_pixels=50_000_000, damaged="refuse").options
    assert options.keys() <= inspect.signature(images_from_folder).parameters.keys()
    assert (options["max_pixels"], options["damaged"], options["on_duplicate"]) == (50_000_000, "refuse", "report")


def test_thresholds_are_for_several_labels(write):
    message = message_of(write(SMALLEST), "train.thresholds=f1")
    assert 'train.thresholds = "f1" is for items with several labels' in message
    both = ("train.thresholds=f1", "data.label_separator=;")
    assert load_config(write(SMALLEST), both).train.thresholds == "f1"
    assert "for items with several labels" in message_of(write(TABLES), "train.thresholds=f1")
