"""What the help of a command says of its flags, for the tests of both programs."""

from collections.abc import Iterator

import click

from service.lazy_commands import LazyCommand


def flags(program: click.Group, name: str) -> Iterator[tuple[click.Option, str]]:
    """Each flag of a subcommand, with what its help shows of it."""
    found = program.commands[name]
    command = found.command if isinstance(found, LazyCommand) else found
    parent = program.make_context("program", [name], resilient_parsing=True)
    with parent, command.make_context(name, [], parent=parent, resilient_parsing=True) as context:
        for option in command.params:
            if isinstance(option, click.Option):
                record = option.get_help_record(context)
                yield option, record[1] if record else ""


def without_help(program: click.Group, name: str) -> list[str]:
    """Flags of a subcommand of which nothing is said."""
    return [option.opts[-1] for option, _ in flags(program, name) if not option.help]


def without_default(program: click.Group, name: str) -> list[str]:
    """Flags of a subcommand that take a value and do not say which one it is where they are left out."""
    return [
        option.opts[-1] for option, shown in flags(program, name) if not option.is_flag and "default: " not in shown
    ]


def numbers(program: click.Group, name: str) -> dict[str, str]:
    """What is said of the flags of a subcommand whose values click reads as numbers."""
    kinds = (type(click.INT), type(click.FLOAT))
    return {option.opts[-1]: shown for option, shown in flags(program, name) if isinstance(option.type, kinds)}


def without_unit(said: dict[str, str], units: tuple[str, ...], others: dict[str, str]) -> list[str]:
    """Flags that neither end in a unit nor begin with the words of `others`, which say what is counted."""
    return [
        flag
        for flag, shown in said.items()
        if not (flag.endswith(units) or (flag in others and shown.startswith(others[flag])))
    ]
