"""One module a subcommand of `roadcue`, each with its `command`."""
