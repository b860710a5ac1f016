"""Write an attribution file: models, sources and licences in words."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from onnxzoo.registry.core.records import Variant
from onnxzoo.registry.core.text import visible
from onnxzoo.registry.licenses.policy import spdx

HUB = "https://huggingface.co"
_HEAD = "Machine-learning models in this product, and the licences that they come under.\n"


def attribution(held: Sequence[Variant]) -> str:
    """Return an attribution file: each version's licence, source, changes and files.

    That a variant was changed, and from what, is stated because licences ask for it.
    Source: Apache License 2.0, 4 (b); Creative Commons BY 4.0, section 3 (a) (1).
    """
    ordered = sorted(held, key=lambda variant: (variant.name, variant.version, variant.variant))
    versions = groupby(ordered, key=lambda variant: (variant.name, variant.version))
    return "\n".join([_HEAD, *("\n".join(_version(list(own))) for _, own in versions)])


def page_of(source: str, revision: str | None) -> str:
    """Return where people find a source; a path of one's own machine says nothing to others.

    >>> page_of("hf://acme/net", "ab12"), page_of("/home/me/net.onnx", None)
    ('https://huggingface.co/acme/net/tree/ab12', 'a local file')
    """
    scheme, sign, rest = source.partition("://")
    if scheme == "hf":
        owner, _, name = rest.partition("/")
        repo = f"{owner}/{name.partition('/')[0].partition('@')[0]}"
        return f"{HUB}/{repo}" + (f"/tree/{revision}" if revision else "")
    if scheme == "pkg":
        return f"the Python package {rest.partition('/')[0]}"
    return source if sign and scheme != "file" else "a local file"


def _version(own: Sequence[Variant]) -> Iterator[str]:
    first = own[0]
    title = f"{first.name}, version {first.version}"
    yield title
    yield "-" * len(title)
    yield f"licence: {_line(first.license or 'unknown')}{_link(first.license)}"
    made = [variant for variant in own if variant.lineage]
    for page in dict.fromkeys(page_of(v.source, v.revision) for v in own if v not in made):
        yield f"source: {_line(page)}"
    for author in dict.fromkeys(a for v in own if (a := v.graph.metadata.get("author"))):
        yield f"author: {_line(author)}"
    for variant in made:
        if variant.lineage:
            parent, kind = variant.lineage.called, variant.lineage.recipe.get("kind", "derived")
            yield f"changed: {variant.variant} was made from {_line(f'{parent} ({kind})')}"
    for variant in own:
        for file in variant.files:
            yield f"file: {variant.variant}/{_line(file.path)} sha256:{file.sha256}"
    yield ""


def _link(license: str | None) -> str:  # noqa: A002  (the field's word)
    """Return where SPDX has the text of a licence that it lists; an expression has no page."""
    listed = spdx(license)
    return f" (https://spdx.org/licenses/{listed}.html)" if listed else ""


def _line(text: str) -> str:
    """Return text of others that cannot begin a line of its own, nor hide anything."""
    return visible(" ".join(text.split()))
