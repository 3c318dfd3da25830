"""The command `lens`, run as a user runs it."""

from typer.testing import CliRunner

from steering.cli import app


def run(*words: object, **environment: str) -> str:
    """What it says on success."""
    outcome = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False, env=environment)
    assert outcome.exit_code == 0, outcome.output
    return outcome.output
