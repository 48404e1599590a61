"""RUN, COPY, ADD and WORKDIR to steps, each with the line that the history will have of it."""

from __future__ import annotations

from collections.abc import Mapping

from lamina.build.dockerfile import DockerfileError
from lamina.build.dockerfile.instructions import Add, Command, Copy, Run, Workdir
from lamina.build.dockerfile.nodes import Heredoc, parse_opening
from lamina.build.outline import Origin, Wishes
from lamina.build.refusals import NotSupportedHere
from lamina.build.scope import Scope
from lamina.build.steps import CopyStep, RunStep, WorkdirStep

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXY_ARGS = frozenset(
    name
    for upper in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (upper, upper.lower())
)
"""Arguments that need no ARG, and count neither for the cache nor in the history."""


def run_step(run: Run, scope: Scope, wishes: Wishes) -> tuple[RunStep, str]:
    """The step that a RUN is."""
    _refuse_run_flags(run)
    title, command, script = run.text, run.command, None
    if run.heredocs:
        command, script = _heredoc_command(run)
        title = f"{run.text} ({_summary(run.heredocs[0].content)})"
    args = (f"/dev/pipes/{script.name}",) if script else scope.command(command)
    if not args:
        raise DockerfileError("RUN requires at least one argument", run.lines)
    proxies = {name: value for name, value in wishes.args.items() if name in PROXY_ARGS}
    step = RunStep(
        scope.shown(title),
        run.lines,
        args,
        _environment(scope, proxies),
        scope.run.working_dir or "/",
        scope.run.user,
        run.network if run.network not in ("", "default") else wishes.network,
        script,
        tuple(f"{name}={value}" for name, value in proxies.items()),
    )
    return step, f"RUN {' '.join([*_told_args(scope), *args])} # buildkit"


def copy_step(copy: Copy, scope: Scope, origin: Origin | None) -> tuple[CopyStep, str]:
    """The step that a COPY is; `origin` None: from the context."""
    _refuse_flags("COPY", copy, {"parents": copy.parents, "exclude": bool(copy.exclude)})
    return _files_step("COPY", copy, scope, origin, unpack=False)


def add_step(add: Add, scope: Scope) -> tuple[CopyStep, str]:
    """The step that an ADD is."""
    given = {
        "exclude": bool(add.exclude),
        "checksum": bool(add.checksum),
        "keep-git-dir": add.keep_git_dir,
    }
    _refuse_flags("ADD", add, given)
    return _files_step("ADD", add, scope, None, unpack=add.unpack is not False)


def workdir_step(workdir: Workdir, scope: Scope) -> WorkdirStep:
    """The step that makes the folder that the working folder has just become."""
    title = scope.shown(workdir.text)
    return WorkdirStep(title, workdir.lines, scope.run.working_dir, scope.run.user)


def _environment(scope: Scope, proxies: Mapping[str, str]) -> tuple[str, ...]:
    values, env = scope.values(), scope.environment()
    found = {name: values[name] for name in scope.args if name in values and name not in env} | env
    found.setdefault("PATH", DEFAULT_PATH)
    return tuple(f"{name}={value}" for name, value in found.items() if name not in proxies)


def _told_args(scope: Scope) -> list[str]:
    """The arguments as the history of a RUN has them: how many, and each with its value."""
    values = scope.values()
    told = [f"{name}={values.get(name, '')}" for name in scope.args if name not in PROXY_ARGS]
    return [f"|{len(told)}", *told] if told else []


def _files_step(
    keyword: str, copy: Copy | Add, scope: Scope, origin: Origin | None, *, unpack: bool
) -> tuple[CopyStep, str]:
    sources, inline = _sources(keyword, copy, scope)
    destination = scope.word(copy.destination, copy)
    if not destination:
        raise DockerfileError(f"{keyword} destination can not be empty", copy.lines)
    if len(sources) + len(inline) > 1 and not destination.endswith("/"):
        raise DockerfileError(
            f"When using {keyword} with more than one source file, the destination must be "
            "a directory and end with a /",
            copy.lines,
        )
    owner, mode = scope.word(copy.owner, copy), scope.word(copy.mode, copy)
    flags = [f"--{name}={value}" for name, value in (("chown", owner), ("chmod", mode)) if value]
    told = [keyword, *flags, *sources, *(f"<<{name}" for name, _ in inline), destination]
    step = CopyStep(
        scope.shown(copy.text),
        copy.lines,
        keyword,
        sources,
        inline,
        scope.absolute(destination),
        origin,
        owner,
        _mode(mode, copy),
        unpack,
    )
    return step, f"{' '.join(told)} # buildkit"


def _sources(
    keyword: str, copy: Copy | Add, scope: Scope
) -> tuple[tuple[str, ...], tuple[tuple[str, bytes], ...]]:
    """The paths to copy, and the files whose content stands in the Dockerfile."""
    paths: list[str] = []
    inline: list[tuple[str, bytes]] = []
    heredocs = iter(copy.heredocs)
    for written in copy.sources:
        if copy.heredocs and parse_opening(written, scope.escape):
            doc = next(heredocs)
            content = scope.text(doc.content, copy) if doc.expand else doc.content
            inline.append((doc.name, content.encode()))
            continue
        path = scope.word(written, copy)
        if not path:
            raise DockerfileError(f"{keyword} source can not be empty", copy.lines)
        if keyword == "ADD" and _is_remote(path):
            raise NotSupportedHere(f"ADD of a URL is not supported yet: {path}", copy.lines)
        paths.append(path)
    return tuple(paths), tuple(inline)


def _refuse_flags(keyword: str, copy: Copy | Add, given: Mapping[str, bool]) -> None:
    for flag, is_given in given.items():
        if is_given:
            raise NotSupportedHere(f"{keyword} --{flag} is not supported yet", copy.lines)


def _refuse_run_flags(run: Run) -> None:
    if run.mounts:
        raise NotSupportedHere("RUN --mount is not supported yet", run.lines)
    if run.security not in ("", "sandbox"):
        raise NotSupportedHere(f"RUN --security={run.security} is not supported", run.lines)
    if run.network not in ("", "default", "none", "host"):
        raise DockerfileError(f"invalid network mode {run.network!r}", run.lines)


def _heredoc_command(run: Run) -> tuple[Command, Heredoc | None]:
    """The shell command that a RUN with here-documents is, or the script to execute."""
    first = run.heredocs[0]
    if len(run.heredocs) == 1 and len(run.command.words[0].split()) == 1:
        if first.content.startswith("#!"):
            return run.command, first
        return Command((first.content,), shell=True), None
    text = run.command.words[0]
    for doc in run.heredocs:
        text += f"\n{doc.content}{doc.name}"
    return Command((text,), shell=True), None


def _summary(content: str) -> str:
    lines = [line for line in content.splitlines() if line.strip()]
    head = lines[0].strip()[:30] if lines else ""
    return head + ("..." if len(lines) > 1 or len(lines[0].strip() if lines else "") > 30 else "")


def _mode(text: str, copy: Copy | Add) -> int | None:
    if not text:
        return None
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777 or not text.isdigit():
        raise DockerfileError(
            f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777",
            copy.lines,
        )
    return mode


def _is_remote(source: str) -> bool:
    return source.startswith(("http://", "https://", "git://", "git@", "ssh://", "ftp://"))
