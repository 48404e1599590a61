"""What a Dockerfile is planned as: needed stages, steps, configuration, history."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from lamina.build.dockerfile import DockerfileError, parse
from lamina.build.outline import Wishes, outline
from lamina.build.plan import plan
from lamina.build.refusals import NotSupportedHere
from lamina.build.steps import CopyStep, Plan, PlannedStage, RunStep, WorkdirStep
from lamina.errors import InvalidInput
from lamina.images.config import ImageConfig, RunConfig
from lamina.images.platform import Platform

PLATFORM = Platform("linux", "amd64")
BASE = ImageConfig("amd64", "linux", run=RunConfig(env=("PATH=/bin",), cmd=("sh",)))


def planned(
    text: str,
    *,
    base: ImageConfig = BASE,
    args: Mapping[str, str] | None = None,
    target: str = "",
    labels: Mapping[str, str] | None = None,
) -> Plan:
    outlined = outline(parse(text.encode()), Wishes(PLATFORM, args or {}, target, labels or {}))
    names = {name: f"docker.io/library/{name}" for name in outlined.images}
    return plan(outlined, dict.fromkeys(outlined.images, base), names)


def stage(text: str, **wishes: object) -> PlannedStage:
    return planned(f"FROM base\n{text}", **wishes).stages[-1]  # type: ignore[arg-type]


def only_run(text: str, **wishes: object) -> RunStep:
    step = stage(text, **wishes).steps[-1]
    assert isinstance(step, RunStep)
    return step


def test_the_history_has_buildkits_words() -> None:
    found = stage(
        "LABEL a=b\nCOPY . /app\nRUN chmod +x /app/hello.sh\nWORKDIR /app\nENV X=1 Y='2 3'\n"
        'EXPOSE 80\nVOLUME /d\nUSER me\nSHELL ["/bin/ash", "-c"]\nCMD /app/hello.sh\n'
        'ENTRYPOINT ["/init"]\nADD --chown=1:1 x.tar /\nARG V=2\nRUN ["/bin/x", "y"]\n'
    )
    assert [deed.created_by for deed in found.deeds] == [
        "LABEL a=b",
        "COPY . /app # buildkit",
        "RUN /bin/sh -c chmod +x /app/hello.sh # buildkit",
        "WORKDIR /app",
        "ENV X=1 Y=2 3",
        "EXPOSE map[80/tcp:{}]",
        "VOLUME [/d]",
        "USER me",
        "SHELL [/bin/ash -c]",
        'CMD ["/bin/ash" "-c" "/app/hello.sh"]',
        'ENTRYPOINT ["/init"]',
        "ADD --chown=1:1 x.tar / # buildkit",
        "ARG V=2",
        "RUN |1 V=2 /bin/x y # buildkit",
    ]
    assert [deed.step for deed in found.deeds if deed.step is not None] == [0, 1, 2, 3, 4]


def test_steps_are_numbered_as_buildkit_does() -> None:
    (only,) = planned("FROM base AS x\nLABEL a=b\nRUN a\nCOPY a b\nWORKDIR /w\n").stages
    assert only.base_title == "[1/4] FROM docker.io/library/base"
    assert [step.title for step in only.steps] == [
        "[2/4] RUN a",
        "[3/4] COPY a b",
        "[4/4] WORKDIR /w",
    ]
    many = planned("FROM base AS x\n" + "RUN a\n" * 10 + "FROM scratch\nCOPY --from=x / /\n").stages
    assert many[0].base_title == "[x  1/11] FROM docker.io/library/base"
    assert many[0].steps[-1].title == "[x 11/11] RUN a"
    assert [step.title for step in many[1].steps] == ["[stage-1 1/1] COPY --from=x / /"]


def test_a_stage_that_nothing_needs_is_left_out() -> None:
    text = (
        "FROM base AS a\nRUN a\nFROM other AS unused\nRUN x\n"
        "FROM a AS b\nRUN b\nFROM scratch\nCOPY --from=b / /\n"
    )
    assert [each.index for each in planned(text).stages] == [0, 2, 3]
    assert [each.index for each in planned(text, target="a").stages] == [0]
    assert [each.index for each in planned(text, target="1").stages] == [1]
    with pytest.raises(InvalidInput, match="target stage 'zzz' could not be found"):
        planned(text, target="zzz")


def test_a_stage_begins_with_what_the_stage_below_ended_with() -> None:
    found = planned("FROM base AS a\nARG V=1\nENV E=2\nUSER u\nFROM a\nRUN x\n").stages[-1]
    assert found.run.user == "u"
    (run,) = found.steps
    assert isinstance(run, RunStep)
    assert set(run.env) == {"PATH=/bin", "E=2", "V=1"}


def test_arguments_come_from_the_build_the_default_or_above_the_first_from() -> None:
    text = "ARG G=global\nARG TAG=1\nFROM base:$TAG\nARG G\nARG D=default\nARG NONE\nRUN x\n"
    assert planned(text).stages[0].base_title.endswith("FROM docker.io/library/base:1")
    (run,) = planned(text).stages[0].steps
    assert isinstance(run, RunStep)
    assert set(run.env) == {"PATH=/bin", "G=global", "D=default"}
    (run,) = planned(text, args={"G": "g", "D": "d", "NONE": "n", "TAG": "2"}).stages[0].steps
    assert isinstance(run, RunStep)
    assert set(run.env) == {"PATH=/bin", "G=g", "D=d", "NONE=n"}


def test_an_argument_is_unknown_before_its_instruction() -> None:
    assert only_run("RUN x\n", args={"V": "1"}).env == ("PATH=/bin",)


def test_the_environment_wins_over_an_argument() -> None:
    assert "V=env" in only_run("ARG V=arg\nENV V=env\nRUN x\n", args={"V": "cli"}).env


def test_proxies_reach_the_command_but_neither_its_key_nor_the_history() -> None:
    found = stage("RUN x\n", args={"HTTP_PROXY": "http://p"})
    (run,) = found.steps
    assert isinstance(run, RunStep)
    assert run.env == ("PATH=/bin",)
    assert run.proxies == ("HTTP_PROXY=http://p",)
    assert found.deeds[-1].created_by == "RUN /bin/sh -c x # buildkit"


def test_unused_build_arguments_are_told() -> None:
    text = "ARG A\nFROM base\nARG B\n"
    assert planned(text, args={"A": "1", "B": "1", "C": "1", "no_proxy": "x"}).unused_args == ("C",)


def test_an_entrypoint_drops_the_inherited_command_but_not_an_own_one() -> None:
    assert stage('ENTRYPOINT ["a"]\n').run.cmd is None
    assert stage('CMD ["b"]\nENTRYPOINT ["a"]\n').run.cmd == ("b",)


def test_paths_are_relative_to_the_working_folder() -> None:
    found = stage("WORKDIR /a\nWORKDIR b/../c\nCOPY x y\nCOPY x .\nCOPY x /z/\nWORKDIR /\n")
    assert [step.path for step in found.steps if isinstance(step, WorkdirStep)] == ["/a", "/a/c"]
    copies = [step.destination for step in found.steps if isinstance(step, CopyStep)]
    assert copies == ["/a/c/y", "/a/c/", "/z/"]
    assert found.run.working_dir == "/"


def test_variables_are_expanded_where_buildkit_does_and_nowhere_else() -> None:
    found = stage("ENV A=x\nCOPY $A /$A/\nLABEL $A=$A\nRUN echo $A\nCMD echo $A\n")
    copy, run = found.steps
    assert isinstance(copy, CopyStep)
    assert isinstance(run, RunStep)
    assert (copy.sources, copy.destination) == (("x",), "/x/")
    assert run.args == ("/bin/sh", "-c", "echo $A")
    assert found.run.labels == {"x": "x"}
    assert found.run.cmd == ("/bin/sh", "-c", "echo $A")


def test_environment_of_one_instruction_is_expanded_with_that_before_it() -> None:
    assert "B=old" in stage("ENV A=old\nENV A=new B=$A\n").run.env


def test_here_documents_become_shell_input_scripts_and_files() -> None:
    simple = only_run("RUN <<EOF\necho a\necho b\nEOF\n")
    assert simple.args == ("/bin/sh", "-c", "echo a\necho b\n")
    script = only_run("RUN <<run.py\n#!/usr/bin/python3\nprint()\nrun.py\n")
    assert script.args == ("/dev/pipes/run.py",)
    assert script.script is not None
    fed = only_run("RUN cat <<A > /x\n$V\nA\n")
    assert fed.args == ("/bin/sh", "-c", "cat <<A > /x\n$V\nA")
    (copy,) = stage("ARG V=1\nCOPY <<a.txt <<\"b.txt\" /d/\n$V 'q'\na.txt\n$V\nb.txt\n").steps
    assert isinstance(copy, CopyStep)
    assert copy.inline == (("a.txt", b"1 'q'\n"), ("b.txt", b"$V\n"))


def test_onbuild_is_kept_for_the_next_build_and_carried_out_there() -> None:
    first = stage("ONBUILD RUN make\nONBUILD COPY . /src\n")
    assert first.run.on_build == ("RUN make", "COPY . /src")
    assert first.steps == ()
    second = stage("RUN after\n", base=ImageConfig("amd64", "linux", run=first.run))
    assert [step.title for step in second.steps] == [
        "[2/4] RUN make",
        "[3/4] COPY . /src",
        "[4/4] RUN after",
    ]
    assert second.run.on_build == ()


def test_labels_of_the_request_are_the_images() -> None:
    assert stage("LABEL a=1 b=2\n", labels={"a": "9"}).run.labels == {"a": "9", "b": "2"}


REFUSED = {
    "RUN --mount=type=cache,target=/c x": "RUN --mount is not supported yet",
    "RUN --security=insecure x": "RUN --security=insecure is not supported",
    "COPY --parents a b": "COPY --parents is not supported yet",
    "COPY --exclude=x a b": "COPY --exclude is not supported yet",
    "ADD https://example.com/x /x": "ADD of a URL is not supported yet: https://example.com/x",
    "ADD --checksum=sha256:0 x /x": "ADD --checksum is not supported yet",
}


@pytest.mark.parametrize("instruction", REFUSED)
def test_what_is_not_carried_out_is_refused_by_name_and_line(instruction: str) -> None:
    with pytest.raises(NotSupportedHere) as refused:
        stage(f"LABEL a=b\n{instruction}\n")
    assert refused.value.message == REFUSED[instruction]
    assert refused.value.lines.first == 3


BAD = {
    "ENV $NONE=1": "ENV names can not be blank",
    "COPY ${A x /": "failed to process \"${A\": syntax error: missing '}'",
    "EXPOSE ninety": "ninety",
    "COPY a b /no-slash": "When using COPY with more than one source file",
    "COPY --chmod=worse a b": "invalid chmod parameter: 'worse'",
    "STOPSIGNAL SIGNOTHING": "invalid signal: SIGNOTHING",
    "RUN --network=mars x": "invalid network mode 'mars'",
    "VOLUME $NONE": "VOLUME specified can not be an empty string",
}


@pytest.mark.parametrize("instruction", BAD)
def test_what_makes_no_sense_is_refused_with_its_line(instruction: str) -> None:
    with pytest.raises(DockerfileError) as refused:
        stage(f"{instruction}\n")
    assert BAD[instruction] in refused.value.reason
    assert refused.value.lines is not None
    assert refused.value.lines.first == 2
