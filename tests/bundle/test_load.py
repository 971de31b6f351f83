"""Opening a bundle: every file is there, is listed, and is the one that was sealed; the manifest is the pinned one."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from fakes import BENIGN, CATEGORIES, HARMFUL, manifest_content, member, policy_content, write_bundle
from interlock_server.bundle.load import GOLDEN_MIN, MANIFEST, file_digest, load_bundle
from interlock_server.bundle.seal import seal
from interlock_server.errors import BundleError, ConfigError, InterlockError

NAMES = ["alpha", "beta", "gamma"]
LISTED = ["policy.yaml", "golden.jsonl", "alpha.json", "beta.json", "gamma.json"]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A sealed bundle of three scripted members."""
    write_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def reseal(bundle: Path) -> Callable[[], str]:
    """Seals the bundle again, after a change, with the manifest that it had."""
    return lambda: seal(bundle, manifest_content([member(name) for name in NAMES]))


def refused(path: Path, error: type[InterlockError] = BundleError, **arguments: object) -> str:
    """What is said about a bundle that does not open."""
    with pytest.raises(error) as caught:
        load_bundle(path, **arguments)
    return str(caught.value)


def test_what_was_sealed_opens(tmp_path: Path):
    """Sealing and loading agree on the digest and on everything in it."""
    digest = write_bundle(tmp_path / "bundle")
    opened = load_bundle(tmp_path / "bundle", digest)

    assert (digest, NAMES, CATEGORIES) == (
        opened.digest,
        [entry.name for entry in opened.manifest.members],
        opened.manifest.categories,
    )
    assert (tuple(NAMES), GOLDEN_MIN) == (opened.policy.required_members, len(opened.golden))


def test_the_digest_is_that_of_the_manifest(bundle: Path):
    """Anyone can check it with sha256sum."""
    assert file_digest(bundle / MANIFEST) == load_bundle(bundle).digest


def test_sealing_twice_gives_the_same_digest(bundle: Path, reseal: Callable[[], str]):
    """A bundle is reproducible."""
    assert load_bundle(bundle).digest == reseal()


@pytest.mark.parametrize("name", LISTED)
@pytest.mark.parametrize("place", [0, 7, -1])
def test_a_flipped_bit_is_found_and_named(bundle: Path, name: str, place: int):
    """One bit of any listed file, anywhere in it."""
    content = bytearray((bundle / name).read_bytes())
    content[place] ^= 1
    (bundle / name).write_bytes(content)

    assert refused(bundle) == (
        f"{bundle / name}: does not have the digest that {MANIFEST} states; the file was altered"
    )


@pytest.mark.parametrize("name", LISTED)
def test_a_missing_file_is_named(bundle: Path, name: str):
    """Every listed file must be there."""
    (bundle / name).unlink()

    assert f"{bundle}: {name} is missing" == refused(bundle)


def test_a_folder_is_no_file(bundle: Path):
    """A folder in place of a file is a missing file, not a stack trace."""
    (bundle / "alpha.json").unlink()
    (bundle / "alpha.json").mkdir()

    assert f"{bundle}: alpha.json is missing" == refused(bundle)


@pytest.mark.parametrize("name", ["extra.bin", ".hidden", "policy.yaml.orig"])
def test_a_file_that_is_not_listed_is_named(bundle: Path, name: str):
    """Nothing gets in beside what was sealed."""
    (bundle / name).write_text("x")

    assert f"{bundle}: {name} is not listed in {MANIFEST}" == refused(bundle)


def test_another_bundle_than_the_pinned_one_is_refused(bundle: Path):
    """Both digests are named, so that the right one can be pinned."""
    pinned = "sha256:" + "1" * 64

    assert f"{bundle}: is bundle {file_digest(bundle / MANIFEST)}, but {pinned} is pinned" == refused(
        bundle, digest=pinned
    )


def test_an_altered_manifest_is_not_the_pinned_one(bundle: Path):
    """Whoever changes a file and its digest in the manifest is found by the pin."""
    digest = load_bundle(bundle).digest
    (bundle / MANIFEST).write_text((bundle / MANIFEST).read_text() + "\n")

    assert "is pinned" in refused(bundle, digest=digest)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path):
    """Also a folder that is not there."""
    assert f"{tmp_path}: has no {MANIFEST}" == refused(tmp_path)
    assert f"{tmp_path / 'absent'}: has no {MANIFEST}" == refused(tmp_path / "absent")


def test_another_policy_replaces_the_bundles_own(bundle: Path, tmp_path: Path):
    """An operator brings thresholds without a new bundle."""
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump(policy_content(["alpha", "beta"])))
    opened = load_bundle(bundle, policy_path=own)

    assert ("alpha", "beta") == opened.policy.required_members
    assert load_bundle(bundle).policy.digest != opened.policy.digest
    assert load_bundle(bundle).digest == opened.digest


def golden_lines(bundle: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (bundle / "golden.jsonl").read_text().splitlines()]


def write_golden(bundle: Path, rows: list[object]) -> None:
    (bundle / "golden.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_too_few_golden_exchanges_are_refused(bundle: Path, reseal: Callable[[], str]):
    """A handful of examples would not notice a broken model."""
    write_golden(bundle, golden_lines(bundle)[:-1])

    with pytest.raises(BundleError, match=r"^golden\.jsonl: has 7 exchanges; at least 8 are needed$"):
        reseal()


def test_a_golden_line_without_a_member_is_refused(bundle: Path, reseal: Callable[[], str]):
    """Every member is checked on every line."""
    rows = golden_lines(bundle)
    del rows[2]["scores"]["beta"]
    write_golden(bundle, rows)

    with pytest.raises(BundleError, match=r"^golden\.jsonl: line 3 lacks scores of member beta$"):
        reseal()


def test_a_golden_line_without_a_category_is_refused(bundle: Path, reseal: Callable[[], str]):
    """And in every category that it covers."""
    rows = golden_lines(bundle)
    del rows[0]["scores"]["alpha"]["illicit"]
    write_golden(bundle, rows)

    with pytest.raises(BundleError, match=r"^golden\.jsonl: line 1 lacks scores of member alpha$"):
        reseal()


@pytest.mark.parametrize("score", [1.5, -0.1, "0.5", True, float("nan"), None])
def test_a_golden_score_is_a_score(bundle: Path, reseal: Callable[[], str], score: object):
    """A line that no member could reproduce is a mistake."""
    rows = golden_lines(bundle)
    rows[7]["scores"]["gamma"]["illicit"] = score
    write_golden(bundle, rows)

    with pytest.raises(ConfigError, match=r"^golden\.jsonl: line 8: scores\.gamma\.illicit: "):
        reseal()


@pytest.mark.parametrize(
    "line",
    [
        f"{HARMFUL}",
        f'{{"completion": "{HARMFUL}"',
        f'["{HARMFUL}"]',
        f'{{"prompt": "{HARMFUL}", "completion": ["{HARMFUL}"], "scores": {{}}}}',
        f'{{"prompt": "{HARMFUL}", "completion": "{HARMFUL}", "scores": "{HARMFUL}"}}',
        f'{{"prompt": "{HARMFUL}", "completion": "{HARMFUL}", "scores": {{"alpha": {{"illicit": "{HARMFUL}"}}}}}}',
    ],
)
def test_no_message_holds_golden_text(bundle: Path, reseal: Callable[[], str], line: str):
    """Golden exchanges are harmful texts; neither an error nor its cause quotes them."""
    (bundle / "golden.jsonl").write_text(line + "\n")

    with pytest.raises(ConfigError, match=r"^golden\.jsonl: line 1") as caught:
        reseal()

    assert "stabbed" not in f"{caught.value!s} {caught.value!r} {caught.value.__cause__!s}"


def test_golden_text_that_is_not_utf8_is_refused(bundle: Path, reseal: Callable[[], str]):
    """By its line."""
    good = (bundle / "golden.jsonl").read_bytes()
    (bundle / "golden.jsonl").write_bytes(good + good.splitlines()[0].replace(b"tea", b"\xff") + b"\n")

    with pytest.raises(ConfigError, match=r"^golden\.jsonl: line 9 is not JSON$"):
        reseal()


def test_a_line_separator_in_a_golden_text_ends_no_line(bundle: Path, reseal: Callable[[], str]):
    """JSON allows such characters within a text, and pydantic writes them as they are."""
    text = "One.\u2028Two.\x85Three.\u2029Four."
    rows = [json.dumps({**row, "completion": text}, ensure_ascii=False) for row in golden_lines(bundle)]
    (bundle / "golden.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    reseal()

    assert [text] * 8 == [row.completion for row in load_bundle(bundle).golden]


def test_golden_exchanges_are_as_they_were_written(bundle: Path):
    """Texts and scores survive the round trip."""
    row = load_bundle(bundle).golden[0]

    assert ("", BENIGN, {name: dict.fromkeys(CATEGORIES, 0.01) for name in NAMES}) == (
        row.prompt,
        row.completion,
        row.scores,
    )


def test_a_bad_policy_does_not_seal(bundle: Path, reseal: Callable[[], str]):
    """Sealing loads what it has written."""
    (bundle / "policy.yaml").write_text("format: 2\n")

    with pytest.raises(ConfigError, match=r"^policy\.yaml: "):
        reseal()


def test_a_members_digest_covers_its_files_and_settings(tmp_path: Path):
    """Another file or another setting is another member; another member's are none of its business."""
    changed = member("beta", golden_tolerance=0.1)
    write_bundle(tmp_path / "one", [member("alpha"), member("beta")])
    write_bundle(tmp_path / "two", [member("alpha"), changed])
    one, two = load_bundle(tmp_path / "one"), load_bundle(tmp_path / "two")
    pairs = zip(one.manifest.members, two.manifest.members, strict=True)

    assert [True, False] == [one.member_digest(a) == two.member_digest(b) for a, b in pairs]


def test_a_members_files_are_in_the_bundle(bundle: Path):
    """Roles lead to paths in the bundle's folder."""
    opened = load_bundle(bundle)

    assert {"model": bundle / "alpha.json"} == opened.files(opened.manifest.members[0])
