"""A command group whose first command is the default."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


class DefaultCommandGroup(TyperGroup):
    """Reads `group X ...` as `group FIRST X ...`, FIRST being the group's first command, unless X is the name of a
    command or a help option.

    So a command that takes an argument can get sibling commands without breaking existing calls. An argument equal to
    a command's name needs the default command's name before it, or another spelling such as `./X`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = [self.list_commands(ctx)[0], *args]
        return super().parse_args(ctx, args)
