"""`interlock token`: makes what a caller shows, and what the server keeps of it."""

import typer

from interlock_server.access.tokens import new_token, token_digest

token_app = typer.Typer(no_args_is_help=True, help="Tokens of callers.")


@token_app.callback()
def _group() -> None:
    """Keeps `new` a word of its own while it is the only one."""


@token_app.command("new")
def new() -> None:
    """Print a new token on stdout, where nothing keeps it, and its SHA-256 for the file of callers on stderr."""
    token = new_token()
    typer.echo(token)
    typer.echo(f"token_sha256: [{token_digest(token)}]", err=True)
