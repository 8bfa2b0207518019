"""What folders mean: the two names, those that a run gives, and what a name cannot mean."""

import pytest

from components.shared.data.class_folders import IN_NO_CLASS, ClassNames, advice, telling_folder
from components.shared.data.classes import HEALTHY, TUMOR
from components.shared.errors import UserError

KAGGLE = "glioma=Brain Tumor,meningioma=Brain Tumor,pituitary=Brain Tumor,notumor=Healthy"


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("Brain Tumor/a.jpg", TUMOR),
        ("brain_tumor/a.jpg", TUMOR),
        ("BRAIN-TUMOUR/a.jpg", TUMOR),
        ("x/y/ brain  Tumor /z/a.jpg", TUMOR),
        ("brain tumor/healthy/a.jpg", HEALTHY),
        ("HEALTHY/sub/a.jpg", HEALTHY),
        ("Brain Tumor Data Set/Brain Tumor Data Set/Healthy/a.jpg", HEALTHY),
        ("Brain Tumor Data Set/metadata.csv", None),
        ("healthy", None),
        ("unhealthy/a.jpg", None),
        ("a.jpg", None),
        ("", None),
    ],
)
def test_class_folders_at_any_depth_in_any_spelling(path: str, label: int | None) -> None:
    assert ClassNames().of_path(path).label == label


@pytest.mark.parametrize(
    ("given", "path", "label"),
    [
        ("yes=Brain Tumor,no=Healthy", "brain_tumor_dataset/YES/Y1.jpg", TUMOR),
        ("yes=Brain Tumor,no=Healthy", "no/1 no.jpeg", HEALTHY),
        ("yes=Brain Tumor,no=Healthy", "Brain Tumor/a.jpg", TUMOR),
        (KAGGLE, "Training/glioma/Tr-gl_0010.jpg", TUMOR),
        (KAGGLE, "archive/Testing/notumor/Te-no_0010.jpg", HEALTHY),
        (
            "glioma_tumor = brain tumour , no-tumor=HEALTHY",
            "Training/no_tumor/image(1).jpg",
            HEALTHY,
        ),
        ("Training/glioma=Brain Tumor", "x/Training/glioma/a.jpg", TUMOR),
        ("Training/glioma=Brain Tumor", "x/Testing/glioma/a.jpg", None),
        (r"Training\no=Healthy,no=Brain Tumor", "Training/no/a.jpg", HEALTHY),
        (r"Training\no=Healthy,no=Brain Tumor", "Testing/no/a.jpg", TUMOR),
        ("a=Brain Tumor,b=Healthy", "a/b/c/x.jpg", HEALTHY),
        ("a=Brain Tumor,b=none", "a/b/x.jpg", None),
        ("healthy=none", "Healthy/x.jpg", None),
        ("notumor=Healthy", "Brain Tumor/notumor/x.jpg", HEALTHY),
        ("masks=Brain Tumor", "Brain Tumor/masks/x.jpg", TUMOR),
        ("Hirntumör=Brain Tumor", "Hirntumo\u0308r/a.jpg", TUMOR),  # as macOS writes it
        ("", "yes/Y1.jpg", None),
    ],
)
def test_a_run_says_what_folders_mean(given: str, path: str, label: int | None) -> None:
    assert ClassNames(given).of_path(path).label == label


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("Brain Tumor/notumor/a.jpg", "below Brain Tumor in 'notumor'; if they count"),
        (
            "brain_tumor/Training/no_tumor/image(1).jpg",
            "below Brain Tumor in 'no tumor'; if they count",
        ),
        ("Brain Tumor/NORMAL/deep/a.jpg", "below Brain Tumor in 'normal'; if they count"),
        ("Brain Tumor/non-tumour/a.jpg", "below Brain Tumor in 'non tumour'; if they count"),
        ("Brain Tumor/without_glioma/a.jpg", "below Brain Tumor in 'without glioma'; if they"),
        ("Brain Tumor/_NORMAL T1/a.jpg", "below Brain Tumor in 'normal t1'; if they count"),
        ("Healthy/Astrocytoma T1C+/a.jpg", "below Healthy in 'astrocytoma t1c+'; if they count"),
        ("Brain Tumor/tumor_masks/a.png", "below Brain Tumor in 'tumor masks'; if they count"),
        ("Brain Tumor/masks/a.png", "below Brain Tumor in 'masks'; if they count"),
        ("Brain Tumor/Ground-Truth/a.png", "below Brain Tumor in 'ground truth'; if they count"),
        ("Healthy/labels/a.png", "below Healthy in 'labels'; if they count"),
        ("Healthy/glioma/a.png", "below Healthy in 'glioma'; if they count"),
        ("Brain Tumor/TCGA_CS_4941_1_mask.tif", "masks, by their names"),
        ("Brain Tumor/BraTS20_001_seg.nii.gz", "masks, by their names"),
        ("Brain Tumor/7_Mask_2.png", "masks, by their names"),
        ("Brain Tumor/mask-7.png", "masks, by their names"),
        ("Brain Tumor Data/a.png", IN_NO_CLASS),
        ("a.png", IN_NO_CLASS),
    ],
)
def test_what_cannot_be_of_a_class_is_in_none_and_says_why(path: str, reason: str) -> None:
    found = ClassNames().of_path(path)
    assert found.label is None
    assert reason in found.reason


@pytest.mark.parametrize(
    "path",
    [
        *("Brain Tumor/glioma/a.png", "Brain Tumor/yes/a.png", "Healthy/no/a.png"),
        *("masks/Brain Tumor/a.png", "no/Brain Tumor/a.png", "Brain Tumor/segments/a.png"),
        *(
            "Healthy/masked.png",
            "Healthy/without contrast/a.png",
            "Brain Tumor/T1 non-contrast/a.png",
        ),
    ],
)
def test_what_agrees_with_its_class_or_lies_above_it_changes_nothing(path: str) -> None:
    assert ClassNames().of_path(path).label == (HEALTHY if "Healthy" in path else TUMOR)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("yes", "'yes' cannot be read; write FOLDER=CLASS"),
        ("yes=", "'yes=' cannot be read"),
        ("=Healthy", "'=Healthy' cannot be read"),
        ("/=Healthy", "'/=Healthy' cannot be read"),
        ("yes=Tumour", "a class is Brain Tumor, Healthy, no brain MRI or none"),
        ("yes=Brain Tumor,,no=Healthy", "'' cannot be read"),
        ("a=Healthy,A =Brain Tumor", "has two classes"),
        ("\x1b[31m=x", r"\x1b[31m"),
        ("a" * 5000 + "=Healthy", "at most 4,096"),
    ],
)
def test_what_a_run_gives_is_read_or_refused_in_one_line(given: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        ClassNames(given)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert str(caught.value).startswith("class_folders: ")


def test_a_name_that_nothing_has_is_told() -> None:
    names = ClassNames("yes=Brain Tumor,Training/no=Healthy,glioma=Brain Tumor,pred=none")
    names.of_path("yes/a.jpg")
    names.of_path("Testing/no/a.jpg")
    names.of_label("Glioma")
    assert names.unused() == ["training/no", "pred"]


@pytest.mark.parametrize(
    ("folders", "option"),
    [
        ({"yes": 155, "no": 98}, '"yes=Brain Tumor,no=Healthy"'),
        ({"no_tumor": 5, "glioma_tumor": 8}, '"glioma_tumor=Brain Tumor,no_tumor=Healthy"'),
        ({"yes": 1500, "no": 1500, "pred": 60}, '"yes=Brain Tumor,no=Healthy"'),
        ({"T1 Normal": 7, "Schwannoma T2": 8}, '"Schwannoma T2=Brain Tumor,T1 Normal=Healthy"'),
        ({"A": 3, "B": 4}, '"FOLDER=Brain Tumor,FOLDER=Healthy"'),
        ({"no": 98}, '"FOLDER=Brain Tumor,FOLDER=Healthy"'),
        ({"x=y": 1}, '"FOLDER=Brain Tumor,FOLDER=Healthy"'),
    ],
)
def test_the_advice_can_be_given_as_it_is(folders: dict[str, int], option: str) -> None:
    assert f"--class-folders {option}" in advice(folders, TUMOR)


def test_the_advice_names_the_largest_folders_and_is_bounded() -> None:
    assert "found folders: yes (1,155 files), no (98 files); say" in advice(
        {"no": 98, "yes": 1155}, TUMOR
    )
    many = {f"\x1b{'p' * 500}{i}": i for i in range(3000)}
    assert "2,990 more" in advice(many, TUMOR)
    assert len(advice(many, TUMOR)) < 1500
    assert advice(many, TUMOR).isprintable()
    assert "found" not in advice({}, HEALTHY)


def test_the_folder_that_tells_may_lie_above_a_patients() -> None:
    assert telling_folder("archive/yes/patient 7/a.jpg") == "yes"
    assert telling_folder("archive/patient 7/a.jpg") == "patient 7"
    assert telling_folder("a.jpg") == "the top folder"
