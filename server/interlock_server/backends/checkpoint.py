"""A classifier from its config.json and its safetensors file: data only. No code of the checkpoint is run, none is fetched.

A checkpoint that leaves any weight open is refused: the library would fill it with noise, and noise would be served.
"""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer

from interlock_server.bundle.manifest import MemberManifest
from interlock_server.errors import BackendError

MULTI_LABEL = "multi_label_classification"


def load_classifier(member: MemberManifest, files: Mapping[str, Path]) -> Any:
    """The model in float32 on the CPU, checked to take the longest window of the member; raises BackendError."""
    from safetensors.torch import load_file

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    config = _config(member, files["config"])
    try:
        kind = transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
        model, report = kind.from_pretrained(
            None,
            config=config,
            state_dict=load_file(files["model"]),
            attn_implementation="sdpa" if kind._supports_sdpa else "eager",
            dtype=torch.float32,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    except Exception as error:  # a type without classifiers, a damaged file, other shapes
        raise BackendError(
            f"member {member.name}: {files['model'].name} does not load: {type(error).__name__}"
        ) from error
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if names := sorted(map(str, report[problem])):
            what = problem.partition("_")[0]
            raise BackendError(
                f"member {member.name}: {files['model'].name} has {what} weights: {', '.join(names[:4])}"
            )
    _try(model.eval(), member, files["tokenizer"])
    return model


def inputs_of(model: Any) -> list[str]:
    """The names of the inputs that the server fills."""
    names = ["input_ids", "attention_mask"]
    if (
        getattr(model.config, "type_vocab_size", 0) >= 2
        and "token_type_ids" in inspect.signature(model.forward).parameters
    ):
        names.append("token_type_ids")
    return names


def _config(member: MemberManifest, path: Path) -> Any:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        config = transformers.AutoConfig.for_model(content.pop("model_type"), **content)
    except Exception as error:  # not JSON, no type, a type that is not known, values that do not fit it
        raise BackendError(f"member {member.name}: {path.name} does not load: {type(error).__name__}") from error
    if config.problem_type != MULTI_LABEL:
        raise BackendError(
            f"member {member.name}: {path.name}: problem_type must be {MULTI_LABEL}; "
            "`interlock bundle add-member` turns other heads into such a model"
        )
    if config.num_labels != len(member.categories):
        raise BackendError(
            f"member {member.name}: {path.name} has {config.num_labels} labels for {len(member.categories)} categories"
        )
    if getattr(config, "quantization_config", None) is not None:
        raise BackendError(f"member {member.name}: {path.name}: quantised checkpoints are not run; take the original")
    return config


def _try(model: Any, member: MemberManifest, tokenizer: Path) -> None:
    """One run at the limits. On a GPU an id or a position that is out of range would break every later run as well."""
    ids = torch.full((1, member.reads.tokens_max), max(Tokenizer.from_file(str(tokenizer)).get_vocab().values()))
    inputs = {name: torch.ones_like(ids) for name in inputs_of(model)} | {"input_ids": ids}
    try:
        with torch.inference_mode():
            shape = tuple(model(**inputs).logits.shape)
    except Exception as error:
        raise BackendError(
            f"member {member.name}: the model does not take {member.reads.tokens_max} tokens of this tokenizer"
        ) from error
    if shape != (1, len(member.categories)):
        raise BackendError(f"member {member.name}: the model answers in the shape {shape}")
