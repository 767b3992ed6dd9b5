"""The operator's command `radbus`."""

from __future__ import annotations

import sys

import typer
from radbus_contracts.errors import RadbusError

from radbus_cli import dead, events, jobs, migrating, models, purge, tokens, trail, users, webhooks
from radbus_cli.audit import audit
from radbus_cli.backup import commands as backup_commands
from radbus_cli.console import log_to_stderr
from radbus_cli.demo import demo
from radbus_cli.doctor import doctor
from radbus_cli.explaining import explain, use_cases
from radbus_cli.jobs import compute
from radbus_cli.local import commands as local_commands
from radbus_cli.sending import results, send
from radbus_cli.serving import serve
from radbus_cli.sizing.command import sizing

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)


@app.callback()
def _begin() -> None:
    """The operator's command `radbus`."""
    log_to_stderr()


local_commands.add_to(app)
for command in (demo, send, results, compute, explain, audit, doctor, serve, sizing, backup_commands.restore):
    app.command()(command)
app.add_typer(jobs.app, name="jobs")
app.add_typer(dead.app, name="dead")
app.add_typer(purge.app, name="purge")
app.add_typer(purge.retention, name="retention")
app.add_typer(backup_commands.app, name="backup")
app.add_typer(migrating.app, name="migrate")
app.add_typer(models.app, name="models")
app.add_typer(events.app, name="events")
app.add_typer(tokens.app, name="tokens")
app.add_typer(users.app, name="users")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(trail.app, name="trail")
app.add_typer(use_cases, name="use-cases")


def main() -> None:
    """Run the command; what radbus refuses on purpose is one clear text, not a traceback."""
    try:
        app()
    except RadbusError as error:
        sys.exit(f"radbus: {error}")


if __name__ == "__main__":
    main()
