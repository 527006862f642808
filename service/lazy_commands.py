"""Subcommands whose modules are imported when they are called: help does not wait for libraries."""

from functools import cached_property
from importlib import import_module
from typing import Any

import click


class LazyCommand(click.Command):
    """Stands for `command` of a module, imported when it is called or asked for its own help.

    `promise` is what the help of the group says of it; a test holds it to the command's own.
    """

    def __init__(self, name: str, promise: str, module: str) -> None:
        super().__init__(name, help=promise)
        self._module = module

    @cached_property
    def command(self) -> click.Command:
        """The command itself."""
        found = import_module(self._module).command
        if not isinstance(found, click.Command):
            raise TypeError(f"{self._module}.command is no command but {found!r}")
        return found

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        """The context of the command itself, in which click goes on."""
        return self.command.make_context(*arguments, **extra)


def lazy_commands(package: str, promises: dict[str, str]) -> dict[str, click.Command]:
    """A lazy command for each name, from the module of that name in `package`."""
    return {name: LazyCommand(name, promise, f"{package}.{name}") for name, promise in promises.items()}
