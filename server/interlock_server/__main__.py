"""`python -m interlock_server` is the `interlock` command."""

from interlock_server.cli import main

main()
