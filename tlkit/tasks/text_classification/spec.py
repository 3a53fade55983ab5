"""What the task declares."""

from tlkit.tasks.base import TaskSpec

SPEC = TaskSpec(
    name="text_classification",
    input="text",
    config="tlkit.tasks.text_classification.config:TextConfig",
    commands="tlkit.tasks.text_classification.commands:TextClassificationCommands",
    page="tlkit.tasks.text_classification.report:report_on_texts",
    source="tlkit.catalogue.text:source_of",
    hub_tags={"classes": "text-classification"},
)
