"""Tasks of images and of features: rows by class, pixels by id, features by id."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from w2s_ray.config import Columns, Model, Task, parse_sweep
from w2s_ray.data import load_split, model_source, resolve, split_ref
from w2s_ray.data.images import features_in, images_of

RNG = np.random.default_rng(0)
SIZES = {"train": 20, "validation": 6, "test": 10}


def image_task(folder: Path, *, images: np.ndarray | None = None) -> Task:
    pixels = RNG.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8) if images is None else images
    names = np.array([f"n{i}" for i in range(len(pixels))])
    np.savez(folder / "task.npz", image=pixels, label=np.arange(len(pixels)) % 3, name=names)
    columns = Columns(category="label", image="image", id="name")
    return Task(name="pictures", path=str(folder / "task.npz"), columns=columns, **SIZES)


def test_classes_are_answers_and_pixels_are_found_by_id(tmp_path):
    pixels = RNG.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
    split = load_split(image_task(tmp_path, images=pixels))
    assert split.form == "features"
    rows = [row for part in split.parts.values() for row in part]
    assert len(rows) == 36
    for row in rows:
        assert row.answer == str(int(row.id[1:]) % 3)
    ids, contents = [row.id for row in rows[:5]], [row.text for row in rows[:5]]
    found = images_of(image_task(tmp_path, images=pixels), ids, contents=contents)
    for row, image in zip(rows, found, strict=False):
        assert (image == pixels[int(row.id[1:])]).all()


def test_other_pixels_are_another_split(tmp_path):
    pixels = RNG.integers(0, 256, (40, 4, 4), dtype=np.uint8)
    one = load_split(image_task(tmp_path, images=pixels)).fingerprint
    assert load_split(image_task(tmp_path, images=pixels)).fingerprint == one
    pixels[7, 0, 0] ^= 1
    assert load_split(image_task(tmp_path, images=pixels)).fingerprint != one


def test_a_repeated_image_is_one_row(tmp_path):
    pixels = np.repeat(RNG.integers(0, 256, (40, 4, 4), dtype=np.uint8), 2, axis=0)
    np.savez(tmp_path / "t.npz", image=pixels, label=np.arange(80) // 2 % 2)
    columns = Columns(category="label", image="image")
    task = Task(name="t", path=str(tmp_path / "t.npz"), columns=columns, **SIZES)
    split = load_split(task)
    pictures = [int(row.id.partition(":")[2]) // 2 for rows in split.parts.values() for row in rows]
    assert len(set(pictures)) == len(pictures) == 36
    assert split.dropped["duplicate"] == 40


def test_image_files_lie_beside_their_table(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = RNG.integers(0, 256, (40, 4, 4, 3), dtype=np.uint8)
    (tmp_path / "pictures").mkdir()
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "kind"])
        for i, each in enumerate(pixels):
            image.fromarray(each).save(tmp_path / "pictures" / f"{i}.png")
            writer.writerow([f"pictures/{i}.png", "ant" if i % 2 else "bee"])
    columns = Columns(category="kind", image="file", id="file")
    task = Task(name="insects", path=str(tmp_path / "table.csv"), columns=columns, **SIZES)
    row = load_split(task).parts["test"][0]
    (found,) = images_of(task, [row.id], contents=[row.text])
    assert (found == pixels[int(Path(row.id).stem)]).all()
    planned = split_ref(task)
    image.fromarray(255 - pixels[int(Path(row.id).stem)]).save(tmp_path / row.id)
    with pytest.raises(ValueError, match=r"the image of row .* changed since it was planned"):
        images_of(task, [row.id], contents=[row.text])
    assert split_ref(task).fingerprint != planned.fingerprint
    (tmp_path / "pictures" / "3.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"3.png: not a complete image"):
        images_of(task, ["pictures/3.png"], contents=[hashlib.sha256(b"no image").hexdigest()[:16]])
    (tmp_path / "pictures" / "3.png").unlink()
    with pytest.raises(ValueError, match=r"no image file 'pictures/3.png'"):
        load_split(task)


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_features_are_found_by_id(tmp_path, kind):
    values = RNG.normal(size=(5, 3)).astype(np.float32)
    path = tmp_path / f"features.{kind}"
    names = ["a", "b", "c", "d", "e"]
    if kind == "npz":
        np.savez(path, features=values, id=np.array(names))
    else:
        pq.write_table(pa.table({"id": names, "features": list(values)}), path)
    assert (features_in(path, ["d", "a"]) == values[[3, 0]]).all()
    with pytest.raises(
        ValueError, match=r"no features for row 'x' \(1 of 2 rows\); add them to the file"
    ):
        features_in(path, ["a", "x"])


def test_features_without_ids_are_the_tasks_rows_in_order(tmp_path):
    values = RNG.normal(size=(4, 2))
    np.savez(tmp_path / "f.npz", features=values)
    assert (features_in(tmp_path / "f.npz", ["row:2"]) == values[2].astype(np.float32)).all()
    with pytest.raises(ValueError, match="store the rows' ids as 'id'"):
        features_in(tmp_path / "f.npz", ["digit:2"])


def test_an_invalid_feature_file_is_refused(tmp_path):
    np.savez(tmp_path / "f.npz", vectors=np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"no array 'features' \(it has none\); store"):
        features_in(tmp_path / "f.npz", ["row:0"])
    np.savez(tmp_path / "f.npz", features=np.array([[0.0, np.nan]]))
    with pytest.raises(ValueError, match="the features of row 'row:0' aren't all finite"):
        features_in(tmp_path / "f.npz", ["row:0"])
    uneven = pa.table({"features": [[1.0], [1.0, 2.0]]})
    pq.write_table(uneven, tmp_path / "f.parquet")
    with pytest.raises(ValueError, match="differ in length"):
        features_in(tmp_path / "f.parquet", ["row:0"])


def test_feature_models_have_an_identity(tmp_path):
    path = tmp_path / "f.npz"
    np.savez(path, features=np.zeros((4, 2)))
    one = model_source(Model(name=str(path)))
    assert one.identity.startswith("sha256:")
    np.savez(path, features=np.ones((4, 2)))
    assert model_source(Model(name=str(path))).identity != one.identity
    assert model_source(Model(name="pixels:4")).identity == "pixels:4"
    with pytest.raises(ValueError, match="number of blocks a side"):
        model_source(Model(name="pixels:x"))
    missing = model_source(Model(name="./nowhere.npz"))
    assert missing.provisional
    assert missing.note.startswith("no feature file at ")


def test_a_missing_timm_is_reported_at_planning(monkeypatch):
    monkeypatch.setattr("w2s_ray.data.models.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs timm.*pip install 'w2s_ray\[vision\]'"):
        model_source(Model(name="timm:vit_base_patch8_224.dino"))


def test_image_models_are_refused_for_text_tasks(tmp_path):
    text = """
name: s
task: {task}
models: ["pixels:2", "pixels:4"]
methods: {{naive: {{}}}}
"""
    embedded = "{name: embedded, train: 100, validation: 20, test: 20}"
    with pytest.raises(ValueError, match="pixels:2 computes features of images, but task embedded"):
        resolve(parse_sweep(text.format(task=embedded)))
    np.savez(tmp_path / "t.npz", label=np.arange(40) % 2)
    bare = f"{{name: t, path: {tmp_path}/t.npz, columns: {{category: label}}, train: 20, "
    with pytest.raises(ValueError, match="task t has none; give a feature file"):
        resolve(parse_sweep(text.format(task=bare + "validation: 6, test: 10}")))


def test_the_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    task = Task(name="digits", train=1000, validation=200, test=597)
    split = load_split(task)
    pixels, labels = load_digits(return_X_y=True)
    for row in split.parts["test"][:50]:
        index = int(row.id.partition(":")[2])
        assert row.answer == str(labels[index])
        (image,) = images_of(task, [row.id], contents=[row.text])
        assert np.abs(image.ravel() / 255 * 16 - pixels[index]).max() < 0.05
