"""Laws of templates: whatever is thrown at them, they answer or say why not."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lamina.cli.gotemplate import Template, TemplateError

WORDS = """{{ }} {{- -}} /* */ . .a .b.c $ $x := = , | ( ) " ' ` \\ 1 -1 0x1F 1.5 1e9 1i true nil if
    else end range with define template block break continue and or not eq ne lt index slice
    len print printf "%v" "%5.2f" "%[2]*d" "%!" println html js urlquery call json split join title
    lower pad truncate "a" "," 'x' é ☃ \x00"""
PIECES = st.sampled_from([*WORDS.split(), "\n", " "])
TEMPLATES = st.lists(PIECES, max_size=25).map(" ".join) | st.text(max_size=40)
ACTIONS = st.lists(PIECES, max_size=12).map(lambda parts: "{{" + " ".join(parts) + "}}")
DATA: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(TEMPLATES | ACTIONS, DATA)
def test_a_template_gives_text_or_a_template_error(source: str, data: Any) -> None:
    try:
        printed = Template(source).execute(data)
    except TemplateError as error:
        assert str(error).startswith("template: ")
    else:
        assert isinstance(printed, str)


@given(st.text().filter(lambda text: "{{" not in text))
def test_text_without_actions_prints_itself(text: str) -> None:
    assert Template(text).execute(None) == text
