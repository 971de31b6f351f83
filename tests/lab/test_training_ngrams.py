import pytest
from interlock_server.backends.ngram_features import BUCKETS, ngram_ids


def test_ids_are_the_same_everywhere() -> None:
    """Trained weights are useless if another machine or version counts another bucket."""
    assert ngram_ids("Hi!").tolist() == [2226, 8488, 64602, 71843, 124658, 164467, 245210]


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_nothing_has_no_features(text: str) -> None:
    """Blanks alone are no evidence."""
    assert ngram_ids(text).tolist() == []


@pytest.mark.parametrize("text", ["drove a knife", "Ünïcode ﬁsh", "a", "?!", "\ud800 broken"])
def test_padding_removes_no_feature(text: str) -> None:
    """Whatever stands around a text, separated by blanks, every feature of the text is still there."""
    around = ngram_ids(f"Once upon a time\n{text}  and so they went home.")
    assert set(ngram_ids(text).tolist()) <= set(around.tolist())


def test_ids_are_distinct_increasing_and_in_range() -> None:
    """Presence, not counts: a repeated word adds nothing but its neighbourhoods."""
    ids = ngram_ids("row row row your boat " * 50)
    assert (bool((ids[1:] > ids[:-1]).all()), bool(ids[0] >= 0 and ids[-1] < BUCKETS)) == (True, True)


def test_case_and_blanks_do_not_matter() -> None:
    """ASCII letters are folded and runs of blanks are one space."""
    assert ngram_ids("The  Old\nWell").tolist() == ngram_ids("the old well").tolist()


def test_a_word_counts_wherever_it_stands() -> None:
    """The hash of a word does not depend on its place, in long texts either."""
    late = ngram_ids("lorem " * 3000 + "zebra")
    assert set(ngram_ids("zebra").tolist()) <= set(late.tolist())


def test_heads_learn_what_tells_texts_apart() -> None:
    """On six texts the linear heads find the word that matters, and unknown labels do not get in the way."""
    from interlock_lab.training.ngrams import NgramSettings, fit
    from interlock_lab.training.rows import Row, labels

    texts = {
        "The dragon ate him.": 1.0,
        "The dragon bit her.": 1.0,
        "The baker met him.": 0.0,
        "The baker saw her.": 0.0,
    }
    rows = [
        Row(id=text, source="t", completion=text, labels=labels(violence_injury=known, illicit=0.0), label_source="t")
        for text, known in texts.items()
    ]
    model = fit(rows, NgramSettings(windows_min=1))
    dragon, baker = (model.logits(f"The {who} left.")[0] for who in ("dragon", "baker"))
    assert dragon > baker
