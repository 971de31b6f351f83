from itertools import islice
from pathlib import Path

import pytest
from audit.samples import verdict, write_log
from interlock_lab.replay.checkpoint import Checkpoint
from interlock_lab.replay.engines import Tallies, local
from interlock_lab.replay.inputs import Options, task
from interlock_server.audit.framing import log_path
from interlock_server.errors import ConfigError
from msgspec.structs import replace as changed

from .samples import LOOSER, recorded, run, small_bundle, suspect, tally_of


def erased(log: Path, *segments: int) -> None:
    """Whoever reads them again finds nothing but damage."""
    for segment in segments:
        path = log_path(log, segment)
        path.write_bytes(bytes(path.stat().st_size))


def test_an_interrupted_replay_goes_on_where_it_was(tmp_path):
    """To the same figures, to the byte; what was done is not read again."""
    bundle, log, progress = small_bundle(tmp_path), tmp_path / "log", tmp_path / "progress"
    write_log(log, *([recorded(bundle, number, score=number / 9)] for number in range(6)))
    asked = task(Options((log,), bundle=bundle))

    def interrupted() -> Tallies:
        yield from islice(local(list(enumerate(asked.jobs)), asked.plan, workers=1), 2)
        raise KeyboardInterrupt

    run(tmp_path, log, "--bundle", bundle)
    whole = (tmp_path / "figures.json").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        Checkpoint(progress, asked.digest).collect(interrupted())
    erased(log, 1, 2)
    run(tmp_path, log, "--bundle", bundle, "--resume", progress)

    assert (tmp_path / "figures.json").read_bytes() == whole


def test_a_finished_replay_only_tells_again(tmp_path):
    """Its file holds everything."""
    bundle, log = small_bundle(tmp_path), tmp_path / "log"
    write_log(log, [recorded(bundle, 1)], [recorded(bundle, 2)])
    first = run(tmp_path, log, "--bundle", bundle, "--resume", tmp_path / "progress")
    erased(log, 1, 2)
    second = run(tmp_path, log, "--bundle", bundle, "--resume", tmp_path / "progress")

    assert 2 == first.report["verdicts"]["judged"]
    assert first.report == second.report


def test_a_tally_comes_back_from_the_file(tmp_path):
    """With the units that it is of."""
    checkpoint = Checkpoint(tmp_path / "progress", "plan")
    checkpoint.add(7, tally_of(verdict(1), suspect(2), policy=LOOSER))
    checkpoint.save()
    again = Checkpoint(tmp_path / "progress", "plan")

    assert ({7}, checkpoint.tally) == (again.done, again.tally)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "is of another log, or of other arguments"), (b"\x93garbage", "holds no progress of a replay")],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes | None, message: str):
    """It is left as it is."""
    path = tmp_path / "progress"
    Checkpoint(path, "plan").save()
    path.write_bytes(content or path.read_bytes())
    before = path.read_bytes()

    with pytest.raises(ConfigError, match=message):
        Checkpoint(path, "another plan")
    assert path.read_bytes() == before


def test_with_a_private_key_it_is_another_replay(tmp_path):
    """Without one encrypted texts were not scored."""
    write_log(tmp_path / "log", [verdict(1)])
    digests = {task(Options((tmp_path / "log",), private_key=key)).digest for key in (None, tmp_path / "key")}

    assert 2 == len(digests)


def test_a_log_that_grew_is_another(tmp_path):
    """Its last unit would be missing what came since."""
    bundle = small_bundle(tmp_path)
    arguments = tmp_path / "log", "--bundle", bundle, "--resume", tmp_path / "progress"
    write_log(tmp_path / "log", [recorded(bundle, 1)])
    run(tmp_path, *arguments)
    write_log(tmp_path / "log", [recorded(bundle, 1), changed(recorded(bundle, 2), caller="another")])

    assert isinstance(run(tmp_path, *arguments).error, ConfigError)
