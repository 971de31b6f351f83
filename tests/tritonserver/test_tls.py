"""TLS towards Triton servers: only those of the right authority and name are asked, and only ever over TLS."""

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from access.certificates import Authority
from interlock_server.errors import BackendError

from .fake_server import faked
from .members import any_scores, connected, windows

PATIENT_S = 30.0


class Pki:
    """An authority that both sides know, unless `stranger` issues instead."""

    def __init__(self, folder: Path) -> None:
        (folder / "stranger").mkdir()
        self.known, self.stranger = Authority(folder), Authority(folder / "stranger", "stranger")
        self.client = dict(
            zip(("certificate_file", "key_file"), map(str, self.known.issue(file="client")), strict=True)
        )

    def server(self, of: Authority | None = None, name: str = "localhost", mutual: bool = False) -> Any:
        """What a server shows; with `mutual` it asks callers for theirs."""
        certificate, key = (of or self.known).issue(name)
        pair = (key.read_bytes(), certificate.read_bytes())
        return grpc.ssl_server_credentials([pair], self.known.root.read_bytes() if mutual else None, mutual)

    def tls(self, **changes: str) -> dict[str, str]:
        """The settings of a caller."""
        return {"ca_file": str(self.known.root), **changes}


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    """With files of its own."""
    return Pki(tmp_path)


def local(endpoint: str) -> str:
    """By the name that is in the certificates."""
    return endpoint.replace("127.0.0.1", "localhost")


async def scored(endpoint: str, tls: dict[str, str]) -> tuple[int, ...]:
    """The shape of an answer."""
    async with connected(local(endpoint), tls=tls, check=any_scores) as backend:
        rows = await backend.score(windows(backend), time.monotonic() + PATIENT_S)
        return tuple(rows.shape)


async def test_a_server_of_the_authority_is_asked(pki: Pki):
    """Over TLS, which is all that it speaks."""
    async with faked(pki.server()) as (_, endpoint):
        assert (1, 4) == await scored(endpoint, pki.tls())


async def test_a_server_that_asks_for_a_certificate_is_shown_one(pki: Pki):
    """Both sides know each other."""
    async with faked(pki.server(mutual=True)) as (_, endpoint):
        assert (1, 4) == await scored(endpoint, pki.tls(**pki.client))


@pytest.mark.parametrize(
    "server",
    [
        lambda pki: pki.server(of=pki.stranger),
        lambda pki: pki.server(name="elsewhere"),
        lambda pki: pki.server(mutual=True),
        lambda pki: None,
    ],
    ids=["of another authority", "of another name", "wants to know who calls", "plain text"],
)
async def test_any_other_server_is_refused(pki: Pki, server: Any):
    """Nothing is said to it."""
    async with faked(server(pki)) as (fake, endpoint):
        with pytest.raises(BackendError, match=r"model tiny: it (answers UNAVAILABLE|does not answer in time)$"):
            await scored(endpoint, pki.tls())

        assert [] == fake.asked


@pytest.mark.parametrize("setting", ["ca_file", "certificate_file", "key_file"])
async def test_a_file_that_is_not_there_is_named(pki: Pki, setting: str):
    """Before anything is connected."""
    with pytest.raises(BackendError, match=rf"^triton\.tls\.{setting}: cannot be read: No such file or directory$"):
        await scored("127.0.0.1:1", pki.tls(**{**pki.client, setting: "nowhere.pem"}))


async def test_an_empty_file_is_not_the_authorities_that_grpc_knows(pki: Pki):
    """It would believe a few hundred of them."""
    pki.known.root.write_bytes(b"")
    with pytest.raises(BackendError, match=r"^triton\.tls\.ca_file: is not PEM$"):
        await scored("127.0.0.1:1", pki.tls())


async def test_another_authority_needs_no_restart(pki: Pki):
    """It is added to the file, and its servers are asked too."""
    async with (
        faked(pki.server()) as (_, one),
        faked(pki.server(of=pki.stranger)) as (_, two),
        connected(local(one), local(two), tls=pki.tls(), check=any_scores) as backend,
    ):
        before = dict(backend.complaints)
        pki.known.root.write_bytes(pki.known.root.read_bytes() + pki.stranger.root.read_bytes())
        async with asyncio.timeout(PATIENT_S):
            while backend.complaints:  # noqa: ASYNC110 -- endpoints tell nobody
                await asyncio.sleep(0.01)

    assert [local(two)] == list(before)
