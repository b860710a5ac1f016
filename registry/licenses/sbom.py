"""A CycloneDX bill of materials of held models, through the CycloneDX project's own library.

Source: CycloneDX 1.6; the package-url specification, types "huggingface" and "generic".
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version as installed
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import UUID, uuid5

from onnxzoo.registry.core.errors import NotFound
from onnxzoo.registry.core.manifest import File
from onnxzoo.registry.core.records import Variant
from onnxzoo.registry.licenses.attribution import page_of

if TYPE_CHECKING:
    from cyclonedx.model import ExternalReference, HashType, Property
    from cyclonedx.model.component import Component, Pedigree
    from cyclonedx.model.license import License
    from packageurl import PackageURL

_NAMESPACE = UUID("6c6dc9a5-3b0e-5b8a-9d1f-8f1c1d3e4a55")  # of serial numbers; made once, for here
_URI = "%:/?#[]@!$&'()*+,;=~"  # what a URI holds as it is: RFC 3986
_HUB = re.compile(r"hf://([^/]+)/([^/@]+)")


def bom(held: Sequence[Variant], *, epoch: int | None = None) -> str:
    """Return a bill of materials, CycloneDX 1.6 as JSON.

    Each variant is a machine-learning model with its files and their SHA-256, its licence and its
    purl; what it was derived from is an ancestor in its pedigree. The serial number follows from
    what is listed, so that the same models give the same document but for its time.

    Args:
        held: what to list.
        epoch: the document's time in seconds since 1970; None for now.

    Raises:
        NotFound: if the library is not installed.
    """
    try:
        from cyclonedx.model.bom import Bom, BomMetaData
    except ImportError as error:
        raise NotFound(
            "a bill of materials needs cyclonedx-python-lib, which is not installed",
            hint="pip install 'onnxzoo[sbom]'",
        ) from error
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.tool import ToolRepository
    from cyclonedx.output.json import JsonV1Dot6

    by_digest = {variant.digest: variant for variant in held}
    tool = Component(name="onnxzoo", version=installed("onnxzoo"), type=ComponentType.APPLICATION)
    when = (
        datetime.now(UTC).replace(microsecond=0)
        if epoch is None
        else datetime.fromtimestamp(epoch, UTC)
    )
    made = Bom(
        components=[_component(variant, by_digest) for variant in held],
        serial_number=_serial(held),
        metadata=BomMetaData(tools=ToolRepository(components=[tool]), timestamp=when),
    )
    # Read and written again: the library sorts nothing within an object.
    values = json.loads(JsonV1Dot6(made).output_as_string())
    return json.dumps(values, indent=2, sort_keys=True) + "\n"


def purl_of(variant: Variant) -> "PackageURL":
    """Return the package URL of a variant.

    ``pkg:huggingface/org/name@revision`` of what lies on the Hub as it is; else
    ``pkg:generic/name@version`` with the SHA-256 of its files.
    """
    from packageurl import PackageURL

    match = _HUB.match(variant.source)
    if match and variant.lineage is None:
        return PackageURL("huggingface", match[1], match[2], variant.revision)
    owner, _, name = variant.name.rpartition("/")
    sums = ",".join(f"sha256:{file.sha256}" for file in variant.files)
    return PackageURL("generic", owner or None, name, str(variant.version), {"checksum": sums})


def _serial(held: Sequence[Variant]) -> UUID:
    listed = sorted((variant.ref, variant.digest, variant.license or "") for variant in held)
    return uuid5(_NAMESPACE, json.dumps(listed))


def _component(variant: Variant, by_digest: Mapping[str, Variant]) -> "Component":
    from cyclonedx.model.component import Component, ComponentType

    owner, _, name = variant.name.rpartition("/")
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=variant.ref,
        group=owner or None,
        name=name,
        version=str(variant.version),
        description=variant.task,
        licenses=_licenses(variant.license),
        hashes=[_hash(variant.files[0])] if len(variant.files) == 1 else (),
        purl=purl_of(variant),
        external_references=_references(variant),
        properties=_properties(variant),
        components=[_file(variant, file) for file in variant.files],
        pedigree=_pedigree(variant, by_digest),
    )


def _file(variant: Variant, file: File) -> "Component":
    from cyclonedx.model.component import Component, ComponentType

    ref = f"{variant.ref}/{file.path}"
    return Component(type=ComponentType.FILE, bom_ref=ref, name=file.path, hashes=[_hash(file)])


def _hash(file: File) -> "HashType":
    from cyclonedx.model import HashAlgorithm, HashType

    return HashType(alg=HashAlgorithm.SHA_256, content=file.sha256)


def _licenses(license: str | None) -> "list[License]":  # noqa: A002  (the field's word)
    from cyclonedx.contrib.license.factories import LicenseFactory

    return [LicenseFactory().make_from_string(license)] if license else []


def _references(variant: Variant) -> "list[ExternalReference]":
    from cyclonedx.model import ExternalReference, ExternalReferenceType, XsUri

    page = page_of(variant.source, variant.revision)
    if not page.startswith("https://"):
        return []
    return [
        ExternalReference(
            type=ExternalReferenceType.DISTRIBUTION, url=XsUri(quote(page, safe=_URI))
        )
    ]


def _properties(variant: Variant) -> "list[Property]":
    from cyclonedx.model import Property

    values = {
        "digest": variant.digest,
        "variant": variant.variant,
        "precision": variant.precision,
        "opset": variant.opset,
        "bytes": variant.bytes,
    }
    return [Property(name=f"onnxzoo:{name}", value=str(value)) for name, value in values.items()]


def _pedigree(variant: Variant, by_digest: Mapping[str, Variant]) -> "Pedigree | None":
    from cyclonedx.model.component import Component, ComponentType, Pedigree

    lineage = variant.lineage
    if lineage is None:
        return None
    parent = by_digest.get(lineage.parent or "")
    if parent is None:
        ancestor = Component(type=ComponentType.MACHINE_LEARNING_MODEL, name=lineage.called)
    else:
        owner, _, name = parent.name.rpartition("/")
        ancestor = Component(
            type=ComponentType.MACHINE_LEARNING_MODEL,
            group=owner or None,
            name=name,
            version=str(parent.version),
            purl=purl_of(parent),
            licenses=_licenses(parent.license),
        )
    notes = json.dumps(dict(lineage.recipe), sort_keys=True, ensure_ascii=False)
    return Pedigree(ancestors=[ancestor], notes=notes)
