"""A group of commands of which the first may go without its name."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


class DefaultCommandGroup(TyperGroup):
    """`group X ...` is `group FIRST X ...`, FIRST the group's first command, unless X is a command's name or help.

    So a command that takes an argument can get others beside it, and is called as before. An argument that reads as a
    command's name needs the name of its own, or to be written otherwise, as `./X`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = [self.list_commands(ctx)[0], *args]
        return super().parse_args(ctx, args)
