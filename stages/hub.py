"""Loading transformers models and processors: one place for dtype, device and error messages."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from grand_pipeline import weights
from grand_pipeline.errors import GrandError, MissingDependencyError, SettingsError

_LIBRARY = re.compile(r"requires the (\w+) library")
"""How transformers names a package that it can not do without."""

Dtype = Literal["float32", "bfloat16", "float16"]
"""Number formats that weights can be loaded in."""


def pretrained(auto: str, model: str, device: str, dtype: str = "float32") -> Any:
    """`transformers.<auto>.from_pretrained(model)`, in evaluation mode, on `device`.

    Raises MissingDependencyError when the weights are neither here nor reachable, SettingsError
    when the folder holds another kind of model.
    """
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    loader = getattr(transformers, auto)

    def load() -> Any:
        return loader.from_pretrained(
            weights.sane(weights.resolve(model)),
            revision=weights.revision(model),
            # Left open, the library asks on the terminal whether to run what came with the model.
            trust_remote_code=False,
            # Checkpoints are often saved in half precision; boxes and borders need more.
            dtype=getattr(torch, dtype),
            output_loading_info=True,
        )

    live, info = _explained(load, model, auto)
    missing, total = len(info["missing_keys"]), len(live.state_dict())
    # A few are normal: some published checkpoints lack layers that are never used.
    if missing > 0.1 * total:
        raise SettingsError(
            f"model '{model}' has no weights for {type(live).__name__}: {missing} of {total} "
            "tensors are missing; name a checkpoint of this architecture"
        )
    return live.eval().to(device)


def preprocessor(auto: str, model: str) -> Any:
    """`transformers.<auto>.from_pretrained(model)` for a processor, tokenizer or the like.

    Images are prepared by Pillow, so that they come out alike whether torchvision is there or not.

    Raises MissingDependencyError as `pretrained` does.
    """
    import transformers

    def load(name: str = auto, **more: str) -> Any:
        return getattr(transformers, name).from_pretrained(
            weights.resolve(model),
            revision=weights.revision(model),
            trust_remote_code=False,
            **more,
        )

    # Where torchvision is installed transformers takes it, and it rounds what it makes smaller.
    pillow = {"backend": "pil"}
    if auto == "AutoImageProcessor":
        return _explained(partial(load, **pillow), model, auto)
    found = _explained(load, model, auto)
    if hasattr(found, "image_processor"):
        part = "AutoImageProcessor"
        found.image_processor = _explained(partial(load, part, **pillow), model, part)
    return found


def _explained(load: Callable[[], Any], model: str, auto: str) -> Any:
    """The loaded thing, or an error that says what to do instead of a library's traceback."""
    try:
        return load()
    except GrandError:
        raise
    except ImportError as error:
        raise MissingDependencyError(
            f"model '{model}' needs a package that is not installed: {weights.reason(error)}."
            f"{_remedy(error)}"
        ) from error
    except OSError as error:
        raise MissingDependencyError(
            f"model '{model}' is neither a folder here, nor in the cache, nor could it be "
            f"fetched: {weights.reason(error)}. Fetch it with `grand models pull "
            f"{shlex.quote(model)}`, or give the folder of a checkpoint"
        ) from error
    except Exception as error:  # a foreign folder can make the library fail in any way
        raise SettingsError(
            f"model '{model}' can not be loaded as {auto}: {weights.reason(error)}. Name a "
            "checkpoint of the right kind: a hub id, or a folder with config.json and weights"
        ) from error


def _remedy(error: ImportError) -> str:
    """How to install what is missing, where the error names it."""
    asked = _LIBRARY.search(str(error))
    name = asked.group(1).lower() if asked else error.name
    if not name:
        return ""
    fits = ", of the release that fits the installed torch" if name == "torchvision" else ""
    return f" Install it with `pip install {name}`{fits}"
