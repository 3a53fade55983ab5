"""What the task declares."""

from tlkit.tasks.base import TaskSpec

SPEC = TaskSpec(
    name="image_regression",
    input="image",
    config="tlkit.tasks.image_regression.config:ImageRegressionConfig",
    commands="tlkit.tasks.image_regression.commands:ImageRegressionCommands",
    page="tlkit.tasks.common.page:report_on_items",
    explain="tlkit.tasks.common.heat:explained_images",
    source="tlkit.catalogue.image:source_of",
    hub_tags={"classes": "image-classification"},
)
