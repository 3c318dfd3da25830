"""The commands `lens study NAME`: one for each study."""

import typer

from steering.commands.study.injected_thoughts import injected_thoughts
from steering.commands.study.neurofeedback import neurofeedback
from steering.commands.study.self_knowledge import self_knowledge
from steering.commands.study.self_prediction import self_prediction

app = typer.Typer(
    no_args_is_help=True,
    help="Studies of what a model knows and controls of itself; each prints what it shows, beside its nulls.",
)
for command in (injected_thoughts, neurofeedback, self_knowledge, self_prediction):
    app.command()(command)
