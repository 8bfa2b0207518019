"""References of container images, by the grammar that registries and container runtimes share.

It is that of github.com/distribution/reference: `[host[:port]/]path[:tag][@digest]`.
"""

import re

_HOST_PART = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = rf"{_PATH_PART}(?:/{_PATH_PART})*"
_REFERENCE = re.compile(
    rf"(?P<name>(?:(?P<host>{_HOST})/)?(?P<path>{_PATH}))"
    r"(?P<tag>:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@(?P<algorithm>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*)"
    r":(?P<hex>[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
_MAX_NAME = 255
_HEX_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}
_EXAMPLE = "registry.example/brain-tumor-train:0.1.0"


def check_image(reference: str) -> str:
    """Checks the reference of a container image.

    Args:
        reference: Such as `registry.example:5000/team/train:0.1.0` or `train@sha256:…`.

    Returns:
        The reference.

    Raises:
        ValueError: No registry or runtime takes it.
    """
    found = _REFERENCE.fullmatch(reference)
    if not found:
        lower = _REFERENCE.fullmatch(reference.lower())
        what = "its name has capital letters" if lower else "it is not an image reference"
        raise ValueError(f"{what}; give one such as {_EXAMPLE}")
    if len(found["name"]) > _MAX_NAME:
        raise ValueError(f"its name has {len(found['name'])} characters; give {_MAX_NAME} at most")
    if re.fullmatch("[a-f0-9]{64}", reference):
        raise ValueError(f"it is the id of an image, which no node finds; give {_EXAMPLE}")
    algorithm, digits = found["algorithm"], found["hex"]
    if algorithm:
        wanted = _HEX_DIGITS.get(algorithm)
        if wanted is None:
            known = ", ".join(_HEX_DIGITS)
            raise ValueError(f"its digest is {algorithm}, which is unknown; use {known}")
        if not re.fullmatch(f"[a-f0-9]{{{wanted}}}", digits):
            raise ValueError(
                f"its digest has {len(digits)} characters; {algorithm} has {wanted}, of 0-9 and a-f"
            )
    return reference
