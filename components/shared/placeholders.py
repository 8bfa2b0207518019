"""What people and programs write where a patient is not known or not named."""

import re

_PLACEHOLDER = re.compile(
    r"n/?a|nan|null|nil|none|nobody|missing|unknown|unnamed|undefined|"
    r"anon(ym(ous|i[sz]ed)?)?|de-?identified|"
)
_FILLING = " \t-_^?.#<>()[]"  # `-`, `???`, `<NA>`, and DICOM's `Anon^`


def is_placeholder(patient: str) -> bool:
    """Tells whether a patient's name stands for nobody, so that it joins no images.

    Args:
        patient: A cell of a table, or a tag of a DICOM, such as `unknown`, `NaN`, `-` or `Anon^`.
    """
    return _PLACEHOLDER.fullmatch(patient.strip(_FILLING).casefold()) is not None
