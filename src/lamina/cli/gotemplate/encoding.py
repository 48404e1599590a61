"""JSON as Go's encoding/json writes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamina.cli.gotemplate.strconv import go_float
from lamina.cli.gotemplate.values import Struct, type_name


def go_json(value: Any) -> str:
    """JSON as Go's encoder writes it, compact, HTML characters left alone; maps sorted by key."""
    import json

    return _json(value, json.dumps)


def _json(value: Any, dumps: Callable[..., str]) -> str:
    if isinstance(value, dict):
        items = value.items() if isinstance(value, Struct) else sorted(value.items())
        body = ",".join(
            f"{_json(key, dumps)}:{_json(each, dumps)}" for key, each in items if not callable(each)
        )
        return f"{{{body}}}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_json(each, dumps) for each in value)}]"
    if isinstance(value, str):
        text = value.encode(errors="replace").decode() if not value.isascii() else value
        quoted = dumps(text, ensure_ascii=False)
        return quoted.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    if isinstance(value, float):
        return _json_float(value)
    if value is None or isinstance(value, (bool, int)):
        return dumps(value)
    raise ValueError(f"json: unsupported type: {type_name(value)}")


def _json_float(value: float) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"json: unsupported value: {go_float(value)}")
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        return go_float(value, "f")
    text = go_float(value, "e")
    return text[:-2] + text[-1] if text[-4:-1] == "e-0" else text
