"""References and names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.core.names import Ref, check_name, fold, slug

words = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
names = st.one_of(words, st.tuples(words, words).map("/".join))
versions = st.one_of(st.none(), words, st.from_regex(r"sha256:[0-9a-f]{4,64}", fullmatch=True))


@given(names, st.one_of(st.none(), words), versions)
def test_a_printed_reference_parses_to_itself(
    name: str, variant: str | None, version: str | None
) -> None:
    ref = Ref(name, variant, version)
    assert Ref.parse(str(ref)) == ref


@given(st.text(max_size=40))
def test_any_text_is_a_reference_or_a_usage_error(text: str) -> None:
    try:
        ref = Ref.parse(text)
    except UsageError as error:
        assert error.message  # noqa: PT017
    else:
        assert Ref.parse(str(ref)) == ref


@given(st.text(max_size=300))
def test_a_slug_is_always_a_valid_name(text: str) -> None:
    assert check_name(slug(text)) == slug(text)


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("resnet50", Ref("resnet50")),
        ("ResNet50:INT8", Ref("resnet50", "int8")),
        ("acme/ranker@3", Ref("acme/ranker", None, "3")),
        ("a:b@production", Ref("a", "b", "production")),
        ("a@sha256:ab12", Ref("a", None, "sha256:ab12")),
        (" resnet50 ", Ref("resnet50")),
    ],
)
def test_references_that_are_well_formed(text: str, ref: Ref) -> None:
    assert Ref.parse(text) == ref


@pytest.mark.parametrize(
    "text", ["", "a:", "a@", "a:b@", "a b", "../a", "a/b/c", "-a", "a@sha256:xyz", "a:b:c", "é"]
)
def test_references_that_are_not(text: str) -> None:
    with pytest.raises(UsageError):
        Ref.parse(text)


def test_a_variant_may_follow_the_version() -> None:
    assert Ref.parse("a@3:int8") == Ref("a", "int8", "3")
    assert str(Ref.parse("a@production:int8")) == "a:int8@production"
    for text in ("a@3:", "a@:int8", "a:fp32@3:int8"):
        with pytest.raises(UsageError):
            Ref.parse(text)


@pytest.mark.parametrize("name", ["ResNet-50", "resnet_50", "RESNET-50"])
def test_case_and_underscores_fold(name: str) -> None:
    assert fold(name) == "resnet-50"
