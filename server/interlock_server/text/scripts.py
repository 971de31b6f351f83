"""Whether a text is written in letters that the ensemble knows. No model is asked: it would guess, and guess low."""

from interlock_server.text.windows import split_sentences

_LETTERS_MIN = 4  # fewer are a name, a unit or a formula


def in_known_script(canonical: str) -> bool:
    """False when some sentence consists mostly of letters that are not Latin.

    `canonical` is the canonical view, in which accents are gone and look-alikes in mixed words are replaced.
    """
    return canonical.isascii() or all(_known(canonical[start:end]) for start, end in split_sentences(canonical))


def _known(sentence: str) -> bool:
    if sentence.isascii():
        return True
    letters = [ch for ch in sentence if ch.isalpha()]
    foreign = sum(not ch.isascii() for ch in letters)
    return foreign < _LETTERS_MIN or 2 * foreign <= len(letters)
