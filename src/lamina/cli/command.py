"""A command as Docker's command line has it: flags like pflag's, and its words for mistakes.

    @docker_command("[OPTIONS] IMAGE [IMAGE...]", "Remove one or more images", at_least=1)
    @click.option("-f", "--force", is_flag=True, help="Force removal of the image")
    @click.argument("images", nargs=-1)
    @click.pass_obj
    def command(app: App, images: tuple[str, ...], force: bool) -> int | None: ...

What the function returns is the exit code (None: 0). Flags may stand anywhere among the arguments
(unless `interspersed=False`), short ones may be joined (`-dit`, `-n5`), a flag that needs no value
may be given one (`--all=false`), and the last of several wins. All of this is settled here, before
click sees a list of unambiguous `--flag=value` and arguments after `--`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from lamina.cli.context import App
from lamina.errors import InvalidInput

__all__ = ["Command", "UsageMistake", "docker_command", "flag_names"]

_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class UsageMistake(click.ClickException):
    """A command line that makes no sense; printed with the usage and where to find help."""

    points = "Run"
    """How the last line begins; Docker has another word where arguments are too few."""

    def __init__(self, problem: str, path: str, usage: str, *, exit_code: int = 125) -> None:
        super().__init__(problem)
        self.path = path
        self.usage = usage
        self.exit_code = exit_code  # type: ignore[misc]  # click declares it Final-like

    def format_message(self) -> str:
        usage = f"{self.path} {self.usage}".rstrip()
        help_is_at = f"{self.points} '{self.path} --help' for more information"
        return f"{self.message}\n\nUsage:  {usage}\n\n{help_is_at}"


class Command(click.Command):
    """One command. `failure_code` is its exit code when the engine refuses or fails."""

    def __init__(
        self,
        name: str | None,
        *,
        usage: str = "[OPTIONS]",
        exactly: int | None = None,
        at_least: int = 0,
        at_most: int | None = None,
        interspersed: bool = True,
        failure_code: int = 1,
        **settings: Any,
    ) -> None:
        settings.setdefault("add_help_option", False)
        super().__init__(name, **settings)
        self.usage = usage
        self.at_least = at_least if exactly is None else exactly
        self.at_most = at_most if exactly is None else exactly
        self.interspersed = interspersed
        self.failure_code = failure_code

    def mistake(self, ctx: click.Context, problem: str, *, exit_code: int = 125) -> UsageMistake:
        """This command's error for a command line with this problem."""
        return UsageMistake(problem, ctx.command_path, self.usage, exit_code=exit_code)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            flags, positional = _split(self._options(), args, interspersed=self.interspersed)
        except _HelpAsked:
            click.echo(self.get_help(ctx))
            ctx.exit()
        except ValueError as error:
            raise self.mistake(ctx, str(error)) from None
        self._check_count(ctx, len(positional))
        try:
            return super().parse_args(ctx, [*flags, "--", *positional])
        except click.BadParameter as error:
            raise self.mistake(ctx, _bad_value(error)) from None
        except click.UsageError as error:
            raise self.mistake(ctx, error.message, exit_code=1) from None

    def invoke(self, ctx: click.Context) -> Any:
        app = ctx.find_object(App)
        if app is not None:
            app.failure_code = self.failure_code
        try:
            return super().invoke(ctx)
        except InvalidInput as error:
            if not error.message.startswith('invalid argument "'):
                raise
            raise self.mistake(ctx, str(error)) from None

    def _options(self) -> list[click.Option]:
        return [each for each in self.params if isinstance(each, click.Option)]

    def _check_count(self, ctx: click.Context, count: int) -> None:
        low, high = self.at_least, self.at_most
        if high is None and not any(isinstance(each, click.Argument) for each in self.params):
            high = 0
        if count >= low and (high is None or count <= high):
            return
        if high == 0:
            wanted = "accepts no arguments"
        elif low == high:
            wanted = f"requires {_arguments(low)}"
        elif high is None:
            wanted = f"requires at least {_arguments(low)}"
        elif low == 0:
            wanted = f"requires at most {_arguments(high)}"
        else:
            wanted = f"requires at least {low} and at most {_arguments(high)}"
        program = ctx.find_root().info_name
        told = self.mistake(ctx, f"{program}: '{ctx.command_path}' {wanted}", exit_code=1)
        told.points = "See" if low and high is None else "Run"
        raise told

    def get_help(self, ctx: click.Context) -> str:
        from lamina.cli.help import command_help

        return command_help(self, ctx)


def docker_command(
    usage: str, summary: str, **settings: Any
) -> Callable[[Callable[..., int | None]], Command]:
    """Make a `Command` of a function; the keyword arguments are those of `Command`."""

    def decorate(function: Callable[..., int | None]) -> Command:
        params = list(reversed(getattr(function, "__click_params__", [])))
        return Command(
            None, callback=function, params=params, usage=usage, help=summary, **settings
        )

    return decorate


class _HelpAsked(Exception):
    """`-h` or `--help` was among the flags."""


def _split(
    options: Sequence[click.Option], args: Sequence[str], *, interspersed: bool
) -> tuple[list[str], list[str]]:
    """The flags as `--name=value` or `--name`, and the arguments; ValueError has pflag's words."""
    by_name = {name: option for option in options for name in option.opts}
    by_name |= {name: option for option in options for name in option.secondary_opts}
    found: list[tuple[click.Option, str]] = []
    positional: list[str] = []
    rest = iter(args)
    for arg in rest:
        if arg == "--":
            positional += rest
        elif arg.startswith("--"):
            name, given, value = arg.partition("=")
            if len(name) < 3 or name[2] == "-":
                raise ValueError(f"bad flag syntax: {arg}")
            if name == "--help" and name not in by_name:
                raise _HelpAsked
            option = by_name.get(name)
            if option is None:
                raise ValueError(f"unknown flag: {name}")
            if option.is_flag:
                said = _truth(option, value if given else "true")
                found.append((option, _flag_text(option, name, said)))
                continue
            if not given:
                following = next(rest, None)
                if following is None:
                    raise ValueError(f"flag needs an argument: {name}")
                value = following
            _check_number(option, value)
            found.append((option, f"{_long(option)}={value}"))
        elif arg.startswith("-") and len(arg) > 1:
            _short_flags(arg, rest, by_name, found)
        else:
            positional.append(arg)
            if not interspersed:
                positional += rest
    return _last_ones(found), positional


def _short_flags(
    arg: str,
    rest: Any,
    by_name: dict[str, click.Option],
    found: list[tuple[click.Option, str]],
) -> None:
    """One group of short flags: `-d`, `-dit`, `-n5`, `-n=5`, `-n 5`."""
    letters = arg[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        option = by_name.get(f"-{letter}")
        if option is None:
            if letter == "h":
                raise _HelpAsked
            raise ValueError(f"unknown shorthand flag: {letter!r} in -{letter}{letters}")
        if option.is_flag:
            text = "true"
            if letters.startswith("="):
                text, letters = letters[1:], ""
            found.append((option, _flag_text(option, f"-{letter}", _truth(option, text))))
            continue
        value: str | None = letters.removeprefix("=") if letters else next(rest, None)
        if value is None:
            raise ValueError(f"flag needs an argument: {letter!r} in -{letter}")
        _check_number(option, value)
        # A short-only option takes its value attached; `-x=v` would pass the `=` on.
        name = _long(option)
        found.append((option, f"{name}={value}" if name.startswith("--") else f"{name}{value}"))
        return


def _last_ones(found: list[tuple[click.Option, str]]) -> list[str]:
    """The flags in order; of a flag that takes one value only the last stays, unless it is off."""
    last = {id(option): index for index, (option, _) in enumerate(found)}
    return [
        text
        for index, (option, text) in enumerate(found)
        if text and (option.multiple or option.count or last[id(option)] == index)
    ]


def _long(option: click.Option) -> str:
    return next((name for name in option.opts if name.startswith("--")), option.opts[0])


def _flag_text(option: click.Option, name: str, said: bool) -> str:
    """How click is told that a flag was switched on, or off (nothing, where off is its default)."""
    if name in option.secondary_opts:
        said = not said
    if said:
        return _long(option)
    return option.secondary_opts[0] if option.secondary_opts else ""


def _truth(option: click.Option, text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(
        f'invalid argument "{text}" for "{flag_names(option)}" flag: '
        f'strconv.ParseBool: parsing "{text}": invalid syntax'
    )


def _check_number(option: click.Option, value: str) -> None:
    """Refuse what is no number in pflag's words; click's own are others."""
    kinds: dict[str, tuple[Callable[[str], float], str]] = {
        "integer": (int, "ParseInt"),
        "float": (float, "ParseFloat"),
    }
    if option.type.name not in kinds:
        return
    parse, name = kinds[option.type.name]
    try:
        parse(value)
    except ValueError:
        raise ValueError(
            f'invalid argument "{value}" for "{flag_names(option)}" flag: '
            f'strconv.{name}: parsing "{value}": invalid syntax'
        ) from None


def flag_names(option: click.Option) -> str:
    """An option's names as Docker writes them, `-a, --all`: the first of each length."""
    short = [name for name in option.opts if not name.startswith("--")][:1]
    return ", ".join(short + [name for name in option.opts if name.startswith("--")][:1])


def _bad_value(error: click.BadParameter) -> str:
    if isinstance(error.param, click.Option):
        value = getattr(error, "value", None)
        shown = f'invalid argument "{value}"' if value is not None else "invalid argument"
        return f'{shown} for "{flag_names(error.param)}" flag: {error.message.rstrip(".")}'
    return error.message


def _arguments(count: int) -> str:
    return f"{count} argument{'' if count == 1 else 's'}"
