"""Whatever is wrong with the data is a DataError of one sentence: the file, the value, the way."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.data import load, locate
from nas.errors import DataError

from .image_files import (
    IDX_NAMES,
    cifar_files,
    cifar_sample,
    idx_bytes,
    sample,
    write_folder,
    write_idx,
    write_npz,
    write_tar,
)

TRAIN_X, TRAIN_Y, TEST_X, TEST_Y = IDX_NAMES.values()


def refused(name: str | Path, words: str, names: str = "") -> str:
    """`load` raises a DataError of one sentence with `words` (a pattern) and `names` in it."""
    with pytest.raises(DataError, match=words) as caught:
        load(str(name))
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert "\n" not in message
    assert names in message
    assert caught.value.__cause__ is None
    return message


# --- names and places


def test_an_unknown_name_suggests_the_nearest():
    refused("digit", "did you mean 'digits'")
    refused("fashion_mnist", "did you mean 'fashion-mnist'")
    refused("", "no known data set")


def test_a_path_that_is_not_there(tmp_path):
    refused(tmp_path / "no.npz", "does not exist.*digits, mnist.*x_train", "no.npz")
    refused("nowhere.npz", "nowhere.npz does not exist")


def test_a_bare_word_may_be_a_folder_here_and_a_known_name_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_idx(Path("mine"), sample())
    write_idx(Path("digits"), sample())
    assert load("mine").name == "mine"
    assert load("digits").size == (8, 8)
    assert load("./digits").size == (6, 5)
    assert locate("mine") == str(tmp_path / "mine")
    assert locate("digits") == "digits"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mnist", TRAIN_X),
        ("fashion-mnist", TEST_Y),
        ("cifar10", "cifar-10-python.tar.gz"),
        ("cifar100", "cifar-100-python.tar.gz"),
    ],
)
def test_an_absent_set_says_which_files_to_put_where(name, file, tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_DATA", str(tmp_path))
    assert file in refused(name, "put .* into .*NAS_DATA", str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_DATA", str(tmp_path / "elsewhere"))
    (tmp_path / name).mkdir()
    refused(name, f"type ./{name} to take that")


@pytest.mark.skipif(os.name != "posix", reason="the cache folder of Linux")
def test_without_nas_data_the_cache_folder_is_looked_into(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("NAS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write_idx(tmp_path / "nas" / "mnist", sample())
    assert load("mnist").classes == tuple("0123456789")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    refused("mnist", "put", str(tmp_path / "home" / ".cache" / "nas" / "mnist"))


def test_files_of_no_known_format(tmp_path):
    refused(tmp_path, "it is empty: give a folder with the four IDX files")
    (tmp_path / "photo.txt").write_text("x")
    refused(tmp_path, r"no data of a known format \(in there: photo.txt\)")
    refused(tmp_path / "photo.txt", "no file of a known format")


# --- IDX


def idx_folder(tmp_path: Path, packed: bool = False) -> Path:
    return write_idx(tmp_path / "set", sample(), packed=packed)


@pytest.mark.parametrize("name", IDX_NAMES.values())
@pytest.mark.parametrize("packed", [False, True])
def test_idx_missing_empty_or_truncated(tmp_path, name, packed):
    folder = idx_folder(tmp_path, packed)
    path = folder / (name + ".gz" if packed else name)
    content = path.read_bytes()
    for length in (len(content) - 1, len(content) // 2, 13, 6):
        path.write_bytes(content[:length])
        refused(folder, "is truncated", str(path))
    path.write_bytes(b"")
    refused(folder, r"is empty \(0 bytes\)", str(path))
    path.unlink()
    refused(folder, "holds no file of .*put", name)


def test_idx_with_a_broken_inside(tmp_path):
    folder = idx_folder(tmp_path)
    path = folder / TRAIN_X
    content = path.read_bytes()
    path.write_bytes(b"\x89PNG" + content[4:])
    refused(folder, "starts with the bytes 89 50 4e 47.*no magic number", str(path))
    path.write_bytes(content + b"x")
    refused(folder, "is too long")
    path.write_bytes(content[:4] + struct.pack(">I", 2**32 - 1) + content[8:])
    refused(folder, "is truncated.*4294967295x6x5")
    path.write_bytes(gzip.compress(content)[:-4] + b"\0\0\0\0")
    refused(folder, "truncated or damaged", str(path))


def test_idx_folders_that_are_not_one_set(tmp_path):
    folder = idx_folder(tmp_path)
    refused(folder / TRAIN_X, "give the folder", TRAIN_X)
    write_idx(folder, sample(), packed=True)
    assert load(str(folder)).num_classes == 10  # the same files, packed as well
    write_idx(folder, sample(), names={"x_train": "letters-" + TRAIN_X})
    refused(folder, "several files of train images", "letters-" + TRAIN_X)


def test_idx_counts_and_sizes_that_differ(tmp_path):
    found = sample()
    folder = idx_folder(tmp_path)
    (folder / TEST_Y).write_bytes(idx_bytes(found.y_test[:-1].astype(np.uint8)))
    refused(folder, "10 images, but .* 9 labels", str(folder / TEST_Y))
    folder = idx_folder(tmp_path)
    (folder / TEST_X).write_bytes(idx_bytes(found.x_test[:, 0, :5]))
    refused(folder, "5x5x1, but those of .* are 6x5x1", str(folder / TEST_X))
    (folder / TEST_X).write_bytes(idx_bytes(found.x_test[:0, 0]))
    (folder / TEST_Y).write_bytes(idx_bytes(found.y_test[:0].astype(np.uint8)))
    refused(folder, r"\(0, 1, 6, 5\) holds no pixel", str(folder / TEST_X))
    (folder / TRAIN_X).write_bytes(idx_bytes(found.y_train.astype(np.uint8)))
    refused(folder, r"shape \(40,\), but images are", str(folder / TRAIN_X))


def test_labels_beyond_the_classes_of_a_named_set(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_DATA", str(tmp_path))
    found = sample()
    found.y_train[3] = 10
    write_idx(tmp_path / "mnist", found)
    refused("mnist", "label 10 at position 3 is out of range.*10 classes, 0 to 9", TRAIN_Y)


# --- npz

X = sample(classes=3)
BIG = X.x_train.astype(np.float64) / 255
BYTES = {"x_test": X.x_test / 255}


def _with(array: np.ndarray, place: int, value: float) -> np.ndarray:
    changed = array.copy()
    changed[place] = value
    return changed


def _ragged(n: int) -> np.ndarray:
    images = np.empty(n, object)
    images[:] = [np.zeros((4 + k % 2, 4), np.uint8) for k in range(n)]
    return images


NPZ_FAULTS: dict[str, tuple[dict[str, object], str]] = {
    "counts": ({"y_train": X.y_train[:-2]}, "x_train holds 12 images, but .*y_train 10 labels"),
    "label out of range": ({"y_test": _with(X.y_test, 1, 3)}, "y_test: label 3 at position 1 is"),
    "a lone high label": (
        {"y_train": _with(X.y_train, 0, 200)},
        "labels go up to 200, but class 3 has no training image.*correct the label 200",
    ),
    "from one": (
        {"y_train": X.y_train + 1, "y_test": X.y_test + 1},
        "class 0 has no training image.*subtract 1",
    ),
    "a gap": (
        {"y_train": np.where(X.y_train == 1, 3, X.y_train)},
        "class 1 has no training image.*close the gap",
    ),
    "negative": ({"y_train": _with(X.y_train, 5, -1)}, "y_train: label -1 at position 5"),
    "float labels": ({"y_train": X.y_train + 0.5}, r"type float64 \(the first is .*astype\(int\)"),
    "bool labels": ({"y_train": X.y_train > 0}, "labels are of type bool"),
    "one hot": ({"y_train": np.eye(3, dtype=int)[X.y_train]}, r"\(12, 3\).*argmax\(1\)"),
    "no labels": ({"y_train": np.zeros((12, 1, 1))}, r"\(12, 1, 1\).*one label an image"),
    "object labels": ({"y_train": X.y_train.astype(object)}, "y_train is an array of objects, and"),
    "a class short": (
        {"classes": ["a", "b", "c", "d"]},
        "y_train: class 'd' has no training image, but needs two",
    ),
    "one image": (
        {"x_train": X.x_train[3:8], "y_train": np.array([0, 0, 1, 1, 2])},
        "class '2' has one training image, but needs two",
    ),
    "one class": ({"y_train": 0 * X.y_train, "y_test": 0 * X.y_test}, "at least two classes"),
    "same names": ({"classes": ["a", "b", "a"]}, "two classes are named 'a'"),
    "names in a table": ({"classes": [["a", "b", "c"]]}, "classes has type .* must be a list"),
    "names that are floats": ({"classes": [0.5, 1.5]}, "classes has type float64"),
    "words beside numbers": (
        {"y_train": X.y_train.astype(str)},
        "those of the other part are words",
    ),
    "an unknown word": (
        {"y_train": X.y_train.astype(str), "y_test": np.array(["0", "1", "x"])},
        "y_test: label 'x' at position 2 is none of the classes '0', '1', '2'",
    ),
    "nan": ({"x_train": _with(BIG, 7, np.nan), **BYTES}, "x_train: image 7 holds the pixel nan"),
    "inf": ({"x_train": BIG, "x_test": _with(X.x_test / 255, 2, -np.inf)}, "x_test: .* pixel -inf"),
    "beyond float32": ({"x_train": _with(BIG, 1, 1e39), **BYTES}, "image 1 holds the pixel inf"),
    "two types": ({"x_train": BIG}, "pixels are uint8, but .* float32"),
    "whole and high": ({"x_train": X.x_train.astype(int) * 2}, "pixels go from 0 to"),
    "whole and low": ({"x_test": X.x_test.astype(np.int8) * 0 - 1}, "x_test: pixels go from -1 to"),
    "complex": ({"x_train": X.x_train * 1j}, "type complex128"),
    "words for pixels": ({"x_train": X.x_train.astype(str)}, "pixels are of type"),
    "sizes": ({"x_test": X.x_test[:, :, 1:]}, "x_test: the images are 5x5x1"),
    "ragged": ({"x_train": _ragged(12)}, "x_train is an array of objects.*different sizes"),
    "flat": ({"x_train": X.x_train.reshape(12, -1)}, r"shape \(12, 30\), but images are"),
    "both axes": ({"x_train": np.zeros((12, 3, 5, 3), np.uint8)}, "both of the second"),
    "neither axis": ({"x_train": np.zeros((12, 7, 5, 6), np.uint8)}, "neither of the second"),
    "layout": ({"layout": "CHWN"}, "layout is 'CHWN', but must be 'NCHW' or 'NHWC'"),
    "no height": ({"x_train": np.zeros((12, 1, 0, 5), np.uint8)}, "holds no pixel"),
}


@pytest.mark.parametrize("fault", NPZ_FAULTS)
def test_npz_with_a_fault(tmp_path, fault):
    change, words = NPZ_FAULTS[fault]
    path = write_npz(tmp_path / "mine.npz", X, **change)
    refused(path, words, str(path))


def test_floats_stay_floats_unless_they_are_bytes(tmp_path):
    floats = {"x_train": BIG, "x_test": X.x_test / 255}
    assert load(str(write_npz(tmp_path / "a.npz", X, **floats))).train.x.dtype == np.float32
    # One part of whole numbers by chance does not change its scale against the other's.
    mixed = {"x_train": BIG * 200, "x_test": X.x_test.astype(np.float32)}
    assert load(str(write_npz(tmp_path / "b.npz", X, **mixed))).test.x.dtype == np.float32


def test_npz_that_is_none(tmp_path):
    path = tmp_path / "mine.npz"
    path.write_bytes(b"")
    refused(path, r"is empty \(0 bytes\)", str(path))
    path.write_text("x_train, y_train")
    refused(path, "is no .npz file", str(path))
    np.savez(path, x_train=X.x_train, labels=X.y_train)
    refused(path, r"has no y_train, x_test, y_test \(it has 'x_train', 'labels'\)", str(path))
    content = write_npz(path, X).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refused(path, "truncated", str(path))
    path.write_bytes(content[:150] + b"\xff" * 100 + content[250:])
    refused(path, "truncated or damaged in x_train", str(path))


# --- CIFAR

FILES = cifar_files(cifar_sample(10), 10)


def test_cifar_missing_empty_or_truncated(tmp_path):
    folder = write_folder(tmp_path / "c", FILES)
    for name in ("data_batch_3", "test_batch", "batches.meta"):
        path, content = folder / name, FILES[name]
        for length in (len(content) - 1, len(content) // 2, 3):
            path.write_bytes(content[:length])
            refused(folder, "no pickle, or a truncated one", str(path))
        path.write_bytes(b"")
        refused(folder, r"is empty \(0 bytes\)", str(path))
        path.unlink()
        refused(folder, f"holds no {name}: CIFAR-10 is data_batch_1", str(folder))
        path.write_bytes(content)


def test_cifar_archives_that_are_none(tmp_path):
    path = tmp_path / "c.tar.gz"
    content = write_tar(path, FILES, "cifar").read_bytes()
    for length in (len(content) - 1, len(content) // 2, 100, 5):
        path.write_bytes(content[:length])
        refused(path, "no tar archive, or truncated", str(path))
    path.write_bytes(b"")
    refused(path, r"is empty \(0 bytes\)", str(path))
    path.write_text("not an archive")
    refused(path, "no tar archive", str(path))
    write_tar(path, {"photo.png": b"x"}, "cifar")
    refused(path, "holds no files of CIFAR such as data_batch_1", str(path))
    write_tar(path, {**FILES, "data_batch_2": b""}, "cifar")
    refused(path, "c.tar.gz: data_batch_2 is empty")


def test_the_other_cifar_under_a_name(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_DATA", str(tmp_path))
    write_folder(tmp_path / "cifar100", FILES)
    refused("cifar100", "holds no train, test, meta: CIFAR-100 is")


class Foreign:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("owned",)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (Foreign(), r"asks for '(posix|nt)\.mkdir', but only numpy arrays"),
        ({"data": Foreign()}, r"asks for '(posix|nt)\.mkdir'"),
        ([1, 2], "holds a list, but CIFAR's files hold a dict"),
        ({"labels": [0]}, r"no list 'data' \(it has 'labels'\)"),
        ({"data": np.zeros((2, 3072), np.uint8)}, "no list 'labels'"),
        ({"data": np.zeros((2, 99), np.uint8), "labels": [0, 1]}, r"\(2, 99\), but must be uint8"),
        ({"data": np.zeros((2, 3072)), "labels": [0, 1]}, "data is float64"),
        ({"data": [1, 2], "labels": [0, 1]}, "data is no array list"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}, "2 images, but 1 labels"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0, [1]]}, "labels holds lists"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 10]}, "out of range"),
    ],
)
def test_cifar_files_of_foreign_content(tmp_path, monkeypatch, entry, words):
    monkeypatch.chdir(tmp_path)
    folder = write_folder(tmp_path / "c", FILES)
    (folder / "test_batch").write_bytes(pickle.dumps(entry))
    refused(folder, words, str(folder / "test_batch"))
    assert not (tmp_path / "owned").exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(tmp_path):
    folder = idx_folder(tmp_path)
    (folder / TRAIN_X).chmod(0)
    refused(folder, "cannot be read", TRAIN_X)


# --- any damage at all


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pristine")
    return {
        "npz": write_npz(root / "a.npz", sample(classes=2)),
        "tar": write_tar(root / "c.tar.gz", FILES, "cifar"),
        "idx": write_idx(root / "plain", sample(classes=2)) / TRAIN_X,
        "gz": write_idx(root / "packed", sample(classes=2), packed=True) / f"{TRAIN_Y}.gz",
        "cifar": write_folder(root / "c", FILES) / "data_batch_1",
        "meta": write_folder(root / "m", FILES) / "batches.meta",
    }


@pytest.mark.parametrize("kind", ["npz", "tar", "idx", "gz", "cifar", "meta"])
@given(data=st.data())
def test_damaged_bytes_are_loaded_or_refused_and_nothing_else(pristine, kind, data):
    path = pristine[kind]
    content = path.read_bytes()
    # Half of the places lie in the head, where the structure is.
    places = st.one_of(st.integers(0, min(len(content), 200) - 1), st.integers(0, len(content) - 1))
    damaged = bytearray(content)
    for place in data.draw(st.lists(places, max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.one_of(st.just(len(content)), places))
    name = str(path if kind in ("npz", "tar") else path.parent)
    message = ""
    try:
        path.write_bytes(damaged[:end])
        load(name)
    except DataError as error:
        message = str(error)
    finally:
        path.write_bytes(content)
    assert "\n" not in message
