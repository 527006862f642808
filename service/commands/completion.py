"""roadcue completion."""

from service.shell_completion import completion_command

command = completion_command("roadcue")
