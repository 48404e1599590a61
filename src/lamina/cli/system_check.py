"""`lamina system check`: hold what is stored against journals and rows; mend what differs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.command import docker_command
from lamina.cli.context import App
from lamina.errors import InvalidInput

if TYPE_CHECKING:
    from lamina.images.check import Checked

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}


@docker_command(
    "[OPTIONS] [IMAGE|LAYER...]", "Check layers, file by file, and all else that is stored"
)
@click.option("--format", help="Output format: 'text' (default) or 'json'")
@click.option(
    "--from", "archive", metavar="file", help="With --repair: an archive of the image, as for load"
)
@click.option(
    "--max-duration", metavar="duration", help="Stop after this time, such as 10m; begin anywhere"
)
@click.option("--repair", is_flag=True, help="Mend damaged files, remove what nothing names")
@click.option(
    "--sample", metavar="percent", help="Read the content of this share of the files, such as 5%"
)
@click.argument("names", nargs=-1)
@click.pass_obj
def command(
    app: App,
    format: str | None,
    archive: str | None,
    max_duration: str | None,
    repair: bool,
    sample: str | None,
    names: tuple[str, ...],
) -> int:
    from lamina.images.check import Budget, check

    if format not in (None, "text", "json"):
        raise InvalidInput(f"invalid format: {format!r}", remedy="want text or json")
    if archive is not None and not repair:
        raise InvalidInput("--from is for repairs", remedy="add --repair")
    if archive is not None and not Path(archive).exists():
        raise InvalidInput(f"open {archive}: no such file or directory")
    budget = Budget(
        sample=1.0 if sample is None else _share(sample),
        max_duration_s=None if max_duration is None else _seconds(max_duration),
    )
    checked = check(
        app.engine.images,
        names,
        budget=budget,
        repair=repair,
        archive=None if archive is None else Path(archive),
    )
    print(_as_json(checked) if format == "json" else _as_text(checked, repair=repair))
    return 1 if checked.left else 0


def _as_text(checked: Checked, *, repair: bool) -> str:
    from lamina.cli.units import size

    lines = []
    for damage in checked.layers.damage:
        where = f"{damage.diff_id.short}: {damage.path}".removesuffix(": ")
        lines.append(f"{where}: {damage.problem}{_outcome(repair, damage.mended)}")
    for finding in checked.findings:
        lines.append(f"{finding.name}: {finding.problem}{_outcome(repair, finding.mended)}")
    done = checked.layers
    told = f"{done.layers} layers checked: {done.files} files, {size(done.read_bytes)} read"
    if done.unfinished:
        told += f"; {done.unfinished} layers not checked or not to their end: the time was over"
    total = len(done.damage) + len(checked.findings)
    if not total:
        lines.append(f"{told}; nothing is damaged")
    elif repair:
        lines.append(f"{told}; {total - checked.left} of {total} faults mended")
    else:
        lines.append(f"{told}; {total} faults found")
    if repair and any(not each.mended for each in done.damage):
        lines.append(
            "What is left needs an archive of the image: --repair --from FILE; or pull or load it"
        )
    return "\n".join(lines)


def _outcome(repair: bool, mended: bool) -> str:
    if not repair:
        return ""
    return " (mended)" if mended else " (cannot be mended)"


def _as_json(checked: Checked) -> str:
    import json

    done = checked.layers
    document: dict[str, Any] = {
        "Damage": [
            {
                "DiffID": str(each.diff_id),
                "Path": each.path,
                "Problem": each.problem,
                "Mended": each.mended,
            }
            for each in done.damage
        ],
        "Findings": [
            {
                "Kind": each.kind,
                "Name": each.name,
                "Problem": each.problem,
                "Mended": each.mended,
            }
            for each in checked.findings
        ],
        "LayersChecked": done.layers,
        "LayersUnfinished": done.unfinished,
        "Files": done.files,
        "BytesRead": done.read_bytes,
    }
    return json.dumps(document, ensure_ascii=False)


def _share(text: str) -> float:
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise InvalidInput(f"invalid sample: {text!r}", remedy="want a share such as 5%")
    return share


def _seconds(text: str) -> float:
    """A length of time as Go writes it: `10m`, `1h30m`, `1.5s`."""
    import re

    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidInput(f"invalid duration: {text!r}", remedy="want a time such as 10m")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)
