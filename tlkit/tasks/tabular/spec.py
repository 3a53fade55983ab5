"""What the task declares."""

from tlkit.tasks.base import TaskSpec

SPEC = TaskSpec(
    name="tabular",
    input="row",
    config="tlkit.tasks.tabular.config:TabularConfig",
    commands="tlkit.cli.table_kind:TableKind",
    page="tlkit.tasks.tabular.report:report_on_tables",
    facts="tlkit.tasks.tabular.boosted:facts_of",
)
