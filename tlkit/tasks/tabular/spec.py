"""What the task declares."""

from tlkit.tasks.base import TaskSpec

SPEC = TaskSpec(
    name="tabular",
    input="row",
    config="tlkit.tasks.tabular.config:TabularConfig",
    commands="tlkit.tasks.tabular.commands:TabularCommands",
    embeddings="tlkit.tasks.tabular.embedding_maps:write_with_maps",
    page="tlkit.tasks.tabular.report:report_on_tables",
    facts="tlkit.tasks.tabular.boosted:facts_of",
    hub_tags={"classes": "tabular-classification", "values": "tabular-regression"},
)
