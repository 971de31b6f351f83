"""The schema of a bundle: what manifest.json, policy.yaml and golden.jsonl may say."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from interlock_server.decision.panel_score import ScoreMap
from interlock_server.strict import Settings

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]


def _different(names: list[str]) -> list[str]:
    if len(set(names)) != len(names):
        raise ValueError("must not name anything twice")
    return names


Categories = Annotated[list[Name], Field(min_length=1), AfterValidator(_different)]


class MemberReads(Settings):
    """What a member is shown; sizes count special tokens."""

    input: Literal["exchange", "sentences", "characters"] = "exchange"
    views: list[Literal["raw", "canonical"]] = ["raw", "canonical"]
    """A member that reads canonical text also reads, in that form, everything that was decoded from the completion."""
    uncased: bool = True
    tokens_max: int = Field(default=256, ge=16, le=8192)
    prompt_tokens_max: int = Field(default=48, ge=0, le=4096)
    chars_max: int = Field(default=400, ge=16, le=65_536)

    @model_validator(mode="after")
    def _leaves_room(self) -> "MemberReads":
        if "raw" not in self.views:
            raise ValueError("views must name raw, which covers the completion")
        if self.input == "exchange" and self.prompt_tokens_max > self.tokens_max // 2:
            raise ValueError("prompt_tokens_max must leave at least half of tokens_max for the completion")
        return self


class MemberRuns(Settings):
    """Where and how a member runs: part of the bundle, since another provider or precision gives other scores."""

    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    """Of the backends onnx and pytorch; one that is not there is refused, never fallen back from."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of pytorch (all three) and tensorrt (float32, float16); an ONNX file has its precision in itself."""
    remote_model: str = Field(default="", pattern=r"^[A-Za-z0-9_.-]{0,100}$")
    """The model's name on the Triton server, for the backend triton."""
    remote_version: str = Field(default="", pattern=r"^[0-9]{0,10}$")
    batch_tokens_max: int = Field(default=16_384, ge=16, le=1 << 20)
    """Of one call on a GPU or a remote server, after padding. A CPU takes windows one by one."""


class ScoreMapFile(Settings):
    """Knots of the map from the log-odds of a score to a log-likelihood ratio."""

    logits: list[Finite]
    llrs: list[Finite]

    @model_validator(mode="after")
    def _increasing(self) -> "ScoreMapFile":
        self.to_map()
        return self

    def to_map(self) -> ScoreMap:
        """The map that `decide` uses."""
        return ScoreMap(tuple(self.logits), tuple(self.llrs))


FILES_NEEDED: dict[str, set[str]] = {
    "onnx": {"model", "tokenizer"},
    "pytorch": {"model", "config", "tokenizer"},
    "triton": {"tokenizer"},
    "linear": {"model"},
    "scripted": {"model"},
}

HAVE_PRECISIONS = {("pytorch", "cpu"), ("pytorch", "cuda"), ("onnx", "tensorrt")}
HAVE_GATES = {("onnx", "cpu"), ("triton", "cpu")}


class MemberManifest(Settings):
    """One classifier: how it runs, what it reads, what it covers, and what its scores mean."""

    name: Name
    kind: Name
    backend: Literal["onnx", "linear", "scripted", "pytorch", "triton"]
    categories: Categories
    reads: MemberReads = MemberReads()
    runs: MemberRuns = MemberRuns()
    files: dict[Literal["model", "tokenizer", "config", "gate"], FileName]
    """`gate` makes this member the one whose hidden states tell texts that the ensemble knows from others."""
    score_maps: dict[Name, ScoreMapFile]
    golden_tolerance: float = Field(default=0.02, gt=0, le=0.2)
    training_story: str = ""

    @model_validator(mode="after")
    def _complete(self) -> "MemberManifest":
        if set(self.score_maps) != set(self.categories):
            raise ValueError("score_maps must have one map for each of the member's categories")
        if missing := FILES_NEEDED[self.backend] - set(self.files):
            raise ValueError(f"files must name the {' and the '.join(sorted(missing))}")
        if self.runs.provider != "cpu" and self.backend not in ("onnx", "pytorch"):
            raise ValueError(f"runs.provider is for onnx and pytorch, not for {self.backend}")
        if self.runs.precision != "float32" and (self.backend, self.runs.provider) not in HAVE_PRECISIONS:
            raise ValueError("runs.precision is for pytorch, and for onnx with tensorrt")
        if "gate" in self.files and (self.backend, self.runs.provider) not in HAVE_GATES:
            raise ValueError("files.gate is for onnx on the cpu, and for triton")
        if (self.backend == "triton") != bool(self.runs.remote_model):
            raise ValueError("runs.remote_model is for the backend triton, which needs it")
        return self


class Manifest(Settings):
    """The whole bundle. `files` has every file of the folder but the manifest itself."""

    format: Literal[1]
    name: Name
    categories: Categories
    members: list[MemberManifest] = Field(min_length=1)
    policy: FileName
    golden: FileName
    stories: FileName | None = None
    """What each member is meant to learn, and claims that could refute it."""
    certificate: FileName | None = None
    """What is claimed of the policy beside these models; in force only while both are the ones that it names."""
    story_results: FileName | None = None
    """What the last check of the claims has found."""
    files: dict[FileName, Digest]

    @model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        names = [member.name for member in self.members]
        if len(set(names)) != len(names):
            raise ValueError("members must have different names")
        if sum("gate" in member.files for member in self.members) > 1:
            raise ValueError("only one member may have a gate")
        for member in self.members:
            unknown = set(member.categories) - set(self.categories)
            if unknown:
                raise ValueError(f"member {member.name} covers unknown categories: {', '.join(sorted(unknown))}")
        used = {self.policy, self.golden, *(file for member in self.members for file in member.files.values())}
        used |= {name for name in (self.stories, self.story_results, self.certificate) if name}
        if missing := sorted(used - set(self.files)):
            raise ValueError(f"files has no digest for {', '.join(missing)}")
        return self

    @property
    def gated_member(self) -> MemberManifest | None:
        """The one that carries the gate for the unknown."""
        return next((member for member in self.members if "gate" in member.files), None)


GATE_TOLERANCE = 0.1


class GoldenExchange(Settings):
    """An exchange with the scores that every member must reproduce within its tolerance: member -> category -> score."""

    prompt: str
    completion: str
    scores: dict[Name, dict[Name, Annotated[float, Field(ge=0, le=1)]]]
    ood_pvalue: Annotated[float, Field(gt=0, le=1)] | None = None
    """What the gate must say of it within GATE_TOLERANCE, where there is a gate."""
