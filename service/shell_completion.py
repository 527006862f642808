"""A subcommand that prints a shell's completion script, for any program of ours."""

import click
from click.shell_completion import get_completion_class

SHELLS = {
    "bash": "~/.bashrc",
    "zsh": "~/.zshrc",
    "fish": "~/.config/fish/config.fish",
}


def completion_command(program: str) -> click.Command:
    """The subcommand `completion` of `program`."""

    @click.command("completion")
    @click.argument("shell", type=click.Choice(list(SHELLS)))
    @click.pass_context
    def command(context: click.Context, shell: str) -> None:
        completion = get_completion_class(shell)
        if completion is None:
            raise click.ClickException(f"click knows no completion for {shell}")
        variable = f"_{program.replace('-', '_')}_complete".upper()
        click.echo(completion(context.find_root().command, {}, program, variable).source())

    command.help = f"""Print what makes a shell complete commands, flags and files.

    \b
    bash, in ~/.bashrc:                     eval "$({program} completion bash)"
    zsh, in ~/.zshrc:                       eval "$({program} completion zsh)"
    fish, in ~/.config/fish/config.fish:    {program} completion fish | source
    """
    return command
