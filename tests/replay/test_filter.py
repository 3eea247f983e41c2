"""Conditions on samples: what they mean, what is refused and where, what a filter keeps."""

import pytest
from capture_toys import life
from hypothesis import example, given, settings
from hypothesis import strategies as st

from townlet_replay.errors import CaptureError
from townlet_replay.manifest import load_capture
from townlet_replay.sample import same_sample, with_meta
from townlet_replay.sidecar import Behaviour, SampleMetrics
from townlet_replay.tools.derived import write_capture
from townlet_replay.tools.expression import MAX_DEPTH, Kind, parse_condition
from townlet_replay.tools.filtering import NAMES, filter_capture
from townlet_replay.writer import CaptureWriter

KINDS = {"x": Kind.NUMBER, "y": Kind.NUMBER, "who": Kind.TEXT, "tags": Kind.TEXTS, "n": Kind.TABLE}
FACTS = {
    "x": st.integers(-3, 3),
    "y": st.sampled_from([-1.5, 0.0, 2.0, 1e-3]),
    "who": st.sampled_from(["ana", "ben", "o'hara"]),
    "tags": st.lists(st.sampled_from(["day", "night", 'so "odd"']), unique=True).map(tuple),
    "n": st.fixed_dictionaries({"chat": st.integers(0, 3)}),
}
numbers = st.sampled_from(["x", "y", "n['chat']", "0", "-3", "1e-3", ".5", "2.0"])
people = st.sampled_from(["who", "'ana'", '"ben"', r"'o\'hara'"])
tags = st.sampled_from(["'day'", "'night'", r'"so \"odd\""'])
comparisons = st.one_of(
    st.tuples(numbers, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), numbers),
    st.tuples(people, st.sampled_from(["==", "!="]), people),
    st.tuples(st.just("tags"), st.just("has"), tags),
    st.tuples(tags, st.sampled_from(["in", "not in"]), st.just("tags")),
    st.tuples(people, st.sampled_from(["in", "not in"]), st.just("['ana', \"ben\"]")),
    st.tuples(numbers, st.just("in"), st.just("[0, -3, 2.0]")),
).map(" ".join)
conditions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join),
        inner.map("not {}".format),
        inner.map("({})".format),
    ),
    max_leaves=8,
)


def as_python(condition):
    """The same condition in Python, whose rules of precedence are those of the language."""
    left, found, right = condition.partition("tags has ")
    while found:
        tag = next(t for t in ("'day'", "'night'", r'"so \"odd\""') if right.startswith(t))
        condition = f"{left}{tag} in tags{right[len(tag) :]}"
        left, found, right = condition.partition("tags has ")
    return condition


@settings(max_examples=300, deadline=None)
@given(conditions, st.fixed_dictionaries(FACTS))
@example("x > 0 or x < 0 and not y == 0 or y == 2", {"x": 0, "y": 2.0, "n": {}, "tags": ()})
def test_a_condition_means_what_it_means_in_python(condition, facts):
    assert parse_condition(condition, KINDS)(facts) == eval(as_python(condition), {}, facts)


WORDS = "x who tags n 1 'a' not and or in has null ( ) [ ] == < ,"
scraps = st.one_of(
    st.text(max_size=40), st.lists(st.sampled_from(WORDS.split()), max_size=10).map(" ".join)
)


@settings(max_examples=300, deadline=None)
@given(scraps)
def test_anything_else_is_refused_with_a_sentence(text):
    try:
        parse_condition(text, KINDS)
    except CaptureError as error:
        said = str(error)
    else:
        return
    assert said.startswith(f"condition {text!r}, character ")


def test_what_is_unknown_fulfils_no_comparison():
    facts = {"x": None, "y": 1.0, "who": None, "tags": ("day",), "n": None}
    holds = [
        "x == null",
        "n['chat'] == null",
        "not x > 0",
        "who != null or y == 1",
        "y != null",
    ]
    fails = ["x > 0", "x <= 0", "x != 5", "who in ['ana']", "who not in ['ana']", "n['chat'] == 0"]
    assert [text for text in holds if not parse_condition(text, KINDS)(facts)] == []
    assert [text for text in fails if parse_condition(text, KINDS)(facts)] == []


@pytest.mark.parametrize(
    ("text", "character", "problem"),
    [
        ("z > 0", 1, "unknown name 'z'; known: n, tags, who, x, y"),
        ("x > 0 and wo == 'ana'", 11, "unknown name 'wo'; did you mean 'who'?"),
        ("x > 'ana'", 5, "expected a number beside '>', found a text ('ana')"),
        ("who == 3", 8, "expected a text after '==', found a number (3)"),
        ("tags == 'day'", 1, "expected a number or a text before '==', found a list of texts"),
        ("who has 'ana'", 1, "expected a list before 'has', found a text (who)"),
        ("3 in tags", 1, "expected a text to look for, found a number (3)"),
        ("x = 3", 3, "'=' is not known; did you mean '=='?"),
        ("x > 3 && y > 3", 7, "'&' is not known; did you mean 'and'?"),
        ("who == 'ana", 8, "this text has no closing '"),
        ("x > 3 y > 3", 7, "expected 'and', 'or' or the end, found 'y'"),
        ("0 < x < 3", 7, "join comparisons with 'and'"),
        ("(x > 3", 7, "expected ')', found the end"),
        ("", 1, "expected a name, a number or a text, found the end"),
        ("x", 2, "expected a comparison"),
        ("n > 3", 3, "expected [...] after n, a table: n['key'], found '>'"),
        ("x in [1, 'a']", 10, "expected a number like the first of the list, found a text ('a')"),
        ("x in [1, y]", 10, "expected a number or a text in a list, found a number (y)"),
        ("x in [1, 2", 11, "expected ',' or ']', found the end"),
        ("x not 3", 7, "expected 'in', found '3'"),
        ("null == x", 1, "expected a number or a text before '==', found null"),
        (f"x > {'9' * 31}", 5, "a number of more than 30 characters"),
        ("not " * (MAX_DEPTH + 2) + "x > 0", 4 * MAX_DEPTH + 5, f"nested deeper than {MAX_DEPTH}"),
        ("x > 0 ; y", 7, "';' is not known here"),
    ],
)
def test_errors_point_at_the_character(text, character, problem):
    with pytest.raises(CaptureError) as caught:
        parse_condition(text, KINDS)
    assert f"condition {text!r}, character {character}: {problem}" in str(caught.value)


def test_whole_numbers_are_compared_exactly():
    seed = 2**63 - 1
    assert parse_condition(f"x == {seed}", KINDS)({"x": seed})
    assert not parse_condition(f"x == {seed}", KINDS)({"x": seed - 1})


@pytest.fixture
def days(tmp_path):
    writer = CaptureWriter(tmp_path / "days")
    for episode in range(4):
        samples = [
            life(
                agent,
                episode,
                rows=3 + episode,
                seed=number,
                tags=("night",) * (episode % 2),
                dies=agent == "ben" and episode == 2,
            )
            for number, agent in enumerate(("anna", "ben"))
        ]
        samples[1] = with_meta(samples[1], behaviour=Behaviour(kind="script_eps", epsilon=0.25))
        writer.write_episode(samples)
    return load_capture(tmp_path / "days")


@pytest.mark.parametrize(
    ("where", "fits"),
    [
        ("rows >= 5", lambda sample: sample.rows >= 5),
        (
            "tags has 'night' and agent_id == 'ben'",
            lambda s: s.meta.tags and s.meta.agent_id == "ben",
        ),
        ("return > 0", lambda sample: sample.meta.metrics.reward_sum > 0),
        ("epsilon != null", lambda sample: sample.meta.behaviour.epsilon is not None),
        ("behaviour in ['script_eps']", lambda s: s.meta.behaviour.kind == "script_eps"),
        ("episode_id in [0, 3]", lambda sample: sample.meta.episode_id in (0, 3)),
        ("terminations == 1", lambda sample: sample.terminations[-1]),
        ("action_counts['chat'] > 2", lambda s: s.meta.metrics.action_counts.get("chat", 0) > 2),
    ],
)
def test_a_filter_keeps_exactly_the_samples_that_fit(days, tmp_path, where, fits):
    expected = [sample for sample in days if fits(sample)]
    assert 0 < len(expected) < len(days)
    kept = list(write_capture(filter_capture(days, where), tmp_path / "kept"))
    assert len(kept) == len(expected)
    for sample, original in zip(kept, expected, strict=True):
        assert same_sample(with_meta(sample, source=None), original)
        assert sample.meta.source.manifest_sha256 == days.digest


def test_copies_are_found_by_the_recording_they_come_from(days, tmp_path):
    copies = write_capture(filter_capture(days, "source == null"), tmp_path / "copies")
    assert len(copies) == len(days)
    assert len(filter_capture(copies, f"source == '{days.digest}'")) == len(days)


def test_what_no_sample_can_fulfil_is_refused(days):
    with pytest.raises(CaptureError, match=r"none of 8 samples fulfils 'rows > 90'"):
        filter_capture(days, "rows > 90")
    with pytest.raises(CaptureError, match=r"character 29: action_counts has no 'chart'; did you"):
        filter_capture(days, "rows > 3 and (action_counts['chart'] > 0)")
    with pytest.raises(CaptureError, match="affordance_finishes has no 'shower'; this capture has"):
        filter_capture(days, "affordance_finishes['shower'] > 0")


def test_every_metric_can_be_asked_for(days):
    facts = dict.fromkeys(NAMES)
    for name, kind in NAMES.items():
        suffix = "['x']" if kind is Kind.TABLE else ""
        question = f"{name} has 'x'" if kind is Kind.TEXTS else f"{name}{suffix} == null"
        assert parse_condition(question, NAMES)(facts) == (kind is not Kind.TEXTS)
    assert SampleMetrics.model_fields.keys() <= NAMES.keys()
