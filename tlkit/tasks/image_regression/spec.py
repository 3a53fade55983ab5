"""What the task declares."""

from tlkit.tasks.base import TaskSpec

SPEC = TaskSpec(
    name="image_regression",
    input="image",
    config="tlkit.tasks.image_regression.config:ImageRegressionConfig",
    commands="tlkit.tasks.image_regression.commands:ImageRegressionCommands",
)
