"""The loop around a generator: what is asked how often, and what comes out."""

import threading

import pytest
from interlock_client import AsyncSafetyFilter, SafetyFilter

from . import fake_service
from .conftest import Connect, Serve
from .fake_service import judge, unless_bad


class Generator:
    """Returns what it is told, round by round, and keeps what it was asked for."""

    def __init__(self, *rounds: object) -> None:
        self._rounds = iter(rounds)
        self.asked: list[int] = []

    def __call__(self, n: int) -> object:
        self.asked.append(n)
        return next(self._rounds)


async def test_the_first_round_that_has_one(serve: Serve, connect_one: Connect):
    """Ends the loop, with the completion that was released."""
    service, generator = serve(judge(unless_bad)), Generator(["bad", "bad too"], ["bad", "fine"], ["never"])
    generated = await connect_one(service.target).generate_safely(
        generator, prompt="Hi", n=2, rounds=3, fallback="Sorry."
    )

    assert (True, "fine", False, 2) == (bool(generated), generated.text, generated.is_fallback, generated.rounds_used)
    assert ([2, 2], 2) == (generator.asked, len(generated.selections))
    assert [(b"Hi", 3)] * 2 == [(call.request.prompt, call.request.rounds) for call in service.calls]
    assert generated.verdict is generated.selections[1].verdicts[1]


async def test_the_fallback_in_the_end(serve: Serve, connect_one: Connect):
    """When no round has one; the verdict is one of the last round."""
    generator = Generator(["bad"], ["bad", "bad"])
    generated = await connect_one(serve(judge(unless_bad)).target).generate_safely(
        generator, n=2, fallback=lambda verdict: f"Sorry: {verdict.action}"
    )

    assert (False, "Sorry: ESCALATE", True, 2) == (
        bool(generated), generated.text, generated.is_fallback, generated.rounds_used
    )  # fmt: skip
    assert generated.verdict is generated.selections[-1].verdicts[0]


async def test_no_completions_are_a_round(serve: Serve, connect_one: Connect):
    """Which asks nobody and judges nothing."""
    service = serve(fake_service.release)
    generated = await connect_one(service.target).generate_safely(Generator([], []), fallback="Sorry.")

    assert ("Sorry.", None, [], []) == (generated.text, generated.verdict, generated.selections, service.calls)


async def test_no_more_than_was_asked_for(serve: Serve, connect_one: Connect):
    """A generator without end is cut, and one text counts as one."""
    service = serve(fake_service.withhold)
    await connect_one(service.target).generate_safely(
        Generator(iter(lambda: "again", 0), "one"), n=3, fallback="Sorry."
    )

    assert [[b"again"] * 3, [b"one"]] == service.completions


async def test_nobody_there(connect_one: Connect):
    """Is the fallback, not an exception."""
    generated = await connect_one("127.0.0.1:1", retry=None).generate_safely(Generator(["a"], ["b"]), fallback="Sorry.")

    assert ("Sorry.", "UNREACHABLE") == (generated.text, generated.verdict.reasons[0])


async def test_errors_of_the_generator_pass_through(serve: Serve, connect_one: Connect):
    """They are no verdict."""

    def generate(n: int) -> list[str]:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="memory"):
        await connect_one(serve(fake_service.release).target).generate_safely(generate, fallback="Sorry.")


@pytest.mark.filterwarnings("ignore:enforcement is 'observe'")
async def test_observe_changes_nothing(serve: Serve, connect_one: Connect):
    """One round, and its first completion where none is released; never the fallback."""
    generator = Generator(["bad", "worse bad"], ["never"])
    client = connect_one(serve(judge(unless_bad)).target, enforcement="observe")
    generated = await client.generate_safely(generator, fallback="Sorry.")

    assert ("bad", False, [4]) == (generated.text, generated.is_fallback, generator.asked)
    assert (False, ("HARMFUL", "DISAGREEMENT")) == (bool(generated), generated.verdict.reasons)


async def test_a_generator_may_be_asynchronous(serve: Serve):
    """Or a function that returns what is to be awaited."""

    async def generate(n: int) -> list[str]:
        return ["fine"] * n

    async with AsyncSafetyFilter(targets=serve(fake_service.release).target, timeout_s=10.0) as client:
        generated = [await client.generate_safely(one, fallback="") for one in (generate, lambda n: generate(n))]

    assert [True, True] == list(map(bool, generated))


async def test_a_generator_that_blocks_gets_a_thread(serve: Serve):
    """The loop goes on."""
    threads: list[threading.Thread] = []

    def generate(n: int) -> list[str]:
        threads.append(threading.current_thread())
        return ["fine"]

    async with AsyncSafetyFilter(targets=serve(fake_service.release).target, timeout_s=10.0) as client:
        assert await client.generate_safely(generate, fallback="")

    assert [False] == [thread is threading.main_thread() for thread in threads]


def test_generated_shows_no_text(serve: Serve):
    """It can be printed by mistake."""
    with SafetyFilter(targets=serve(fake_service.release).target, timeout_s=10.0) as client:
        assert "Xanadu" not in repr(client.generate_safely(lambda n: "Xanadu", fallback=""))
