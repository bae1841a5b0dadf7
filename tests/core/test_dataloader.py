from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import tinytorch
from tinytorch import (
    Compose,
    DataLoader,
    Dataset,
    RandomCrop,
    RandomHorizontalFlip,
    Tensor,
    TensorDataset,
)
from tinytorch.errors import InvalidValue, ShapeError

IMAGES = np.arange(10 * 4 * 4, dtype=np.float32).reshape(10, 4, 4)


class Flipped(Dataset):
    """Images that are changed at random as they are read."""

    def __init__(self) -> None:
        self.change = Compose([RandomHorizontalFlip(), RandomCrop(4, padding=1)])
        self.threads: set[int] = set()

    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, index: int) -> Any:
        self.threads.add(threading.get_ident())
        return self.change(IMAGES[index]), index


def test_a_dataset_of_tensors() -> None:
    data = TensorDataset(Tensor(IMAGES), Tensor(np.arange(10), dtype=np.int64))
    assert len(data) == 10
    image, label = data[3]
    assert image.tolist() == IMAGES[3].tolist() and label.item() == 3
    with pytest.raises(IndexError, match="10 of 10"):
        data[10]
    with pytest.raises(ShapeError, match=r"\(10, 4, 4\), \(9,\)"):
        TensorDataset(IMAGES, np.ones(9))
    with pytest.raises(ShapeError):
        TensorDataset(3.0)
    with pytest.raises(InvalidValue):
        TensorDataset()


def test_a_dataset_is_abstract() -> None:
    with pytest.raises(TypeError):
        Dataset()  # type: ignore[abstract]


def test_batches_in_order_with_a_short_last_one() -> None:
    loader = DataLoader(TensorDataset(IMAGES, Tensor(np.arange(10), dtype=np.int64)), batch_size=4)
    batches = list(loader)
    assert len(loader) == 3 and [len(x) for x, _ in batches] == [4, 4, 2]
    assert all(isinstance(part, Tensor) for batch in batches for part in batch)
    assert np.concatenate([y.data for _, y in batches]).tolist() == list(range(10))
    assert batches[0][1].dtype == np.int64
    assert [len(x) for x, _ in DataLoader(loader.dataset, 4, drop_last=True)] == [4, 4]
    assert list(DataLoader(TensorDataset(np.ones((0, 2))), 4)) == []


def test_an_order_repeats_with_its_seed() -> None:
    loader = DataLoader(TensorDataset(np.arange(10)), batch_size=3, shuffle=True)

    def order() -> list[float]:
        return [float(v) for (x,) in loader for v in x.data]

    tinytorch.manual_seed(1)
    first, second = order(), order()
    assert sorted(first) == list(range(10)) and first != second
    np.random.seed(1)
    assert [order(), order()] == [first, second]


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_a_thread_ahead_changes_nothing(prefetch: int) -> None:
    def batches(count: int) -> list[Any]:
        tinytorch.manual_seed(5)
        found = []
        for x, y in DataLoader(Flipped(), 3, shuffle=True, prefetch=count):
            found.append((x.tolist(), y.tolist()))
            np.random.random()  # what dropout would draw meanwhile
        return found

    assert batches(prefetch) == batches(0)
    data = Flipped()
    list(DataLoader(data, 3, prefetch=prefetch))
    assert (threading.get_ident() in data.threads) == (prefetch == 0)


def test_errors_of_a_thread_ahead_are_raised_here() -> None:
    class Broken(Flipped):
        def __getitem__(self, index: int) -> Any:
            if index == 5:
                raise KeyError("sample 5")
            return index

    seen = []
    with pytest.raises(KeyError, match="sample 5"):
        seen.extend(batch.tolist() for batch in DataLoader(Broken(), 2, prefetch=2))
    assert seen == [[0, 1], [2, 3]]


def test_a_loop_left_early_leaves_no_thread() -> None:
    before = threading.active_count()
    for _ in DataLoader(Flipped(), 1, prefetch=1):
        break
    import gc

    gc.collect()
    assert threading.active_count() == before


def test_samples_of_other_kinds() -> None:
    assert [b.tolist() for b in DataLoader([1, 2, 3], 2)] == [[1, 2], [3]]
    (x, y), *_ = DataLoader([(Tensor([1, 2], dtype=np.int64), 1.5)] * 3, 3)
    assert x.dtype == np.int64 and y.tolist() == [1.5] * 3
    with pytest.raises(ShapeError, match=r"\(1,\), \(2,\)"):
        list(DataLoader([np.ones(1), np.ones(2)], 2))


@pytest.mark.parametrize("size", [0, -1, 2.5, "4", None])
def test_batch_sizes_are_refused(size: Any) -> None:
    with pytest.raises(InvalidValue, match="batch_size"):
        DataLoader([1, 2], size)


def test_what_is_no_dataset_is_refused() -> None:
    with pytest.raises(InvalidValue, match="__len__"):
        DataLoader(iter([1]), 1)
    with pytest.raises(InvalidValue, match="prefetch"):
        DataLoader([1], 1, prefetch=-1)


def test_flips() -> None:
    always, never = RandomHorizontalFlip(1.0), RandomHorizontalFlip(0.0)
    assert always(IMAGES[0]).tolist() == IMAGES[0][:, ::-1].tolist()
    assert isinstance(always(Tensor(IMAGES)), Tensor) and isinstance(always(IMAGES), np.ndarray)
    assert never(IMAGES) is IMAGES
    with pytest.raises(InvalidValue):
        RandomHorizontalFlip(1.5)
    with pytest.raises(ShapeError):
        always(np.ones(3))


def test_crops() -> None:
    tinytorch.manual_seed(0)
    crop = RandomCrop(4, padding=2)
    seen = set()
    for _ in range(300):
        part = crop(IMAGES[0] + 1)
        assert part.shape == (4, 4)
        seen.add(part.tobytes())
    assert len(seen) == 25  # every place there is
    assert RandomCrop((2, 3), padding=0)(Tensor(IMAGES)).shape == (10, 2, 3)
    with pytest.raises(ShapeError, match="can't cut"):
        RandomCrop(9, padding=2)(IMAGES)
    with pytest.raises(InvalidValue):
        RandomCrop(0)
