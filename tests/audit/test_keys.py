"""Keys and what they do to texts: equal texts match, nobody reads them without the key, and as many are kept as was said."""

import hashlib
import hmac
from pathlib import Path

import pytest
from interlock_server.audit.framing import TEXT_HEAD_SIZE, packed, text_head
from interlock_server.audit.keys import hash_key, key_id, public_key
from interlock_server.audit.log import AuditLog
from interlock_server.audit.settings import AuditSettings
from interlock_server.audit.texts import TextKeeper
from interlock_server.errors import ConfigError
from interlock_server.strict import validate
from nacl.public import PrivateKey, SealedBox

from .disk import Counts, Disk, Seals
from .samples import verdict_id

KEY = bytes(range(32))


def key_of(folder: Path, disk: Disk | None = None) -> bytes:
    """The one in the folder."""
    return hash_key(AuditSettings(), folder, disk or Disk())


def test_a_key_is_made_once(tmp_path: Path):
    """For its owner only, and every log has its own."""
    (tmp_path / "other").mkdir()
    first = key_of(tmp_path)

    assert (32, first) == (len(first), key_of(tmp_path))
    assert 0o600 == (tmp_path / "hash.key").stat().st_mode & 0o777
    assert first != key_of(tmp_path / "other")


def test_a_key_is_on_disk_before_it_is_used(tmp_path: Path):
    """Or hashes would match no more after a power loss."""
    disk = Disk()
    key = key_of(tmp_path, disk)

    assert key == key_of(disk.after_power_loss(tmp_path / "left"))


def test_a_key_that_was_only_half_written_is_none(tmp_path: Path):
    """The next start makes another."""
    disk = Disk(lambda operation, name: (_ for _ in ()).throw(OSError) if operation == "write" else None)
    with pytest.raises(OSError):  # noqa: PT011 — it has no message
        key_of(tmp_path, disk)

    assert 32 == len(key_of(tmp_path))


def test_the_id_of_a_key_does_not_give_it_away():
    """It says which one it is."""
    assert hashlib.sha256(KEY).hexdigest()[:16] == key_id(KEY)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "must hold 32 bytes in hex"),
        (b"00" * 31, "must hold 32 bytes in hex"),
        (b"00" * 33, "must hold 32 bytes in hex"),
        (b"zz" * 32, "must hold 32 bytes in hex"),
        (b"\xff" * 64, "must hold 32 bytes in hex"),
    ],
)
@pytest.mark.parametrize("field", ["hash_key_file", "public_key_file"])
def test_a_bad_key_file_is_refused_by_name(tmp_path: Path, field: str, content: bytes | None, message: str):
    """What it holds is not in the message."""
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    settings = AuditSettings(folder=str(tmp_path), text="encrypted", **{field: str(path)})

    with pytest.raises(ConfigError, match=rf"^audit\.{field}: {path} {message}$") as caught:
        AuditLog.open(settings, "test", Counts(), Disk(), Seals())
    assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, OSError)


def test_a_key_file_may_be_named(tmp_path: Path):
    """Then none is made; a newline at its end is no matter."""
    (tmp_path / "key").write_text(KEY.hex() + "\n")

    assert KEY == hash_key(AuditSettings(hash_key_file=str(tmp_path / "key")), tmp_path / "missing", Disk())


def test_encryption_needs_a_public_key():
    """It is not made up: nobody would have the private one."""
    with pytest.raises(ConfigError, match=r"^audit\.public_key_file: must be given when audit\.text is encrypted$"):
        public_key(AuditSettings(text="encrypted"))


def test_hashes_are_keyed():
    """Equal texts have equal ones under the same key only."""
    trace, frame = TextKeeper(KEY).trace(verdict_id(1), b"prompt", b"completion", "RELEASE", 0)
    other, _ = TextKeeper(bytes(32)).trace(verdict_id(1), b"prompt", b"completion", "RELEASE", 0)

    assert hmac.new(KEY, b"completion", "sha256").hexdigest() == trace.completion_hash
    assert trace.completion_hash != other.completion_hash
    assert (6, 10, "none", None, b"") == (trace.prompt_bytes, trace.completion_bytes, trace.kept, trace.offset, frame)


def test_encrypted_texts_need_the_private_key():
    """Which the server does not have."""
    private = PrivateKey.generate()
    keeper = TextKeeper.sealing(KEY, bytes(private.public_key), {})
    trace, frame = keeper.trace(verdict_id(1), b"prompt", b"completion", "HARMFUL", 7)
    _, _, size = text_head(frame[:TEXT_HEAD_SIZE])

    assert ("encrypted", 7, size) == (trace.kept, trace.offset, len(frame) - TEXT_HEAD_SIZE)
    assert b"completion" not in frame
    assert packed(b"prompt", b"completion") == SealedBox(private).decrypt(frame[TEXT_HEAD_SIZE:])


def kept(shares: dict[str, float], label: str, count: int = 2_000) -> list[bool]:
    """Which of so many texts are."""
    keeper = TextKeeper(KEY, "full", shares)
    return [bool(keeper.trace(verdict_id(number), b"", b"", label, 0)[1]) for number in range(count)]


def test_a_share_of_texts_is_kept():
    """By label, the same ones every time; all where nothing is said, and none without a label."""
    shares = {"RELEASE": 0.1, "HARMFUL": 0.0, "DISAGREEMENT": 1.0}
    sums = [sum(kept(shares, label)) for label in ("HARMFUL", "DISAGREEMENT", "UNCERTAIN", "")]

    assert [0, 2_000, 2_000, 0] == sums
    assert 150 < sum(kept(shares, "RELEASE")) < 250
    assert kept(shares, "RELEASE") == kept(shares, "RELEASE")


def test_a_share_of_what_is_no_reason_is_refused():
    """A slip of the pen would keep every text."""
    with pytest.raises(ConfigError, match="text_shares: 'RELEASED' is neither a reason nor RELEASE"):
        validate(AuditSettings, {"text_shares": {"RELEASED": 0.0}}, "server.yaml")
