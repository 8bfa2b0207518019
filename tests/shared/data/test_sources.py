"""Sources as a run names them: read, written and told apart."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.data.sources import (
    MAX_SOURCES,
    GivenSource,
    read_source,
    read_sources,
    source_names,
    sources_text,
)
from components.shared.errors import UserError

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="#"))
given_sources = st.builds(
    GivenSource,
    address=st.one_of(texts.filter(bool), st.sampled_from(["sample://?images=240&seed=7", "a#b"])),
    weight=st.floats(0, 1000, exclude_min=True),
    labels=st.one_of(st.none(), texts, st.just("/data/labels.csv#sha256=" + "0" * 64)),
    class_folders=st.sampled_from([None, "", "yes=Brain Tumor,no brain MRI=none"]),
    version=st.one_of(st.none(), texts),
)


@given(st.lists(given_sources, min_size=1, max_size=5, unique_by=lambda source: source.address))
def test_what_is_written_is_read_again(sources: list[GivenSource]) -> None:
    assert read_sources(sources_text(sources)) == sources
    assert read_sources([str(source) for source in sources]) == sources


@given(st.text())
def test_any_text_is_sources_or_one_line(text: str) -> None:
    try:
        sources = read_sources(text)
    except UserError:
        return
    assert read_sources(sources_text(sources)) == sources


@pytest.mark.parametrize(
    "address",
    [
        "sample://?images=240&seed=7",
        "kaggle://owner/data-set",
        "old #2 scans/[a], b=c",
        '["a", 5]',  # a folder may be called so
        "hospital#ward=2",
    ],
)
def test_one_address_is_what_it_was(address: str) -> None:
    assert read_sources(address) == [GivenSource(address=address)]
    assert sources_text(read_sources(address)) == address


def test_options_follow_the_address_in_any_order() -> None:
    text = "s3://ulm/scans#class_folders=yes=Brain Tumor,no=Healthy#labels=a/b.csv#weight=0.5"
    assert read_source(text) == GivenSource(
        address="s3://ulm/scans",
        weight=0.5,
        labels="a/b.csv",
        class_folders="yes=Brain Tumor,no=Healthy",
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no address"),
        ("#weight=2", "there is no address"),
        ("a#weight=0", "weight '0' is not allowed; give a number above 0, at most 1000"),
        ("a#weight=-1", "weight '-1' is not allowed"),
        ("a#weight=nan", "weight 'nan' is not allowed"),
        ("a#weight=inf", "weight 'inf' is not allowed"),
        ("a#weight=twice", "weight 'twice' is not allowed"),
        ("a#weight=1#weight=2", "an option is given twice"),
        ("a#class_folders=yes", "class_folders"),
        ("[]", "give at least one"),
        (json.dumps([f"{n}" for n in range(MAX_SOURCES + 1)]), f"at most {MAX_SOURCES}"),
        ("a.zip#wieght=2", "'wieght' is not an option; did you mean 'weight'?"),
        ("a.zip#weight=2#Labels=x.csv", "'Labels' is not an option; did you mean 'labels'?"),
        ('["a", "b", "a#weight=2"]', "source a: is given twice"),
    ],
)
def test_what_cannot_be_meant_is_told(text: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason.replace("[", r"\[")):
        read_sources(text)


def test_names_are_short_and_differ() -> None:
    addresses = [
        *("s3://ulm/scans", "/data/bonn/scans.zip", "scans/", "kaggle://owner/brian-tumor-dataset"),
        *("sample://?images=240&seed=7", "/", "x" * 300, "scans-2"),
    ]
    names = source_names(addresses)
    assert names[:6] == [
        *("scans", "scans-2", "scans-3", "brian-tumor-dataset", "sample", "source"),
    ]
    assert len(set(names)) == len(names)
    assert all("/" not in name and 0 < len(name) <= 64 for name in names)
