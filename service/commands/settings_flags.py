"""Settings as flags of a command."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click
from click.shell_completion import CompletionItem
from pydantic.fields import FieldInfo

from service.settings import Settings, allowed_text, default_text, flag_name, read_settings, variable_name

Command = TypeVar("Command", bound=Callable[..., Any])


def settings_flags(*names: str) -> Callable[[Command], Command]:
    """One option for each named setting (all without names); values are validated by Settings, not by click."""

    def decorate(command: Command) -> Command:
        for name in reversed(names or tuple(Settings.model_fields)):
            field = Settings.model_fields[name]
            meaning = f"{field.description}.  [env: {variable_name(name)}; default: {default_text(field)}]"
            shown = {"metavar": f"<{allowed_text(field)}>", "help": meaning, **_completion(field)}
            command = click.option(flag_name(name), name, **shown)(command)
        return command

    return decorate


def given_settings(flags: dict[str, Any]) -> Settings:
    """The settings with the flags that were given laid over the environment."""
    return read_settings(given(flags))


def given(flags: dict[str, Any]) -> dict[str, Any]:
    """The flags that were given."""
    return {name: value for name, value in flags.items() if value is not None}


def _completion(field: FieldInfo) -> dict[str, Any]:
    """What a shell offers for the value: files for a path, the values of a choice."""
    if Path in (field.annotation, *get_args(field.annotation)):
        return {"type": click.Path()}
    choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]

    def offer(_: click.Context, __: click.Parameter, start: str) -> list[CompletionItem]:
        return [CompletionItem(choice) for choice in choices if choice.startswith(start)]

    return {"shell_complete": offer}
