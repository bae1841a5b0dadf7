"""The simulator against cases worked out by hand, and against a plain one on random streams."""

from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinytorch.errors import InvalidValue, ShapeError, UnknownName
from tinytorch.measure.cachesim import ORDERS, CacheLevel, simulate_matmul, simulate_stream


def fully_associative(lines, line_bytes=64):
    return CacheLevel("L1", lines * line_bytes, lines, line_bytes)


def misses(addresses, *levels):
    report = simulate_stream(np.asarray(addresses, np.int64), levels)
    return [counts.misses for counts in report.levels]


def product_misses(order, shape, level, **options):
    (counts,) = simulate_matmul(order, shape, (level,), **options).levels
    return counts.misses


# ------------------------------------------------------------------------------ by hand: streams


def test_a_sequential_stream_misses_once_a_line():
    # 4096 bytes in elements of 4: 1024 accesses. 4096 / 64 = 64 lines.
    report = simulate_stream(np.arange(0, 4096, 4), (CacheLevel("L1", 1024, 4),))
    (counts,) = report.levels
    assert (counts.accesses, counts.misses, counts.hits) == (1024, 64, 960)
    assert counts.miss_rate == 64 / 1024
    assert report.bytes_from_memory == 4096


def test_a_stride_of_a_line_or_more_misses_every_time():
    assert misses(np.arange(0, 64 * 100, 64), CacheLevel("L1", 1024, 4)) == [100]
    assert misses(np.arange(0, 96 * 100, 96), CacheLevel("L1", 1024, 4)) == [100]


def test_two_lines_that_share_a_set_thrash_one_way_and_rest_in_two():
    # 1024 bytes apart in 1024 bytes of one way: the same set, so each throws the other out.
    pair = [0, 1024] * 10
    assert misses(pair, CacheLevel("L1", 1024, 1)) == [20]
    # Two ways of 512 bytes: the same set again, and room for both.
    assert misses(pair, CacheLevel("L1", 1024, 2)) == [2]


def test_neighbours_do_not_share_a_set():
    assert misses([0, 64] * 10, CacheLevel("L1", 1024, 1)) == [2]


@pytest.mark.parametrize("ways", [1, 4, 16])
def test_a_working_set_of_exactly_the_cache_misses_only_at_first(ways):
    # 16 lines, walked in order twice, fill every way of every set whatever the ways are.
    assert misses(list(range(0, 1024, 64)) * 2, CacheLevel("L1", 1024, ways)) == [16]


def test_one_line_more_than_the_cache_misses_always():
    # 17 lines in 16 places: least recently used is always the one that is needed next.
    assert misses(list(range(0, 17 * 64, 64)) * 3, fully_associative(16)) == [51]


def test_the_least_recently_used_line_goes_not_the_oldest():
    # Two places: 0 and 1 come in, 0 is used again, so 2 throws 1 out. Misses: 0, 1, 2, then 1.
    assert misses([0, 64, 0, 128, 0, 64], fully_associative(2)) == [4]


def test_sets_need_not_be_a_power_of_two():
    # 3 sets of one way: lines 0 and 3 share a set, 0 and 4 don't.
    three = CacheLevel("L3", 192, 1)
    assert misses([0, 3 * 64] * 5, three) == [10]
    assert misses([0, 4 * 64] * 5, three) == [2]


def test_only_misses_reach_the_next_level_and_its_lines_may_be_longer():
    # 1024 bytes: 16 lines of 64, which are 8 lines of 128. The second pass finds all in L2.
    report = simulate_stream(
        np.tile(np.arange(0, 1024, 4), 2),
        (CacheLevel("L1", 512, 8, 64), CacheLevel("L2", 2048, 4, 128)),
    )
    inner, outer = report.levels
    assert (inner.accesses, inner.misses) == (512, 32)
    assert (outer.accesses, outer.misses) == (32, 8)
    assert report.bytes_from_memory == 8 * 128


# ------------------------------------------------------------------------------ by hand: products


def test_the_column_walk_of_ijk_misses_at_every_element_of_b():
    # A row of B is one line, so a column is K = 32 lines, and 16 fit: M N K = 2048 misses.
    # A row of A is two lines; 16 lines of B pass before one is needed again: 2 M N = 128.
    # Each write of C comes after 32 lines of B: M N = 64.
    (counts,) = simulate_matmul("ijk", (4, 32, 16), (fully_associative(16),)).levels
    assert counts.accesses == 4 * 16 * (2 * 32 + 1)
    assert counts.misses == 2048 + 128 + 64


def test_ikj_misses_once_a_line_of_each_row():
    # A row of B or C is 256 x 4 / 64 = 16 lines, and 16 lines fit. A step (i, k) walks a row of
    # each (the write of C finds the line that its read brought) and needs A's line anew.
    (counts,) = simulate_matmul("ikj", (4, 8, 256), (fully_associative(16),)).levels
    assert counts.accesses == 4 * 8 * (3 * 256 + 1)
    assert counts.misses == 4 * 8 * (16 + 16 + 1)


def test_ikj_keeps_the_row_of_c_where_two_rows_fit():
    # 64 lines: C's 16, B's 16 and A's one stay until they are needed again, B's 8 rows (128 lines)
    # do not. B: 4 x 8 x 16; C: 4 rows once, 16 each; A: 4 x 8 x 4 bytes are two lines.
    assert product_misses("ikj", (4, 8, 256), fully_associative(64)) == 512 + 64 + 2


def test_three_tiles_that_fit_are_fetched_once():
    # 48 x 48 float32 are 48 x 3 lines; three of them fill 432 lines to the last.
    assert product_misses("tiled", (48, 48, 48), fully_associative(432), tile=48) == 432


def test_tiles_are_fetched_as_often_as_the_formula_says():
    # Tiles of 16 x 16 are 16 lines. 80 lines hold the tiles of one step and those it replaces
    # (LRU keeps what is done with), not a row of 8 tiles. So A is fetched once, 32 x 32 / 16 = 64
    # lines; B once for each of M / 16 = 2 rows of tiles, 2 x 256; C for each of K / 16 = 2, 2 x 256
    counted = product_misses("tiled", (32, 32, 128), fully_associative(80), tile=16)
    assert counted == 64 + 512 + 512


def test_float64_needs_twice_the_lines():
    # Everything fits: only the first fetch of (16 + 16 + 16) x 16 elements, 8 to a line.
    assert product_misses("ijk", (16, 16, 16), fully_associative(128), itemsize=8) == 96


# ------------------------------------------------------------------------------ against an oracle


class PlainLevel:
    """A level as dictionaries in order of use."""

    def __init__(self, level):
        self.level = level
        self.sets = [OrderedDict() for _ in range(level.sets)]
        self.misses = 0

    def hit(self, address):
        line = address // self.level.line_bytes
        chosen = self.sets[line % self.level.sets]
        found = line in chosen
        self.misses += not found
        chosen[line] = True
        chosen.move_to_end(line)
        if len(chosen) > self.level.ways:
            chosen.popitem(last=False)
        return found


def plain_misses(addresses, levels):
    plain = [PlainLevel(level) for level in levels]
    for address in addresses:
        any(level.hit(address) for level in plain)
    return [level.misses for level in plain]


def plain_product(order, shape, itemsize, line_bytes, tile):
    M, K, N = shape

    def after(start, elements):
        return start + -(-elements * itemsize // line_bytes) * line_bytes

    b0 = after(0, M * K)
    c0 = after(b0, K * N)

    def a(i, k):
        return (i * K + k) * itemsize

    def b(k, j):
        return b0 + (k * N + j) * itemsize

    def c(i, j):
        return c0 + (i * N + j) * itemsize

    if order == "ijk":
        for i in range(M):
            for j in range(N):
                for k in range(K):
                    yield from (a(i, k), b(k, j))
                yield c(i, j)
        return
    t = tile or max(shape)
    for i0 in range(0, M, t):
        for k0 in range(0, K, t):
            for j0 in range(0, N, t):
                for i in range(i0, min(i0 + t, M)):
                    for k in range(k0, min(k0 + t, K)):
                        yield a(i, k)
                        for j in range(j0, min(j0 + t, N)):
                            yield from (b(k, j), c(i, j), c(i, j))


def a_level():
    return st.builds(
        lambda sets, ways, line: CacheLevel("L", sets * ways * line, ways, line),
        st.integers(1, 5),
        st.integers(1, 4),
        st.sampled_from([8, 16, 64]),
    )


@settings(deadline=None, max_examples=150)
@given(st.lists(st.integers(0, 2000), max_size=200), st.lists(a_level(), min_size=1, max_size=3))
def test_random_streams_miss_as_in_a_plain_simulator(addresses, levels):
    assert misses(addresses, *levels) == plain_misses(addresses, levels)


@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize("shape", [(19, 7, 13), (1, 1, 1), (35, 4, 9), (3, 17, 1)])
@pytest.mark.parametrize(("order", "tile"), [("ijk", None), ("ikj", None), ("tiled", 5)])
def test_products_miss_as_in_a_plain_simulator(order, tile, shape, itemsize):
    # Small direct-mapped levels of odd sizes: a wrong order or base address moves some miss.
    levels = (CacheLevel("L1", 3 * 32, 1, 32), CacheLevel("L2", 7 * 2 * 64, 2, 64))
    report = simulate_matmul(order, shape, levels, itemsize, tile)
    addresses = list(plain_product(order, shape, itemsize, 64, tile))
    assert report.levels[0].accesses == len(addresses)
    assert [counts.misses for counts in report.levels] == plain_misses(addresses, levels)


# ------------------------------------------------------------------------------ what it says


def test_the_report_is_plain_data_that_says_it_is_simulated():
    report = simulate_matmul("tiled", (4, 4, 4), (fully_associative(16),), tile=2)
    told = report.to_dict()
    assert told["source"] == "simulated"
    assert (told["order"], told["shape"], told["tile"]) == ("tiled", [4, 4, 4], 2)
    assert told["bytes_from_memory"] == 3 * 64
    (level,) = told["levels"]
    assert level["hits"] + level["misses"] == level["accesses"]
    assert level["name"] == "L1"


def test_an_empty_stream_has_no_misses():
    (counts,) = simulate_stream(np.empty(0, np.int64), (fully_associative(1),)).levels
    assert (counts.accesses, counts.misses, counts.miss_rate) == (0, 0, 0.0)


def test_an_unknown_order_offers_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'ikj'"):
        simulate_matmul("ikk", (4, 4, 4), (fully_associative(1),))
    assert ORDERS == ("ijk", "ikj", "tiled")


@pytest.mark.parametrize(
    ("size", "ways", "line", "said"),
    [
        (0, 1, 64, "size_bytes .* positive integer, got 0"),
        (1024, 0, 64, "ways .* positive integer, got 0"),
        (1024, 1, -64, "line_bytes .* positive integer, got -64"),
        (1024, 2.0, 64, "ways .* positive integer, got 2.0"),
        (960, 1, 48, "power of two, got 48"),
        (1000, 1, 64, "multiple of 64"),
        (1024, 3, 64, "multiple of 192"),
    ],
)
def test_a_level_that_cannot_be_is_refused(size, ways, line, said):
    with pytest.raises(InvalidValue, match=said):
        CacheLevel("L1", size, ways, line)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"order": "tiled"}, InvalidValue, "needs a tile"),
        ({"order": "tiled", "tile": 0}, InvalidValue, "tile=0"),
        ({"tile": 4}, InvalidValue, "the other orders take none"),
        ({"itemsize": 2}, InvalidValue, "itemsize must be 4 or 8"),
        ({"shape": (4, 4)}, ShapeError, r"\(4, 4\)"),
        ({"shape": (4, 0, 4)}, ShapeError, r"\(4, 0, 4\)"),
        ({"levels": ()}, InvalidValue, "at least one level"),
        ({"levels": (fully_associative(4, 4),), "itemsize": 8}, InvalidValue, "must fit a line"),
    ],
)
def test_a_product_that_cannot_be_simulated_is_refused(arguments, error, said):
    usual = {"order": "ijk", "shape": (4, 4, 4), "levels": (fully_associative(4),)}
    with pytest.raises(error, match=said):
        simulate_matmul(**(usual | arguments))


@pytest.mark.parametrize(
    ("addresses", "said"),
    [
        (np.array([0.0]), "vector of integers"),
        (np.zeros((2, 2), np.int64), "vector of integers"),
        (np.array([64, -64]), "negative, got -64"),
    ],
)
def test_addresses_that_cannot_be_are_refused(addresses, said):
    with pytest.raises(InvalidValue, match=said):
        simulate_stream(addresses, (fully_associative(4),))
