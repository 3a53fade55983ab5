"""What the task declares."""

from tlkit.tasks.base import TaskSpec

SPEC = TaskSpec(
    name="image_classification",
    input="image",
    config="tlkit.tasks.image_classification.config:ImageConfig",
    commands="tlkit.tasks.image_classification.commands:ImageClassificationCommands",
    page="tlkit.tasks.common.page:report_on_items",
    explain="tlkit.tasks.common.heat:explained_images",
    source="tlkit.catalogue.image:source_of",
    hub_tags={"classes": "image-classification"},
)
