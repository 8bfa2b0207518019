"""What nibabel writes is the truth here, turned upright by nibabel and NumPy."""

import gzip
import sys
import tracemalloc
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.images.decode import MAX_PIXELS, ImageError
from components.shared.images.deep import WorkError
from components.shared.images.nifti import is_nifti, volume
from components.shared.images.slices import read

TYPES = [f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)] + ["f4", "f8"]
ORIENTATIONS = [
    "".join(turned) for axes in permutations(("LR", "AP", "IS")) for turned in product(*axes)
]
HEADERS = {1: nib.Nifti1Header, 2: nib.Nifti2Header}
IMAGES = {1: nib.Nifti1Image, 2: nib.Nifti2Image}


def written(
    numbers: np.ndarray,
    orientation: str = "RAS",
    version: int = 1,
    order: str = "<",
    tilt: float = 0.0,
    extended: bool = False,
    **fields: object,
) -> bytes:
    """Returns a file whose axes lead where `orientation` says, in voxels of 1 x 2 x 3 mm."""
    turn = nib.orientations.axcodes2ornt(orientation)
    affine = nib.orientations.inv_ornt_aff(turn, numbers.shape[:3]) @ np.diag([1.0, 2, 3, 1])
    cosine, sine = np.cos(tilt), np.sin(tilt)
    tilted = np.array([[cosine, -sine, 0, 5], [sine, cosine, 0, 7], [0, 0, 1, 9], [0, 0, 0, 1]])
    header = HEADERS[version](endianness=order)
    header.set_data_dtype(numbers.dtype)
    image = IMAGES[version](numbers, tilted @ affine, header)
    if extended:
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Roe^Jane" * 9))
    for name, value in fields.items():
        image.header[name] = value
    return image.to_bytes()


def upright(data: bytes, version: int) -> np.ndarray:
    """Returns what nibabel reads of it, [slices, height, width]."""
    image = nib.as_closest_canonical(IMAGES[version].from_bytes(data))
    numbers = np.asanyarray(image.dataobj).astype(np.float64)
    first = numbers.reshape(*numbers.shape[:3], -1)[..., 0]
    return np.stack([first[::-1, ::-1, k].T for k in range(first.shape[2])])


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(TYPES),
    orientation=st.sampled_from(ORIENTATIONS),
    version=st.sampled_from([1, 2]),
    order=st.sampled_from("<>"),
    scale=st.sampled_from([None, (1.0, 0.0), (0.5, -3.0), (-2.0, 100.0), (0.0, 5.0)]),
    tilt=st.floats(-0.7, 0.7),
    shape=st.lists(st.integers(2, 6), min_size=3, max_size=5),
    packed=st.booleans(),
    extended=st.booleans(),
    seed=st.integers(0, 999),
)
def test_a_volume_is_what_nibabel_turns_upright(
    kind: str,
    orientation: str,
    version: int,
    order: str,
    scale: tuple[float, float] | None,
    tilt: float,
    shape: list[int],
    packed: bool,
    extended: bool,
    seed: int,
) -> None:
    dtype, size = np.dtype(kind), int(np.prod(shape))
    raw = np.random.default_rng(seed).bytes(size * dtype.itemsize)
    numbers = np.frombuffer(raw, dtype).reshape(shape)
    if dtype.kind == "f":
        numbers = np.where(np.abs(numbers) < 1e30, numbers, np.nan).astype(dtype)
    data = written(numbers, orientation, version, order, tilt, extended)
    if scale:  # written behind nibabel's back, which would divide the numbers by it
        data = with_fields(data, version, order, scl_slope=scale[0], scl_inter=scale[1])

    found = volume(gzip.compress(data) if packed else data, MAX_PIXELS)

    samples = found.samples(np.arange(len(found.planes))).astype(np.float64)
    np.testing.assert_allclose(samples, upright(data, version), rtol=1e-12)


def with_fields(data: bytes, version: int = 1, order: str = "<", **fields: object) -> bytes:
    kind = HEADERS[version]
    header = kind(data[: kind.sizeof_hdr], order, check=False)
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + data[kind.sizeof_hdr :]


def test_the_front_is_up_and_the_patients_right_is_left() -> None:
    head = np.zeros((150, 150, 3), np.int16)
    head[75, 140, :] = 255  # the nose, in the file's axes: right, front, up
    head[140, 75, :] = 128  # the right ear
    head[:, :, 2] *= 2  # the crown is the brightest

    slices = read(written(head))

    assert (slices.numbers, slices.of) == ((1, 2, 3), 3)
    assert [image.format for image in slices.images] == ["NIfTI"] * 3
    feet, _, crown = (image.pixels[..., 0] for image in slices.images)
    assert np.argwhere(crown == 255).tolist() == [[9, 74]]  # 510 is 255, of the whole volume
    assert feet[9, 74] == 128
    assert feet[74, 9] == 64


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_thick_slice_is_drawn_in_its_own_plane(axis: int) -> None:
    shape = [150, 150, 150]
    shape[axis] = 1
    plane = np.random.default_rng(1).integers(0, 256, (150, 150), dtype=np.uint8)

    (image,) = read(written(plane.reshape(shape))).images

    assert np.array_equal(image.pixels[..., 0], plane[::-1, ::-1].T)


def test_what_is_no_number_is_black_and_bytes_stay_as_they_are() -> None:
    small = np.full((150, 150, 2), 100, np.uint8)
    assert np.all(read(written(small)).images[0].pixels == 100)

    deep = np.linspace(-1, 1, 150 * 150 * 2, dtype=np.float32).reshape(150, 150, 2)
    deep[0, 0] = np.nan
    bottom = read(written(deep)).images[0].pixels[..., 0]
    assert bottom[149, 149] == 0
    assert bottom[0, 0] == 255


def test_of_many_slices_the_middle_half_is_taken_in_even_steps() -> None:
    heights = np.broadcast_to(np.arange(100, dtype=np.uint8), (4, 4, 100))

    slices = read(written(np.ascontiguousarray(heights)), max_slices=5)

    assert (slices.numbers, slices.of) == ((31, 41, 51, 61, 71), 100)
    assert [int(image.pixels[0, 0, 0]) for image in slices.images] == [30, 40, 50, 60, 70]


SMALL = written(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
NAME = b"Roe^Jane"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (written(np.ones((2, 3, 4), np.complex64)), "a NIfTI of complex64 voxels"),
        (written(np.zeros((2, 3, 4), [(c, "u1") for c in "RGB"])), "a NIfTI of RGB voxels"),
        (with_fields(SMALL, datatype=1), "a NIfTI of binary voxels"),
        (with_fields(SMALL, datatype=77), "a NIfTI with data type 77"),
        (with_fields(SMALL, magic=b"ni1"), "voxels lie in another file"),
        (with_fields(SMALL, dim=[3, 2, 0, 4, 1, 1, 1, 1]), "an axis that has no voxel"),
        (with_fields(SMALL, dim=[4, 2, 3, 4, -1, 1, 1, 1]), "an axis that has no voxel"),
        (with_fields(SMALL, dim=[1, 24, 1, 1, 1, 1, 1, 1]), "a NIfTI with 1 axes"),
        (with_fields(SMALL, vox_offset=0), "begin within its header"),
        (with_fields(SMALL, vox_offset=np.nan), "begin within its header"),
        (with_fields(SMALL, vox_offset=1e6), "the NIfTI is cut off"),
        (with_fields(SMALL, scl_slope=1, scl_inter=np.inf), "scl_inter is not a number"),
        (with_fields(SMALL, srow_x=0), "does not say which side is up"),
        (with_fields(SMALL, srow_y=np.nan), "does not say which side is up"),
        (SMALL[:-1], "the NIfTI is cut off"),
        (SMALL[:348], "the NIfTI is cut off"),
        (gzip.compress(SMALL)[:-9], "the gzip file is broken or cut off"),
        (gzip.compress(SMALL)[:-8] + bytes(8), "the gzip file is broken or cut off"),
        (gzip.compress(SMALL[:-1]), "the NIfTI is cut off"),
    ],
)
def test_what_is_not_read_is_refused_in_true_words(data: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        read(data)


@pytest.mark.parametrize("side", [2000, 32767])
def test_a_bomb_is_refused_before_it_is_unpacked(side: int) -> None:
    head = with_fields(SMALL, dim=[3, side, side, side, 1, 1, 1, 1])
    data = gzip.compress(head + bytes(10**7))
    tracemalloc.start()
    with pytest.raises(ImageError, match=r"too-much-work: its samples take [\d,]+ bytes"):
        read(data)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def test_of_many_volumes_no_more_than_the_first_is_unpacked() -> None:
    head = with_fields(SMALL, dim=[4, 2, 3, 4, 9999, 1, 1, 1])
    data = gzip.compress(head + bytes(10**8))
    tracemalloc.start()
    assert volume(data, 1000).planes.shape == (4, 3, 2)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()
    with pytest.raises(WorkError, match="members"):
        volume(gzip.compress(head) + gzip.compress(b"") * 70_000, 1000)


def test_the_slices_that_are_taken_are_bounded_too() -> None:
    data = written(np.zeros((100, 100, 20), np.int16))
    assert len(read(data, max_pixels=160_000).images) == 16
    with pytest.raises(ImageError, match="16 slices of 100x100, at most 159,999 pixels"):
        read(data, max_pixels=159_999)
    with pytest.raises(ImageError, match="too-large"):
        read(data, max_bytes=1000)


@settings(max_examples=300, deadline=None)
@given(
    version=st.sampled_from([1, 2]),
    changes=st.lists(st.tuples(st.integers(0, 539), st.integers(0, 255)), min_size=1, max_size=8),
    packed=st.booleans(),
    end=st.integers(0, 600),
)
def test_broken_bytes_are_read_or_refused(
    version: int, changes: list[tuple[int, int]], packed: bool, end: int
) -> None:
    named = {"descrip": NAME, "aux_file": NAME, "intent_name": NAME}
    numbers = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    broken = bytearray(written(numbers, version=version, **named))
    for place, value in changes:
        broken[place % len(broken)] = value
    data = bytes(broken) if end > 540 else bytes(broken[:end])
    try:
        said = read(gzip.compress(data) if packed else data, max_pixels=100_000)
    except ImageError as error:
        said = error
    assert "Roe" not in f"{said!r} {said}"


def test_images_are_no_nifti() -> None:
    assert is_nifti(SMALL)
    assert is_nifti(gzip.compress(SMALL))
    assert not is_nifti(gzip.compress(b"\x89PNG" * 500))
    assert not is_nifti(b"\x1f\x8b")
    assert not is_nifti(b"")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ImageError, match=r"^format: a NIfTI, which needs the extra clinic"):
        read(SMALL)
