"""The file of callers: one mistake each, and what a good one says."""

from pathlib import Path
from typing import Any

import pytest
from interlock_server.access.file import read_callers
from interlock_server.access.tokens import bearer, new_token, owner_of, token_digest
from interlock_server.errors import ConfigError

from .edge import caller, write_callers

MISTAKES: list[tuple[list[dict[str, Any]], str]] = [
    ([], "at least 1"),
    ([caller(), caller(token="another")], "name: the same"),
    ([caller(), caller("other")], "token_sha256: the same"),
    ([caller(subjects=["a"]), caller("other", "another", subjects=["a"])], "subjects: the same"),
    ([caller(name="Generator One")], "callers.0.name"),
    ([caller(token_sha256=[])], "nobody could be this caller"),
    ([caller(token_sha256=["secret"])], "token_sha256.0"),
    ([caller(scopes=[])], "scopes"),
    ([caller(scopes=["everything"])], "scopes.0"),
    ([caller(scopes=["screen", "admin"])], "admin goes with no other"),
    ([caller(detail_max="all")], "detail_max"),
    ([caller(profiles=["strict"], default_profile="lenient")], "one of profiles"),
    ([caller(profiles=["strict"])], "one of profiles"),
    ([caller(fallback_texts={"English": "No."})], "fallback_texts"),
    ([caller(fallback_texts={"en": ""})], "fallback_texts"),
    ([caller(quota={"requests_per_second": 0})], "requests_per_second"),
    ([caller(quota={"requests": 1})], "there is no such setting"),
    ([caller(token="x", password="x")], "there is no such setting"),
]


@pytest.mark.parametrize(("callers", "message"), MISTAKES, ids=[message for _, message in MISTAKES])
def test_a_mistake_is_refused(tmp_path: Path, callers: list[dict[str, Any]], message: str):
    """By the name of the field, and without what was in it."""
    with pytest.raises(ConfigError, match=message) as caught:
        read_callers(write_callers(tmp_path, callers))

    assert "secret" not in str(caught.value)


def test_a_file_that_everyone_may_write_is_refused(tmp_path: Path):
    """Whoever writes it is every caller."""
    path = write_callers(tmp_path, [caller()])
    path.chmod(0o666)

    with pytest.raises(ConfigError, match="everyone may write"):
        read_callers(path)


@pytest.mark.parametrize("content", ["", "callers: [", "[]", "format: 2\ncallers: []", "\0", "&a [*a]"])
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: str):
    """Whatever it is."""
    path = tmp_path / "callers.yaml"
    path.write_text(content)

    with pytest.raises(ConfigError, match=r"callers\.yaml"):
        read_callers(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path):
    """YAML takes a hundred times its size."""
    path = tmp_path / "callers.yaml"
    path.write_bytes(b" " * 5_000_000)

    with pytest.raises(ConfigError, match="larger than"):
        read_callers(path)


def test_an_unchanged_quota_is_not_given_anew(tmp_path: Path):
    """Otherwise touching the file would be a way around it."""
    content = caller(quota={"requests_per_second": 0.001, "requests_burst": 1})
    before = read_callers(write_callers(tmp_path, [content]))
    before.by_name["generator"].allowance.take(1, 0.0)
    after = read_callers(write_callers(tmp_path, [content | {"detail_max": "full"}]), before)

    assert after.by_name["generator"].allowance.take(1, 0.0) is not None


def test_another_quota_begins_anew(tmp_path: Path):
    """It is in force at once."""
    before = read_callers(write_callers(tmp_path, [caller(quota={"requests_per_second": 0.001, "requests_burst": 1})]))
    before.by_name["generator"].allowance.take(1, 0.0)
    after = read_callers(write_callers(tmp_path, [caller()]), before)

    assert after.by_name["generator"].allowance.take(1, 0.0) is None


def test_the_first_language_that_there_is_is_spoken(tmp_path: Path):
    """As browsers ask: tags in order, a region being less than a language."""
    texts = {"default": "No.", "de": "Nein.", "pt-br": "Não."}
    known = read_callers(write_callers(tmp_path, [caller(fallback_texts=texts)])).by_name["generator"]

    asked = ["de-CH, en;q=0.5", "fr, PT-BR", "pt", "", "x" * 10_000, ",,,,,,,,,,de"]
    assert ["Nein.", "Não.", "No.", "No.", "No.", "No."] == [known.fallback_text(each) for each in asked]


def test_a_token_has_its_owner():
    """And another one has none."""
    token, other = new_token(), new_token()
    digests = [(token_digest(token), "generator")]

    assert ("generator", None, None) == (owner_of(token, digests), owner_of(other, digests), owner_of("", digests))


@pytest.mark.parametrize("token", ["x" * 513, "é", "\ud800"])
def test_what_cannot_be_a_token_is_nobodys(token: str):
    """Without an error."""
    assert owner_of(token, [("0" * 64, "generator")]) is None


@pytest.mark.parametrize(("header", "token"), [("Bearer a", "a"), ("bearer  a ", "a"), ("Basic a", None), ("a", None)])
def test_the_header_says_bearer(header: str, token: str | None):
    """Other schemes are not ours."""
    assert token == bearer(header)
