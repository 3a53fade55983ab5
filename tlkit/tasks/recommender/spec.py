"""What the task declares."""

from tlkit.tasks.base import AskCommand, TaskSpec

SPEC = TaskSpec(
    name="recommender",
    input="row",
    config="tlkit.tasks.recommender.config:RecommenderConfig",
    commands="tlkit.tasks.recommender.commands:RecommenderCommands",
    page="tlkit.tasks.recommender.report:report_on_ratings",
    facts="tlkit.tasks.recommender.model:columns_of",
    queries="tlkit.tasks.recommender.queries:queries_of",
    ask_commands=(
        AskCommand(
            name="recommend",
            signature="recommend",
            argument="USER",
            argument_help="Users, as the training data writes them.",
            help="Recommend items to users, best first, with their predicted ratings.",
            example='tlkit recommend "reader 001" -k 5',
            flag="--seen",
            flag_input="exclude",
            flag_inverts=True,
            flag_help="Also list what the user has in the training data.",
        ),
        AskCommand(
            name="similar",
            signature="similar",
            argument="ITEM",
            argument_help="Items, as the training data writes them.",
            help="List the items whose vectors are most similar, with their cosine.",
            example='tlkit similar "Silent River" -k 5',
        ),
    ),
)
