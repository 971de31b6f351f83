"""The checked-in stubs are those of the contract, the contract breaks no caller, and our enums are its enums."""

import subprocess
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2 as d
from interlock.v1 import safety_filter_pb2 as pb
from interlock_server.bundle.stories import ClaimState
from interlock_server.decision.evidence import CertificateState, MissingCause
from interlock_server.decision.verdict import Action, Decision, Reason

PROTO = Path(__file__).resolve().parents[1] / "proto"
CONTRACT = "interlock/v1/safety_filter.proto"
STUBS = sorted(
    path.relative_to(PROTO).as_posix() for path in PROTO.glob("interlock/**/*_pb2*") if path.suffix in (".py", ".pyi")
)
Facts = set[tuple[Any, ...]]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the generator makes of the contract as it is now."""
    out = tmp_path_factory.mktemp("stubs")
    done = subprocess.run(
        [sys.executable, PROTO / "generate.py", out], capture_output=True, text=True, timeout=100, check=False
    )
    assert (0, "") == (done.returncode, done.stderr)
    return out


@pytest.fixture(scope="module")
def baseline() -> d.FileDescriptorProto:
    """The contract that callers have been given."""
    files = d.FileDescriptorSet.FromString((PROTO / "baseline.binpb").read_bytes()).file
    return next(file for file in files if file.name == CONTRACT)


@pytest.fixture(scope="module")
def current() -> d.FileDescriptorProto:
    """The contract of the checked-in stubs."""
    return d.FileDescriptorProto.FromString(pb.DESCRIPTOR.serialized_pb)


def message_facts(message: d.DescriptorProto, path: str = "") -> Iterator[tuple[Any, ...]]:
    """What callers rely on in a message: its name, and of each field the name, number, type, label and presence."""
    name = f"{path}{message.name}"
    yield ("message", name)
    for field in message.field:
        oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else None
        yield ("field", name, field.name, field.number, field.type, field.type_name, field.label, oneof)
    for inner in message.nested_type:
        yield from message_facts(inner, f"{name}.")
    for enum in message.enum_type:
        yield from enum_facts(enum, f"{name}.")


def enum_facts(enum: d.EnumDescriptorProto, path: str = "") -> Iterator[tuple[Any, ...]]:
    """What callers rely on in an enum."""
    return (("value", f"{path}{enum.name}", value.name, value.number) for value in enum.value)


def facts(file: d.FileDescriptorProto) -> Facts:
    """Everything in a contract that callers rely on."""
    found: Facts = {("package", file.package)}
    for message in file.message_type:
        found.update(message_facts(message))
    for enum in file.enum_type:
        found.update(enum_facts(enum))
    for service in file.service:
        for rpc in service.method:
            streams = rpc.client_streaming, rpc.server_streaming
            found.add(("rpc", service.name, rpc.name, rpc.input_type, rpc.output_type, *streams))
    return found


def changed(file: d.FileDescriptorProto) -> d.FileDescriptorProto:
    """A copy that a test may break."""
    copy = d.FileDescriptorProto()
    copy.CopyFrom(file)
    return copy


@pytest.mark.parametrize("name", STUBS)
def test_a_stub_is_current(generated: Path, name: str):
    """Byte for byte what `python proto/generate.py` writes."""
    assert (generated / name).read_bytes() == (PROTO / name).read_bytes()


def test_no_stub_is_missing(generated: Path):
    """Everything that is generated is checked in."""
    written = sorted(path.relative_to(generated).as_posix() for path in generated.rglob("*.py*"))
    assert STUBS == written


def test_the_contract_breaks_no_caller(baseline: d.FileDescriptorProto, current: d.FileDescriptorProto):
    """Whatever callers were given is still there, with the same numbers and types."""
    assert set() == facts(baseline) - facts(current)


def test_the_baseline_says_something(baseline: d.FileDescriptorProto):
    """An empty baseline would be met by any contract."""
    kinds = {fact[0] for fact in facts(baseline)}

    assert {"package", "message", "field", "value", "rpc"} == kinds
    assert len(facts(baseline)) > 100


def test_a_renumbered_field_is_found(current: d.FileDescriptorProto):
    """Old callers would read another field."""
    broken = changed(current)
    broken.message_type[0].field[0].number = 99

    assert ["field"] == [fact[0] for fact in facts(current) - facts(broken)]


def test_a_retyped_field_is_found(current: d.FileDescriptorProto):
    """Old callers would read another type."""
    broken = changed(current)
    broken.message_type[0].field[-1].type = d.FieldDescriptorProto.TYPE_STRING

    assert ["field"] == [fact[0] for fact in facts(current) - facts(broken)]


def test_a_removed_value_is_found(current: d.FileDescriptorProto):
    """Old callers would not understand a reason by another name."""
    broken = changed(current)
    removed = broken.enum_type[0].value.pop()

    assert [("value", broken.enum_type[0].name, removed.name, removed.number)] == list(facts(current) - facts(broken))


def test_a_changed_rpc_is_found(current: d.FileDescriptorProto):
    """Old callers would wait for one answer."""
    broken = changed(current)
    broken.service[0].method[0].server_streaming = True

    assert ["rpc"] == [fact[0] for fact in facts(current) - facts(broken)]


@pytest.mark.parametrize(
    ("ours", "theirs", "prefix"),
    [
        (Reason, pb.Reason, "REASON_"),
        (MissingCause, pb.MissingCause, "MISSING_CAUSE_"),
        (CertificateState, pb.CertificateState, "CERTIFICATE_STATE_"),
        (Decision, pb.Decision, "DECISION_"),
        (ClaimState, pb.TrainingClaimState, "TRAINING_CLAIM_STATE_"),
    ],
)
def test_an_enum_has_the_names_of_the_contract(ours: type[StrEnum], theirs: Any, prefix: str):
    """In the same order, both ways; the contract has UNSPECIFIED before them, which we never are."""
    assert [f"{prefix}UNSPECIFIED", *(f"{prefix}{item}" for item in ours)] == [
        name for name, _ in sorted(theirs.items(), key=lambda item: item[1])
    ]


def test_actions_have_the_names_of_the_contract():
    """Our NONE is its UNSPECIFIED: a released completion needs no action."""
    names = [f"ACTION_{'UNSPECIFIED' if action is Action.NONE else action}" for action in Action]

    assert names == [name for name, _ in sorted(pb.Action.items(), key=lambda item: item[1])]


@pytest.mark.parametrize("ours", [Reason, MissingCause, CertificateState, Decision, Action, ClaimState])
def test_a_value_of_an_enum_is_its_name(ours: type[StrEnum]):
    """Records and metrics hold the value, the contract the name."""
    assert [item.name for item in ours] == [item.value for item in ours]


@pytest.mark.parametrize("enum", list(pb.DESCRIPTOR.enum_types_by_name.values()), ids=lambda enum: enum.name)
def test_zero_is_unspecified(enum: Any):
    """What nobody set never means release."""
    assert enum.values_by_number[0].name.endswith("_UNSPECIFIED")
