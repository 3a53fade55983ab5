from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest
from photos import write_folder

from tlkit.errors import DataError
from tlkit.inputs.image.listing import list_folder, list_table


def test_folders_with_odd_names_are_classes(tmp_path):
    write_folder(tmp_path, {"żółw": 2, "bees & wasps": 1})
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "bees & wasps" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "bees & wasps" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "README.txt").write_text("not a class")
    listing = list_folder(tmp_path)
    assert listing.class_names == ["bees & wasps", "żółw"]
    assert listing.labels == ["bees & wasps", "żółw", "żółw"]
    assert listing.splits == [None] * 3


def test_photos_in_deeper_folders_count(tmp_path):
    write_folder(tmp_path, {"a/deep": 2, "b": 1})
    assert list_folder(tmp_path).labels == ["a", "a", "b"]


@pytest.mark.parametrize(("direct", "said"), [(0, "all photos lie in folders"), (1, "some photos lie in folders")])
def test_classes_two_folders_deep_are_remarked_on(tmp_path, direct, said):
    write_folder(tmp_path, {"animals/cats": 2, "animals/dogs": 1, "plants/roses": 1})
    for number in range(direct):
        (tmp_path / "plants" / f"{number}.jpg").write_bytes((tmp_path / "animals/cats/00.jpg").read_bytes())
    listing = list_folder(tmp_path)
    assert listing.class_names == ["animals", "plants"]
    [remark] = listing.remarks
    assert remark.startswith(
        f"{said} inside the class folders (4 in 3 folders: animals/cats, animals/dogs, plants/roses)"
    )
    assert "the outer folder is used as the class: animals, plants" in remark


def test_a_folder_around_the_classes_is_named(tmp_path):
    write_folder(tmp_path, {"photos/ants": 1, "photos/bees": 1})
    with pytest.raises(DataError, match=r"if its folders are the classes \(ants, bees\), pass " rf"{tmp_path}/photos"):
        list_folder(tmp_path)


def test_a_class_folder_without_images_is_an_error(tmp_path):
    write_folder(tmp_path, {"a": 2})
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match="a class folder contains no images; received: .*b'"):
        list_folder(tmp_path)


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_split_folders(tmp_path, val):
    for split in ("train", val, "test"):
        write_folder(tmp_path / split, {"a": 2, "b": 2})
    listing = list_folder(tmp_path)
    assert listing.class_names == ["a", "b"]
    assert sorted(set(listing.splits)) == ["test", "train", "val"]


def test_without_a_val_folder_the_training_photos_are_to_be_split(tmp_path):
    write_folder(tmp_path / "train", {"a": 2, "b": 2})
    write_folder(tmp_path / "test", {"a": 1, "b": 1})
    assert set(list_folder(tmp_path).splits) == {None, "test"}


def test_a_class_called_train_beside_others_is_a_class(tmp_path):
    write_folder(tmp_path, {"train": 2, "bus": 2})
    assert list_folder(tmp_path).class_names == ["bus", "train"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "the data folder contains no class folders"),
        (lambda root: write_folder(root, {"only": 2}), r"needs at least two classes; received: \['only'\]"),
        (lambda root: (write_folder(root, {"a": 2}), (root / "b").mkdir()), "a class folder contains no files"),
        (
            lambda root: (write_folder(root / "train", {"a": 1, "b": 1}), write_folder(root / "val", {"c": 1})),
            "the val folder has a class that the train folder lacks; received: 'c'",
        ),
    ],
)
def test_unusable_folders_are_named(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(DataError, match=message):
        list_folder(tmp_path)


def test_a_missing_folder_suggests_its_neighbour(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match="no such data folder.*did you mean 'photos'"):
        list_folder(tmp_path / "photo")
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(DataError, match="the data is not a folder"):
        list_folder(tmp_path / "file.txt")


@pytest.fixture
def table(tmp_path):
    write_folder(tmp_path / "img", {"a": 2, "b": 2})
    return pd.DataFrame(
        {
            "file": ["img/a/00.jpg", "img/a/01.jpg", "img/b/00.jpg", str(tmp_path / "img/b/01.jpg")],
            "kind": ["NA", "NA", "mice/rats", "mice/rats"],
            "site": [1, 2, 1, 2],
            "part": ["train", "val", "train", "val"],
        }
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables(tmp_path, table, suffix):
    path = tmp_path / f"photos{suffix}"
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path)
    listing = list_table(path, path_column="file", label_column="kind", group_column="site", split_column="part")
    assert listing.class_names == ["NA", "mice/rats"]
    assert listing.groups == ["1", "2", "1", "2"]
    assert listing.splits == ["train", "val", "train", "val"]
    assert all(path.is_file() for path in listing.paths)


@pytest.mark.parametrize("kind", ["string[pyarrow]", "arrow", "dictionary"])
def test_tables_with_every_type_of_text(tmp_path, table, kind):
    for name in ("file", "kind", "part"):
        array = pa.array(table[name].tolist())
        array = array.dictionary_encode() if kind == "dictionary" else array
        table[name] = (
            table[name].astype(kind) if kind.startswith("string") else pd.Series(pd.arrays.ArrowExtensionArray(array))
        )
    listing = list_table(table, path_column="file", label_column="kind", split_column="part", root=tmp_path)
    assert listing.labels == ["NA", "NA", "mice/rats", "mice/rats"]
    assert listing.splits == ["train", "val", "train", "val"]
    with_gap = pd.concat([table, table.iloc[:1].assign(kind=None)], ignore_index=True)
    with pytest.raises(DataError, match="column 'kind' is empty in 1 rows.*data row 5"):
        list_table(with_gap, path_column="file", label_column="kind", root=tmp_path)


def test_whole_numbers_are_one_class_however_pandas_holds_them(tmp_path, table):
    table["kind"] = [1.0, 1.0, 2.0, 2.0]
    assert list_table(table, path_column="file", label_column="kind", root=tmp_path).class_names == ["1", "2"]


def test_a_data_frame_with_its_root(tmp_path, table):
    listing = list_table(table, path_column="file", label_column="kind", root=tmp_path)
    assert listing.splits == [None] * 4


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            lambda t: t,
            {"path_column": "files"},
            "no column 'files'.*allowed: file, kind, site, part.*did you mean 'file'",
        ),
        (lambda t: t, {"label_column": "class"}, "no column 'class'"),
        (lambda t: t.assign(file=["no.jpg", *t.file[1:]]), {}, "1 of 4 photos of the table do not exist.*no.jpg"),
        (lambda t: t.assign(kind=["a", None, "b", "b"]), {}, "column 'kind' is empty in 1 rows.*data row 2"),
        (lambda t: t.assign(kind="a"), {}, "needs at least two classes"),
        (lambda t: t.assign(part="dev"), {"split_column": "part"}, "unknown value in column 'part'; received: 'dev'"),
        (lambda t: t[:0], {}, "the table has no rows"),
    ],
)
def test_unusable_tables_are_named(tmp_path, table, change, options, message):
    with pytest.raises(DataError, match=message):
        list_table(change(table), **{"path_column": "file", "label_column": "kind", "root": tmp_path, **options})


def test_unreadable_tables_are_named(tmp_path):
    with pytest.raises(DataError, match="no such table"):
        list_table(tmp_path / "none.csv")
    (tmp_path / "t.xlsx").write_bytes(b"x")
    with pytest.raises(DataError, match="unknown table format"):
        list_table(tmp_path / "t.xlsx")
    for name, content, said in (
        ("t.parquet", b"junk", "the table cannot be read"),
        ("q.csv", b'path,label\na.jpg,x\n"b.jpg,y\n', "the quote that .*q.csv row 3 opens is never closed"),
        ("f.csv", b"path,label\na.jpg,x,y\n", "f.csv row 2 has 3 fields where the header has 2"),
        ("e.csv", b"", "the table is empty"),
        ("b.csv", b"path,label\n\xff\xfe,1\n", "b.csv row 2 contains a byte that is not utf-8.*'0xff'; pass encoding="),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=said):
            list_table(tmp_path / name)
