"""Templates against what the docker client 28 (Go 1.24) printed for them.

`go_templates.json` holds pairs of a template and the output of `docker context ls --format` with
it, on a machine whose one context is DOCKER_CONTEXT below; in an error, everything from
`template parsing error` on.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lamina.cli.format import Listing, inspect
from lamina.cli.gotemplate import Map, Struct, Template, TemplateError
from lamina.errors import InvalidInput

DOCKER_CONTEXT = {
    "Current": True,
    "Description": "Current DOCKER_HOST based configuration",
    "DockerEndpoint": "unix:///var/run/docker.sock",
    "Error": "",
    "Name": "default",
}
HEADERS = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "DockerEndpoint": "DOCKER ENDPOINT",
    "Error": "ERROR",
}
CORPUS = json.loads((Path(__file__).parent / "go_templates.json").read_text())


@pytest.mark.parametrize(("template", "printed"), CORPUS, ids=range(len(CORPUS)))
def test_a_template_prints_what_docker_prints(template: str, printed: str) -> None:
    try:
        kind = "*formatter.clientContextContext"
        text = Listing(kind, HEADERS, "table {{.Name}}", template=template).render([DOCKER_CONTEXT])
    except InvalidInput as error:
        text = f"{error}\n"
    assert text == printed


def execute(template: str, data: object) -> str:
    return Template(template).execute(data)


@pytest.mark.parametrize(
    ("template", "printed"),
    [
        ("{{.a}}", "1"),
        ("{{.missing}}", "<no value>"),
        ("{{.missing.deeper}}", "<no value>"),
        ("{{.null}}", "<no value>"),
        ("{{.}}", "map[a:1 list:[x y] m:map[b:2 c:3] null:<nil>]"),
        ("{{.m}}", "map[b:2 c:3]"),
        ("{{range $k, $v := .m}}{{$k}}={{$v}};{{end}}", "b=2;c=3;"),
        ("{{range .list}}{{.}}{{else}}none{{end}}", "xy"),
        ("{{range .missing}}{{.}}{{else}}none{{end}}", "none"),
        ('{{index .m "b"}} {{index .m "z"}}', "2 <no value>"),
        ("{{len .m}} {{len .list}}", "2 2"),
        ("{{json .}}", '{"a":1,"list":["x","y"],"m":{"b":2,"c":3},"null":null}'),
        ("{{if .missing}}a{{else}}b{{end}}", "b"),
        ('{{join .list "+"}}', "x+y"),
        ('{{printf "%v %d" .m .list}}', "map[b:2 c:3] [%!d(string=x) %!d(string=y)]"),
        ("{{with .m}}{{.b}}{{$.a}}{{end}}", "21"),
    ],
)
def test_maps_and_lists_print_as_in_go(template: str, printed: str) -> None:
    data = {"a": 1, "m": {"c": 3, "b": 2}, "list": ["x", "y"], "null": None}
    assert execute(template, data) == printed


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{.null.x}}", "<.null.x>: nil pointer evaluating interface {}.x"),
        ('{{.a "x"}}', "<.a>: a is not a method but has arguments"),
        ("{{.a.b}}", "<.a.b>: can't evaluate field b in type int"),
        ("{{index .missing 1}}", "error calling index: index of untyped nil"),
        ("{{eq .m .m}}", "error calling eq: non-comparable type map[b:2]: map[string]interface {}"),
        ("{{range .a.x}}{{end}}", "<.a.x>: can't evaluate field x in type int"),
    ],
)
def test_what_a_map_cannot_do_is_told_as_in_go(template: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        execute(template, {"a": 1, "m": {"b": 2}, "null": None})
    assert str(caught.value).endswith(message)


def test_a_missing_label_reads_as_docker_inspect_has_it() -> None:
    labels = Map({"a": "1"}, "")
    assert execute('{{index . "b"}}|{{.b}}', labels) == "|<no value>"


def test_a_function_in_a_row_is_a_method() -> None:
    row = Struct("T", {"Label": lambda name: f"<{name}>"})
    assert execute('{{.Label "x"}}', row) == "<x>"
    with pytest.raises(TemplateError, match="wrong number of args for Label: want 1 got 0"):
        execute("{{.Label}}", row)


def test_inspect_tells_an_unknown_field_as_docker_does() -> None:
    with pytest.raises(InvalidInput) as caught:
        inspect([{"Config": {"Labels": None}}], "{{.Config.Nope}}")
    assert str(caught.value) == (
        'template parsing error: template: :1:9: executing "" at <.Config.Nope>: '
        'map has no entry for key "Nope"'
    )


def test_inspect_prints_each_object_on_its_line() -> None:
    found = [{"RootFS": {"Layers": ["sha256:a", "sha256:b"]}}, {"RootFS": {"Layers": []}}]
    printed = inspect(found, "{{json .RootFS.Layers}}")
    assert printed == '["sha256:a","sha256:b"]\n[]\n'


def test_inspect_keeps_the_order_of_fields_and_sorts_maps() -> None:
    found = [{"Z": 1, "A": {"Labels": {"b": "<", "a": "2"}}}]
    assert inspect(found, "json") == '[{"Z":1,"A":{"Labels":{"a":"2","b":"<"}}}]\n'


@pytest.mark.parametrize("deep", ["(" * 5000 + "1" + ")" * 5000, "if 1}}" + "{{if 1}}" * 3000])
def test_a_template_that_nests_too_deeply_is_refused(deep: str) -> None:
    with pytest.raises(TemplateError):
        Template("{{" + deep + "}}")


def test_a_template_that_calls_itself_for_ever_is_stopped() -> None:
    with pytest.raises(TemplateError, match="exceeded maximum template depth"):
        execute('{{define "a"}}{{template "a"}}{{end}}{{template "a"}}', None)
