"""TRIPOD+AI (2024) and CLAIM (2024 update): what both ask of a model, answered from its metadata.

TRIPOD+AI: Collins et al., BMJ 2024;385:e078378. CLAIM: Tejani et al., Radiology: Artificial
Intelligence 2024;6(4):e240300. What both ask is one row.
"""

from typing import NamedTuple

from components.shared.evaluation.external import ExternalResult
from components.shared.evaluation.metrics import MEASURES
from components.shared.model_folder.metadata import ModelMetadata
from components.shared.reports.numbers import decimal

UNKNOWN = "Unknown"  # how an answer begins where nothing is known


class Item(NamedTuple):
    """What the checklists ask, and the answer.

    Attributes:
        tripod: Numbers of the items of TRIPOD+AI, such as `5a`; empty where it does not ask.
        claim: Numbers of the items of CLAIM, such as `7`; empty where it does not ask.
        asked: In a few words.
        answer: Of this model. It begins with `Unknown` where nothing is known.
    """

    tripod: str
    claim: str
    asked: str
    answer: str


def checklist(model: ModelMetadata) -> list[Item]:
    """Answers every item of both checklists.

    Args:
        model: What the version says of itself.

    Returns:
        The items in the order of TRIPOD+AI.
    """
    data, training, part = model.data, model.training, model.metrics.held_out
    patients = part.patients is not None
    level = (
        "groups of near-duplicates"
        + (" and patients" if patients else "; patients are unknown")
        + ("" if data.split_strategy == "grouped" else ". This split, by file name, breaks them")
    )
    counts = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in data.images.items())
    subgroups = ", ".join(model.metrics.subgroups()) or "none is known"
    architecture = f"{training.get('architecture', 'unknown')}"
    parameters = training.get("parameters")
    check = model.in_distribution
    unsaid = f"{UNKNOWN}: the dataset does not say."
    return [
        Item(
            "1",
            "1",
            "title",
            "Development and evaluation of a deep-learning classifier: tumour or none in a brain "
            "MRI slice.",
        ),
        Item("2", "2", "summary", "This card, from its first lines to 'Performance'."),
        Item(
            "3a",
            "3",
            "background",
            "Diagnostic, for research and teaching. Other work on this dataset reports what "
            "near-duplicates in training give; here they are kept out.",
        ),
        Item(
            "3b, 25",
            "41",
            "intended use and role",
            "'Intended use', and 'Not intended for'. No place in a care pathway.",
        ),
        Item(
            "3c, 14",
            "",
            "inequalities, fairness",
            f"{UNKNOWN}: the dataset does not say age, sex and origin. No method was used.",
        ),
        Item(
            "4",
            "4, 6",
            "aims",
            "To develop and to evaluate a model. No hypothesis was written down beforehand.",
        ),
        Item("", "5", "prospective or retrospective", "Retrospective: files that were there."),
        Item(
            "5a",
            "7",
            "data sources",
            f"{data.source}, version {data.source_version or 'unknown'}. {UNKNOWN}: which patients "
            "they are of.",
        ),
        Item("5b", "", "dates", unsaid),
        Item("6a", "", "setting, centres", unsaid),
        Item(
            "6b",
            "8",
            "inclusion and exclusion",
            f"Files: all that can be read and are of a class. Patients: {unsaid}",
        ),
        Item("6c", "", "treatments", unsaid),
        Item(
            "7, 12b",
            "9",
            "preprocessing",
            "Every image is decoded and squeezed to 150x150 RGB by one function, in training and "
            "in serving; deep ones are stretched to 8 bits. It knows no group of people.",
        ),
        Item(
            "",
            "10",
            "data subsets",
            "All images of both classes.",
        ),
        Item(
            "",
            "11",
            "de-identification",
            f"Patients are numbers here. {UNKNOWN} what the provider did.",
        ),
        Item(
            "11",
            "12",
            "missing data",
            "Files that cannot be read are left out and counted in the data report. What labels "
            "do not say is told as unknown.",
        ),
        Item("9b", "13", "predictors, acquisition", f"Pixels alone. Scanners: {unsaid}"),
        Item(
            "8a",
            "14, 15",
            "outcome, reference standard",
            "The class that the provider filed an image in; there was no alternative. No time "
            "horizon: what the slice shows. Some labels are known to be wrong.",
        ),
        Item("8b", "16", "who labelled", unsaid),
        Item("8c", "17", "labels of the held-out part, blinding", f"As in all parts. {unsaid}"),
        Item("", "18", "agreement of raters", unsaid),
        Item("9a, 9c", "", "choice and assessors of predictors", "Not applicable: pixels."),
        Item(
            "10",
            "21",
            "sample size",
            "All images of the source; no size was calculated. The intervals say what it is worth.",
        ),
        Item(
            "12a",
            "19",
            "partitions",
            f"{data.split_strategy} split, seed {data.split_seed}: {counts}. Nothing is chosen on "
            "the held-out part.",
        ),
        Item("", "20", "partitions are disjoint by", level + "."),
        Item(
            "12c, 22",
            "22",
            "model",
            f"{architecture}"
            + (f", {parameters:,} parameters" if isinstance(parameters, int) else "")
            + ": the SavedModel beside this card, 'docs/model.md', and the rows 'training' below.",
        ),
        Item("", "23", "software", "The versions of libraries and of Python, below."),
        Item(
            "",
            "24",
            "initialization",
            f"The weights of {training['from_model']}."
            if training.get("from_model")
            else "ImageNet's weights for compact, efficientnet and xception; random ones for "
            f"reference. This is {architecture}.",
        ),
        Item("", "25", "training", "The rows 'training' below, and 'docs/model.md'."),
        Item(
            "",
            "26",
            "choice of the final model",
            "Hyperparameters, epoch, temperature and threshold by the validation part.",
        ),
        Item("", "27", "ensembling", f"Networks averaged: {training.get('ensemble', 'unknown')}."),
        Item(
            "12d, 23b",
            "",
            "differences between sites",
            f"Told by what labels say; of the held-out part: {subgroups}.",
        ),
        Item(
            "12e",
            "28",
            "measures",
            ", ".join(measure.name for measure in MEASURES.values())
            + "; ROC, calibration and threshold curves in the evaluation's report.",
        ),
        Item(
            "",
            "29",
            "uncertainty",
            f"95% bootstrap intervals over groups, {model.metrics.bootstrap_samples:,} resamples.",
        ),
        Item(
            "",
            "30",
            "robustness",
            "Changed images, and what files give away: the evaluation's report and "
            + ("'Weaknesses'." if model.weaknesses else "no weakness was found there."),
        ),
        Item(
            "",
            "31",
            "explanations",
            "Heat maps (HiResCAM). Whether they point at tumours was not validated.",
        ),
        Item("12f, 24", "", "updating", _updating(model)),
        Item("12g", "", "how predictions are made", "By the SavedModel's signature."),
        Item("13", "", "class imbalance", "No method against it."),
        Item(
            "15",
            "",
            "output, threshold",
            f"P({model.positive_class}); the answer is that class from {decimal(model.threshold)} "
            f"on. Rule: {model.threshold_rule}.",
        ),
        Item("", "32", "evaluation on internal data", "'Held-out part'."),
        Item("16, 20c", "33", "external data, differences", _external(model.external)),
        Item("17", "", "ethics", unsaid),
        Item("18a", "44", "funding", f"{UNKNOWN}."),
        Item("18b", "", "conflicts of interest", f"{UNKNOWN}."),
        Item("18c", "42", "protocol, further details", f"{UNKNOWN}. Further details: 'docs/'."),
        Item("18d", "34", "registration", f"{UNKNOWN}."),
        Item(
            "18e, 18f",
            "43",
            "availability",
            "Code and this version: open source, revision "
            f"{model.git_revision or 'unknown'}. Data: at the source above, on its terms.",
        ),
        Item("19", "", "involvement of patients and public", f"{UNKNOWN}."),
        Item(
            "20a",
            "35",
            "flow of participants",
            f"Held out: {part.images:,} images, {part.groups:,} groups, "
            f"{part.patients if patients else 'an unknown number of'} patients, {part.tumor:,} of "
            "tumours. Left out: the data report.",
        ),
        Item("20b", "36", "characteristics of patients", unsaid),
        Item(
            "21",
            "",
            "images of each analysis",
            f"{counts}. Of tumours, held out: {part.tumor:,}; in all: "
            f"{model.metrics.full_dataset.tumor:,} of {model.metrics.full_dataset.images:,}.",
        ),
        Item("23a", "37, 38", "performance", "'Performance', each figure with its interval."),
        Item("", "39", "failures", "Galleries of mistakes in the evaluation's report."),
        Item(
            "26",
            "40",
            "limitations",
            "'Not intended for'. Labels are the provider's; slices are judged alone.",
        ),
        Item(
            "27a",
            "",
            "poor input",
            "Files that are damaged are refused. "
            + (
                "Images that look like no brain MRI are flagged."
                if check
                else "This version has no check that an image is brain MRI."
            ),
        ),
        Item("27b", "", "users", "They choose the slices, and know that this is not a diagnosis."),
        Item(
            "27c",
            "",
            "next steps",
            "To evaluate it on data of other hospitals, where patients are known.",
        ),
    ]


def _updating(model: ModelMetadata) -> str:
    if model.recalibration is None:
        return "Not updated."
    return (
        f"'Recalibrated': version {model.recalibration.from_version}, fitted again on "
        f"{model.recalibration.images:,} images of a site."
    )


def _external(results: tuple[ExternalResult, ...]) -> str:
    if not results:
        return f"{UNKNOWN}: it was not evaluated on another source; 'brain-tumor evaluate' does."
    named = ", ".join(f"{found.name} ({found.images:,} images)" for found in results)
    return f"'Other sources': {named}. How they differ is known as far as their labels say."
