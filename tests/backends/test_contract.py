"""The contract of a backend: one suite, run for every one of them."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from fakes import CATEGORIES
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.backends.backend import Run
from interlock_server.inference.scoring import merge
from interlock_server.text.exchange import Exchange

from .cases import CASES, Case

STORY = "She poured two cups of tea. He stabbed her twice! Then it rained for a very long time, all over the town.\nThe end."
HARD = [
    "",
    "a",
    "\ufffd",
    " " * 500,
    "a" * 500,  # one word, longer than any window
    "word " * 300,  # one sentence, longer than any window
    "a. " * 200,
    "мама мыла раму. " * 20,
    "你好。" * 50,
    "👩‍👩‍👧‍👦 😀" * 40,
    "e\u0301" * 100,
    "ﬁ ½ İ ß" * 20,
    "line\r\nline\n\n" * 20,
    "ѕtаb s\u200bt\u200ba\u200bb s t a b",
]
TEXT = st.one_of(st.text(), st.text("ab .!?\n。ж😀\u0301\u200b"), st.sampled_from(HARD))


def scores(case: Case, text: str, prompt: str = "") -> np.ndarray:
    return case.backend.score(case.backend.read(Exchange(prompt, text)).windows, Run())


def test_it_says_where_it_runs(case: Case):
    """A provider, for the metrics."""
    assert isinstance(case.backend.provider, str)
    assert case.backend.provider


@given(text=TEXT, prompt=st.text(max_size=50))
def test_every_byte_of_the_completion_is_in_a_window(case: Case, text: str, prompt: str):
    """In the raw view; or there is no window at all, and hence no evidence."""
    exchange = Exchange(prompt, text)
    raw = [window.span for window in case.backend.read(exchange).windows if window.view == "raw"]

    assert merge(raw) in ((), ((0, exchange.completion_bytes),))


@pytest.mark.parametrize("text", HARD)
def test_hard_texts_are_read_and_scored(case: Case, text: str):
    """A row for every window, whatever the text."""
    windows = case.backend.read(Exchange("", text)).windows

    if windows:
        assert (len(windows), len(CATEGORIES)) == case.backend.score(windows, Run()).shape


@given(text=TEXT, prompt=st.text("word ?", max_size=300))
def test_windows_fit_the_model(case: Case, text: str, prompt: str):
    """However long the prompt is beside them."""
    exchange = Exchange(prompt, text)

    assert all(case.fits(window, exchange) for window in case.backend.read(exchange).windows)


@given(text=TEXT)
def test_spans_are_inside_the_completion(case: Case, text: str):
    """In every view, a window stands for bytes that are there."""
    exchange = Exchange("", text)
    spans = [window.span for window in case.backend.read(exchange).windows]

    assert all(0 <= start <= end <= exchange.completion_bytes for start, end in spans)


def test_scores_are_probabilities_for_each_category(case: Case):
    """One row for a window, one column for a category, from 0 to 1."""
    found = scores(case, STORY)

    assert len(CATEGORIES) == found.shape[1]
    assert np.all((found >= 0) & (found <= 1))


def test_scores_depend_on_the_text(case: Case):
    """Or there would be nothing to test here."""
    assert not np.allclose(scores(case, "He stabbed her."), scores(case, "The tea was cold."))


def test_equal_windows_have_equal_scores(case: Case):
    """Bit by bit: only then may windows be scored once for all their copies."""
    windows = case.backend.read(Exchange("", STORY)).windows
    copies = case.backend.read(Exchange("", STORY)).windows

    assert [window.key for window in windows] == [window.key for window in copies]
    assert np.array_equal(case.backend.score(windows, Run()), case.backend.score(copies, Run()))


def test_company_does_not_change_a_score(case: Case):
    """Together or one by one, to within a rounding error."""
    windows = case.backend.read(Exchange("Who?", f"{STORY} ѕtаb")).windows
    alone = np.concatenate([case.backend.score([window], Run()) for window in windows])

    assert np.allclose(alone, case.backend.score(windows, Run()), atol=1e-6)


def test_case_does_not_change_a_score(case: Case):
    """For a member that says it does not see case."""
    assert np.allclose(scores(case, STORY), scores(case, STORY.upper()), atol=1e-6)


def test_capitals_of_another_script_hide_nothing(case: Case):
    """The worst window of a text in capitals is no better than that of the text itself."""
    plain = scores(case, "мама мыла раму").max(axis=0)

    assert np.all(scores(case, "МАМА МЫЛА РАМУ").max(axis=0) >= plain - 1e-6)


def test_a_view_that_looks_the_same_is_not_read_twice(case: Case):
    """Plain text costs one reading, in capitals too."""
    windows = case.backend.read(Exchange("", "PLAIN text.")).windows

    assert ["raw"] == [window.view for window in windows]


def test_a_disguise_is_read_as_it_is_and_without(case: Case):
    """Both views, of which the worst one will count."""
    windows = case.backend.read(Exchange("", "He ѕtаbbed her.")).windows

    assert {"raw", "canonical"} == {window.view for window in windows}


def test_four_threads_get_what_one_gets(case: Case):
    """Lanes share a backend."""
    texts = [f"{STORY} Number {number}." for number in range(24)]
    expected = [scores(case, text) for text in texts]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda text: scores(case, text), texts))

    assert all(np.array_equal(left, right) for left, right in zip(expected, found, strict=True))


def test_a_run_that_was_stopped_before_it_began_does_not_hurt(case: Case):
    """It fails or returns at once, and the next run is as good as ever."""
    run = Run()
    run.stop()
    windows = case.backend.read(Exchange("", STORY)).windows
    expected = case.backend.score(windows, Run())
    with suppress(Exception):
        case.backend.score(windows, run)

    assert np.array_equal(expected, case.backend.score(windows, Run()))


@pytest.mark.parametrize("make", CASES)
def test_it_closes(make: Callable[[Path], Case], tmp_path: Path):
    """Without complaint, also a second time."""
    backend = make(tmp_path).backend
    backend.close()

    assert backend.close() is None


@pytest.mark.parametrize("piece", [" ", ".", "a", "a. ", "\n", "é", "\u0301", "a\u0301", "你", "。", "😀", "a_.", "ﷺ"])
def test_reading_takes_time_in_proportion_to_the_text(case: Case, piece: str):
    """64 KB of the worst texts that came to mind; a square in the length would take half a minute."""
    exchange = Exchange("", piece * (65_536 // len(piece.encode())))
    begun_s = time.monotonic()
    case.backend.read(exchange)

    assert time.monotonic() - begun_s < 10
