"""List the versions of a model."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onnxzoo.cli import options
from onnxzoo.cli.format import few
from onnxzoo.cli.output import print_json, print_line, table
from onnxzoo.registry.core.text import show_size

if TYPE_CHECKING:
    from onnxzoo.registry.core.records import Variant


def versions(name: options.Name, quiet: options.Quiet = False, json: options.Json = False) -> None:
    """List a model's versions, newest first."""
    from onnxzoo.zoo_index.zoo import Zoo

    with Zoo() as zoo:
        found = zoo.registry.list(name=zoo.resolve(name).name)
        aliases = zoo.registry.aliases(found[0].name)
    by_number: dict[int, list[Variant]] = defaultdict(list)
    for variant in found:
        by_number[variant.version].append(variant)
    rows = [_version(number, items, aliases) for number, items in by_number.items()]
    if json:
        print_json(rows)
    elif quiet:
        for row in rows:
            print_line(f"{row['name']}@{row['version']}")
    else:
        table(
            ("VERSION", "VARIANTS", "SIZE", "ALIASES", "LICENSE", "SOURCE", "CREATED"),
            (
                (
                    row["version"],
                    few(row["variants"]),
                    show_size(row["bytes"]),
                    " ".join(row["aliases"]),
                    row["license"] or "?",
                    row["source"],
                    row["created_at"][:10],
                )
                for row in rows
            ),
        )


def _version(
    number: int, variants: "Sequence[Variant]", aliases: Mapping[str, int]
) -> dict[str, Any]:
    first = variants[0]
    return {
        "name": first.name,
        "version": number,
        "variants": [variant.variant for variant in variants],
        "opset_versions": sorted({variant.opset for variant in variants}),
        "bytes": sum(variant.bytes for variant in variants),
        "aliases": [alias for alias, target in aliases.items() if target == number],
        "license": first.license,
        "source": first.source,
        "created_at": min(variant.created_at for variant in variants).isoformat(),
    }
