"""The gate for the unknown over hidden states that come from a Triton server: as over those of this process, or closed."""

from typing import Any

import numpy as np
import pytest
from fakes import BENIGN
from gated import STRANGE, write_onnx_bundle
from interlock_server.decision.evidence import MissingCause
from interlock_server.decision.verdict import Reason
from interlock_server.errors import BackendError
from interlock_server.screening import Request, Screening
from tritonserver.fake_server import faked

from .exported import Exported, exported, running, serve_model


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A bundle with a gate whose distances matter: texts farther than that of `BENIGN` are strange."""
    folder = tmp_path_factory.mktemp("gated")
    return exported(folder, write_onnx_bundle(folder / "local", distance_0=np.full(99, 1.23)))


async def screened(found: Exported, *texts: str, change: Any = lambda outputs: outputs) -> list[Screening]:
    """One after the other; the model is changed when it has passed its check."""
    changes: list[Any] = [lambda outputs: outputs]
    async with faked() as (fake, endpoint):
        serve_model(fake, found.models, "alpha", lambda outputs: changes[-1](outputs))
        async with running(found.remote, endpoint) as safety_filter:
            changes.append(change)
            return [await safety_filter.screen(Request(b"", text.encode())) for text in texts]


async def test_pvalues_are_those_of_the_model_in_this_process(gated: Exported):
    """And so is everything else that `decide` is given."""
    texts = [BENIGN, STRANGE, "the tea cup", "He stabbed her.", f"{BENIGN} " * 12]
    far = await screened(gated, *texts)
    async with running(gated.local) as safety_filter:
        near = [await safety_filter.screen(Request(b"", text.encode())) for text in texts]

    assert len({each.evidence.ood_pvalue for each in near}) > 1
    assert [each.evidence.ood_pvalue for each in near] == [each.evidence.ood_pvalue for each in far]
    assert [each.verdict.reasons for each in near] == [each.verdict.reasons for each in far]


async def test_a_known_text_is_released_and_a_far_one_is_not(gated: Exported):
    """By its distance."""
    known, far = await screened(gated, BENIGN, "the tea cup")

    assert known.verdict.released
    assert (Reason.OUT_OF_DISTRIBUTION,) == far.verdict.reasons


async def test_the_order_of_outputs_is_the_servers(gated: Exported):
    """They go by their names."""
    (screening,) = await screened(gated, BENIGN, change=lambda o: {"hidden": o["hidden"], "logits": o["logits"]})

    assert screening.verdict.released


async def test_states_that_are_not_numbers_have_no_pvalue(gated: Exported):
    """The scores count; the gate is closed."""
    change = lambda o: {**o, "hidden": np.full_like(o["hidden"], np.nan)}  # noqa: E731
    (screening,) = await screened(gated, BENIGN, change=change)

    assert screening.evidence.ood_pvalue is None
    assert (Reason.OUT_OF_DISTRIBUTION,) == screening.verdict.reasons


@pytest.mark.parametrize(
    "change",
    [
        lambda o: {"logits": o["logits"]},
        lambda o: {"logits": o["logits"], "states": o["hidden"]},
        lambda o: {**o, "hidden": o["hidden"][:, :3]},
        lambda o: {**o, "hidden": np.hstack([o["hidden"], o["hidden"]])},
        lambda o: {**o, "hidden": o["hidden"][:0]},
        lambda o: {**o, "hidden": o["hidden"].ravel()},
        lambda o: {**o, "hidden": o["hidden"].T},
        lambda o: {**o, "more": o["hidden"]},
    ],
)
async def test_other_states_than_were_asked_for_are_no_answer(gated: Exported, change: Any):
    """Without them the scores do not count either: it is not the model that passed the check."""
    (screening,) = await screened(gated, BENIGN, change=change)

    assert MissingCause.INVALID == next(m for m in screening.evidence.members if m.member == "alpha").missing
    assert not screening.verdict.released


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda m: m.outputs.pop(), r"the model's outputs are \['logits'\]"),
        (lambda m: m.outputs[1].MergeFrom(type(m.outputs[1])(shape=[1])), r"hidden has the shape \[-1, 4, 1\]"),
        (lambda m: setattr(m.outputs[1], "datatype", "FP16"), "hidden is of type FP16, not FP32"),
    ],
)
async def test_a_model_without_such_states_is_refused(gated: Exported, change: Any, complaint: str):
    """Before it is asked for a score."""
    async with faked() as (fake, endpoint):
        serve_model(fake, gated.models, "alpha")
        change(fake.metadata)
        with pytest.raises(BackendError, match=complaint):
            async with running(gated.remote, endpoint):
                pass


async def test_a_model_whose_states_are_others_is_refused(gated: Exported):
    """By the golden exchanges, although its scores are right."""
    async with faked() as (fake, endpoint):
        serve_model(fake, gated.models, "alpha", lambda o: {**o, "hidden": np.full_like(o["hidden"], -1)})
        with pytest.raises(BackendError, match="the gate: does not say of golden exchange 1"):
            async with running(gated.remote, endpoint):
                pass
