"""Names of models and labels of variants, read from the paths of `.onnx` files in a source."""

import re
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.core.names import slug

# How the Hub's exporters mark a variant in a file's name: model_fp16.onnx, model_quantized.onnx,
# model_O1.onnx (optimum's levels of optimization), model_qint8_avx512_vnni.onnx (its targets).
# Source: the file names of transformers.js and optimum exports on the Hugging Face Hub.
_SUFFIX = re.compile(
    r"(?P<base>.+?)[._-](?P<variant>fp32|fp16|bf16|q?u?int8(_\w+)?|u?int4|quantized|q4|q4f16|q8"
    r"|bnb4|qdq|o[1-4])",
    re.IGNORECASE,
)
_FOLDER, _WHOLE = "onnx", "model"  # what exporters call the folder, and a repository's one model


def split_path(path: str) -> tuple[str, str | None]:
    """Split a file's path into its base and the variant that its suffix stands for.

    >>> split_path("onnx/model_fp16.onnx"), split_path("onnx/model.onnx")
    (('onnx/model', 'fp16'), ('onnx/model', None))
    >>> split_path("model_O1.onnx"), split_path("model_qint8_avx512_vnni.onnx")
    (('model', 'o1'), ('model', 'qint8_avx512_vnni'))
    """
    stem = str(PurePosixPath(path).with_suffix(""))
    match = _SUFFIX.fullmatch(stem)
    return (match["base"], match["variant"].lower()) if match else (stem, None)


def name_of(url: str, base: str, bases: Collection[str]) -> str:
    """Return the name of a model from its source: the Hub's repository, or the file's stem.

    Where a repository holds several graphs, the graph's own name is part of the model's.

    Args:
        url: the source.
        base: the path of the graph, without its suffix.
        bases: those of all graphs that the source holds.

    Raises:
        UsageError: if two graphs would have one name.

    >>> name_of("hf://acme/ranker", "onnx/model", {"onnx/model"})
    'acme/ranker'
    >>> name_of("hf://acme/s2s", "onnx/decoder_model", {"onnx/encoder_model", "onnx/decoder_model"})
    'acme/s2s-decoder_model'
    >>> name_of("hf://acme/pair", "tuned/model", {"base/model", "tuned/model"})
    'acme/pair-tuned'
    """
    if not url.startswith("hf://"):
        return slug(PurePosixPath(base).name)
    repository = repository_name(url)
    if len(bases) < 2:  # noqa: PLR2004
        return repository
    for count in range(1, 1 + max(len(_words(one)) for one in bases)):
        parts = {one: "-".join(_words(one)[-count:]) for one in bases}
        if list(parts.values()).count(parts[base]) == 1:
            part = slug(parts[base]) if parts[base] else ""
            if sum(slug(other) == part for other in parts.values() if other) <= 1:
                return f"{repository}-{part}" if part else repository
    raise UsageError(
        f"`{base}.onnx` of `{url}` needs a name: another graph there would have the same",
        hint=f"zoo pull {url}/{base}.onnx --name NAME",
    )


def repository_name(url: str) -> str:
    """Return the name that a repository's one model has.

    >>> repository_name("hf://Acme/Ranker@main")
    'acme/ranker'
    """
    owner, _, rest = url.removeprefix("hf://").partition("/")
    return f"{slug(owner)}/{slug(rest.partition('@')[0].partition('/')[0])}"


def is_repository(text: str) -> bool:
    """Tell whether a text names a repository of the Hub, and no file or folder of it.

    >>> is_repository("hf://acme/ranker@main"), is_repository("hf://acme/ranker/onnx")
    (True, False)
    """
    return text.lower().startswith("hf://") and text.rstrip("/").count("/") == 3  # noqa: PLR2004


def origin_of(url: str, path: str, revision: str) -> str:
    """Return a file's provenance: the graph of a repository, at a commit.

    >>> origin_of("hf://acme/s2s", "onnx/encoder_q4.onnx", "ab12")
    'hf://acme/s2s/onnx/encoder@ab12'
    >>> origin_of("hf://acme/ranker", "onnx/model_fp16.onnx", "ab12")
    'hf://acme/ranker@ab12'
    """
    base = split_path(path)[0]
    return f"{url}/{base}@{revision}" if _words(base) else f"{url}@{revision}"


def _words(base: str) -> list[str]:
    """Return the parts of a path that tell a graph from others."""
    words = base.split("/")
    if words[-1].lower() == _WHOLE:
        words.pop()
    return words[1:] if words and words[0].lower() == _FOLDER else words


def bases_of(paths: Iterable[str]) -> set[str]:
    """Return the graphs that some files are variants of."""
    return {split_path(path)[0] for path in paths if path.lower().endswith(".onnx")}
