"""Sources that give an order instead of times: sequence files, and a split made elsewhere."""

import gzip
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_reading import Read, read_source

from ml.data.landing.file_lines import LandingError
from ml.data.landing.schema import INTERACTIONS_SCHEMA
from ml.data.sources import find_source, given_split
from ml.data.sources.sequence import lines as sequence


def read_sequence(folder: Path, data: bytes) -> Read:
    (folder / "Shop.txt").write_bytes(data)
    return read_source(folder, "Shop", INTERACTIONS_SCHEMA)


# --- sequence files ------------------------------------------------------------------------------------------


def test_lines_hold_a_user_and_its_items(tmp_path):
    read = read_sequence(tmp_path, b"1 5 6\t5\n2  7 \r\n\xc3\x84 \xc3\xb6\n1 8")
    assert read.values("user_id", "item_id", "given_position", "line_number") == [
        ("1", "5", 1, 1),
        ("1", "6", 2, 1),
        ("1", "5", 3, 1),
        ("2", "7", 4, 2),
        ("Ä", "ö", 5, 3),
        ("1", "8", 6, 4),
    ]
    assert {row[:5] for row in read.values("rating", "timestamp", "millisecond", "verified", "given_split")} == {
        (None, None, 0, None, None)
    }
    assert len({row["line_digest"] for row in read.rows}) == 4
    counts = read.counts[0]
    assert (counts.lines_read, counts.rows_read, counts.rows_kept) == (4, 6, 6)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"7", "no item"),
        (b" 7 ", "no item"),
        (b"7 \xff", "invalid UTF-8"),
        (b"7 8\x009", "control characters"),
        (b"7 8\x1c9", "control characters"),
        (b"7 8\xc2\x859", "control characters"),
        (b"\xc3\x84 8\x0b9", "control characters"),
    ],
)
def test_a_line_without_items_says_why(tmp_path, line, reason):
    read = read_sequence(tmp_path, b"1 5 6\n" + line + b"\n2 7\n")
    assert read.reasons() == [(2, reason)]
    assert reason in sequence.REASONS
    assert read.values("user_id", "given_position") == [("1", 1), ("1", 2), ("2", 3)]
    assert read.counts[0].rows_read == 4


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(1, 30).map(str), min_size=1, max_size=5), min_size=1, max_size=8))
def test_a_line_a_user_and_a_line_an_interaction_are_the_same(users):
    together = "".join(f"{user} {' '.join(items)}\n" for user, items in enumerate(users, 1))
    apart = "".join(f"{user}\t{item}\n" for user, items in enumerate(users, 1) for item in items)
    names = ("user_id", "item_id", "given_position")
    with tempfile.TemporaryDirectory() as folder:
        read = [read_sequence(Path(folder), text.encode()).values(*names) for text in (together, apart)]
    assert read[0] == read[1]


def words(rows: list[tuple]) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)


RATINGS = [(f"u{n % 7}", f"i{n % 13}", 1 + n % 5, 1400000000 + 86400 * n) for n in range(60)]
TABLES = {
    "user item rating time": (words(RATINGS), '"user", "item", "rating", "timestamp"'),
    "blanks": (words(RATINGS).replace("\t", "  "), '"user", "item", "rating", "timestamp"'),
    "numbers": (words([(n % 7, 100 + n % 13, *row[2:]) for n, row in enumerate(RATINGS)]), '"rating", "timestamp"'),
    "time before rating": (words([(u, i, t, r) for u, i, r, t in RATINGS]), '"user", "item", "timestamp", "rating"'),
    "time first": (words([(t, u, i) for u, i, _, t in RATINGS]), '"timestamp", "user", "item"'),
    "user item time": (words([(u, i, t) for u, i, _, t in RATINGS]), '"user", "item", "timestamp"'),
    "milliseconds": (words([(u, i, t * 1000) for u, i, _, t in RATINGS]), '"user", "item", "timestamp"'),
    "decimal times": (words([(u, i, f"{t}.0") for u, i, _, t in RATINGS]), '"user", "item", "timestamp"'),
    "dates": (words([(u, i, f"2014-01-{1 + t % 28:02}") for u, i, _, t in RATINGS]), '"user", "item", "timestamp"'),
    "days and clocks": (
        words([(u, i, "2014-01-02 10:11:12") for u, i, _, _ in RATINGS]),
        'separator = "\\t", columns = ["user", "item", "timestamp"]',
    ),
    "user item rating": (words([(u, i, r) for u, i, r, _ in RATINGS]), '"user", "item", "rating"'),
    "half stars": (words([(n, f"i{n}", r / 2) for n, (_, _, r, _) in enumerate(RATINGS)]), '"user", "item", "rating"'),
    "a further column": (words([(*row, n % 3) for n, row in enumerate(RATINGS)]), '"user", "item", "rating"'),
    "names": (
        "user_id item_id rating timestamp\n" + words(RATINGS),
        "the columns user_id, item_id, rating",
    ),
    "names of RecBole": (
        "user_id:token\titem_id:token\ttimestamp:float\n" + words([r[:3] for r in RATINGS]),
        "a table",
    ),
    "the item first": ("item_id user_id\n" + words([row[:2] for row in RATINGS]), "a table with the columns item_id"),
    "two colons": (words(RATINGS).replace("\t", "::"), 'separator = "::"'),
    "commas": (words(RATINGS).replace("\t", ","), 'separator = ",", columns = ["user", "item", "rating", "timestamp"]'),
    "semicolons": (words([row[:2] for row in RATINGS]).replace("\t", ";"), '";", columns = ["user", "item"]'),
    "commas of sequences": ("1,2,3,4\n2,3\n3,5,6\n", "write blanks instead of ','"),
    "commas behind a tab": ("1\t2,3,4\n2\t3,4\n", "write blanks between them"),
    "commas and blanks": ("1, 2, 3\n2, 3\n", "write blanks between them"),
    "lists": ("1 [2, 3, 4]\n2 [3]\n", "write blanks between them"),
    "one word": ("a\nb\nc\n", "hold one word each"),
    "JSON": ('{"user": 1}\n{"user": 2}\n', "holds JSON"),
}


@pytest.mark.parametrize("name", TABLES)
def test_what_is_no_sequence_is_refused_with_the_remedy(tmp_path, name):
    text, message = TABLES[name]
    with pytest.raises(LandingError) as error:
        read_sequence(tmp_path, text.encode())
    assert str(tmp_path / "Shop.txt") in str(error.value)
    assert message in str(error.value)
    if '"user"' in message:
        assert 'layout = "table", interactions = ["Shop.txt"]' in str(error.value)


SEQUENCES = {
    "equally many items": words([(n, n % 4, n % 5, n % 3) for n in range(60)]),
    "large identities": words([(n, 1593355688 + n % 4, 1593355700 + n % 5, 1593355000 + n % 3) for n in range(60)]),
    "three words": words([(n, n % 9, n % 5) for n in range(60)]),
    "pairs": words([(n % 7, n % 9) for n in range(60)]),
    "pairs of large identities": words([(n % 7, 1593355688 + n % 9) for n in range(60)]),
    "one line": "1 2 3 1400000000\n",
    "an item 0": words([(n, 0, n % 4, 0, 5) for n in range(60)]),
    "an item 0 at an end of some": "1 0 0 3\n2 5 3 4 0\n3 8\n",
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences_that_look_odd_are_read(tmp_path, name):
    read = read_sequence(tmp_path, SEQUENCES[name].encode())
    assert read.rejects == []
    assert len(read.rows) == sum(len(line.split()) - 1 for line in SEQUENCES[name].splitlines())
    reading = read.counts[0].reading
    assert (reading.order, reading.warnings) == ("position", ())
    assert ("second" in reading.columns["item"]) == name.startswith("pairs")


@pytest.mark.parametrize(
    ("text", "side", "zeros"),
    [
        ("1 0 0 0 5 6\n2 0 0 7 8 9\n3 1 2 3 4 5\n", "start", 5),
        ("1 5 6 0 0 0\n2 7 8 9 0 0\n3 1 2 3 4 5\n", "end", 5),
        ("1 0 0 5\n2 0 0 7 8 9\n3 0 0 0 1\n", "start", 7),
        ("1 0 0 5 6\n2 0 0 0 0\n", "start", 6),
    ],
)
def test_zeros_that_fill_up_lines_are_left_out_and_told(tmp_path, text, side, zeros):
    read = read_sequence(tmp_path, text.encode())
    assert "0" not in {row["item_id"] for row in read.rows}
    assert [row["given_position"] for row in read.rows] == list(range(1, len(read.rows) + 1))
    (warning,) = read.counts[0].reading.warnings
    assert f"at their {side}, and is left out {zeros} times" in warning
    assert [reason for _, reason in read.reasons()] == (["no item"] if "2 0 0 0 0" in text else [])


def test_zeros_that_are_an_item_further_on_are_an_error(tmp_path):
    text = "".join(f"{n} 0 0 5 6\n" for n in range(1500)) + "x 5 0 5 6\n"
    with pytest.raises(LandingError, match=r"Shop\.txt: item 0 stands among the items of user 'x'"):
        read_sequence(tmp_path, text.encode())


@pytest.mark.parametrize("header", ["user_id item_id", "user:token\titems:token_seq", "userId itemId"])
def test_a_line_of_names_is_no_interaction_wherever_it_stands(tmp_path, header):
    read = read_sequence(tmp_path, f"\ufeff{header}\nu1 i1\nu1 i2\n{header}\n\nu2 i1\n".encode())
    assert read.values("user_id", "item_id", "given_position", "line_number") == [
        ("u1", "i1", 1, 2),
        ("u1", "i2", 2, 3),
        ("u2", "i1", 3, 6),
    ]
    assert (read.rejects, read.counts[0].lines_read, read.counts[0].rows_read) == ([], 6, 3)
    (warning,) = read.counts[0].reading.warnings
    assert "names columns, and is left out" in warning


def test_identities_that_look_like_decimal_numbers_are_told(tmp_path):
    read = read_sequence(tmp_path, b"1 5.0 6.0\n2 5.0\n")
    assert [row["item_id"] for row in read.rows] == ["5.0", "6.0", "5.0"]
    (warning,) = read.counts[0].reading.warnings
    assert warning.startswith("items are written as decimal numbers such as '5.0'")


# --- a split made elsewhere ----------------------------------------------------------------------------------

# users 2 and 4 are validated; what user 2 knows is what user 1 knows, too
TRAIN = ["1 2", "1", "9", "4 5 6"]
VALIDATION_INPUT = ["1 2", "4 5 6 7"]
VALIDATION_OUTPUT = ["3", "8"]
TEST_INPUT = ["1 2 3 4", "1 2 3", "9", "4 5 6 7 8"]
TEST_OUTPUT = ["5", "4", "1", "9"]
SPLIT = {
    "train/input": TRAIN,
    "val/input": VALIDATION_INPUT,
    "val/output": VALIDATION_OUTPUT,
    "test/input": TEST_INPUT,
    "test/output": TEST_OUTPUT,
}


def write_split(folder: Path, compressed: bool = False, **changes: list[str]) -> Path:
    for part, lines in {**SPLIT, **{name.replace("_", "/"): lines for name, lines in changes.items()}}.items():
        path = folder / f"{part}.txt{'.gz' if compressed else ''}"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = "".join(f"{line}\n" for line in lines).encode()
        path.write_bytes(gzip.compress(data) if compressed else data)
    return folder


def test_a_split_made_elsewhere_is_kept(tmp_path):
    write_split(tmp_path, compressed=True)
    source = find_source(tmp_path, "anything")
    assert source.layout == "given_split"
    assert [file.name for file in source.files] == [f"{part}.txt.gz" for part in given_split.PARTS]
    read = read_source(tmp_path, "anything", INTERACTIONS_SCHEMA)
    before, after = "test/input.txt.gz", "test/output.txt.gz"
    names = ("source_file", "line_number", "user_id", "item_id", "given_position", "given_split")
    assert read.values(*names) == [
        (before, 1, "1", "1", 1, "train"),
        (before, 1, "1", "2", 2, "train"),
        (before, 1, "1", "3", 3, "history"),
        (before, 1, "1", "4", 4, "history"),
        (after, 1, "1", "5", 5, "test"),
        (before, 2, "2", "1", 6, "train"),
        (before, 2, "2", "2", 7, "history"),
        (before, 2, "2", "3", 8, "validation"),
        (after, 2, "2", "4", 9, "test"),
        (before, 3, "3", "9", 10, "train"),
        (after, 3, "3", "1", 11, "test"),
        (before, 4, "4", "4", 12, "train"),
        (before, 4, "4", "5", 13, "train"),
        (before, 4, "4", "6", 14, "train"),
        (before, 4, "4", "7", 15, "history"),
        (before, 4, "4", "8", 16, "validation"),
        (after, 4, "4", "9", 17, "test"),
    ]
    counts = {file.source_file: (file.lines_read, file.rows_kept, file.rows_repeated) for file in read.counts}
    assert counts == {
        "train/input.txt.gz": (4, 0, 7),
        "val/input.txt.gz": (2, 0, 6),
        "val/output.txt.gz": (2, 0, 2),
        before: (4, 13, 0),
        after: (4, 4, 0),
    }


def test_batches_do_not_change_what_is_read(tmp_path, monkeypatch):
    write_split(tmp_path)
    whole = read_source(tmp_path, "anything", INTERACTIONS_SCHEMA)
    monkeypatch.setattr(given_split, "ROWS_PER_BATCH", 1)
    assert read_source(tmp_path, "anything", INTERACTIONS_SCHEMA) == whole


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_input": ["1 2", "1", "9", "4 6"]}, r"train/input\.txt, line 4: is not how .*test/input\.txt begins"),
        ({"train_input": ["1 2", "1", "9", "4 5 6 7 8 9"]}, r"train/input\.txt, line 4: is not how"),
        ({"train_input": TRAIN[:3]}, r"train/input\.txt ends after line 3, and .*test/input\.txt goes on"),
        ({"train_input": [*TRAIN, "7"]}, r"test/input\.txt ends after line 4, and .*train/input\.txt goes on"),
        ({"train_input": ["1 2", "", "9", "4"]}, r"train/input\.txt, line 2: blank line"),
        ({"test_output": TEST_OUTPUT[:1]}, r"test/output\.txt ends after line 1"),
        ({"test_output": [*TEST_OUTPUT, "7"]}, r"test/input\.txt ends after line 4, and .*test/output\.txt goes on"),
        ({"test_output": ["5", "4 4", "1", "9"]}, r"test/output\.txt, line 2: holds 2 items instead of one"),
        ({"val_output": ["3 3", "8"]}, r"val/output\.txt, line 1: holds 2 items instead of one"),
        ({"val_output": ["3"]}, r"val/output\.txt ends after line 1, and the inputs of validation go on"),
        ({"val_output": ["3", "8", "9"]}, r"val/input\.txt ends after line 2, and .*val/output\.txt goes on"),
        (
            {"val_output": ["3", "7"]},
            r"val/input\.txt, line 2: with its line of .*val/output\.txt.* of no further user",
        ),
        ({"val_input": VALIDATION_INPUT[::-1]}, r"val/input\.txt, line 1: .* of no further user"),
        ({"train_input": ["1 2", "1 2 3", "9", "4 5 6"]}, r"val/input\.txt, line 1: .*must not be trained on"),
        ({"val_input": ["1 2\x07", "4"]}, r"val/input\.txt, line 1: control characters"),
    ],
)
def test_a_split_that_contradicts_itself_is_an_error(tmp_path, changes, message):
    write_split(tmp_path, **changes)
    with pytest.raises(LandingError, match=message):
        read_source(tmp_path, "anything", INTERACTIONS_SCHEMA)


def test_a_split_that_is_cut_short_is_an_error(tmp_path):
    path = write_split(tmp_path, compressed=True, test_input=TEST_INPUT) / "train" / "input.txt.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(LandingError, match=r"train/input\.txt\.gz is cut short"):
        read_source(tmp_path, "anything", INTERACTIONS_SCHEMA)


def test_a_split_without_all_files_is_an_error(tmp_path):
    write_split(tmp_path)
    shutil.rmtree(tmp_path / "train")
    with pytest.raises(LandingError, match=r"no whole split: train/input\.txt missing"):
        find_source(tmp_path, "anything")
    write_split(tmp_path)
    write_split(tmp_path, compressed=True)
    with pytest.raises(LandingError, match=r"both train/input\.txt and train/input\.txt\.gz"):
        find_source(tmp_path, "anything")


users = st.lists(
    st.tuples(st.lists(st.integers(1, 4).map(str), min_size=2, max_size=7), st.integers(1, 3), st.booleans()),
    min_size=1,
    max_size=8,
)


@settings(max_examples=80, deadline=None)
@given(users)
def test_splits_that_are_made_one_way_are_read_that_way(made):
    expected, parts = [], {part: [] for part in given_split.PARTS}
    for user, (items, left, validated) in enumerate(made, 1):
        before = items[:-1]
        trained = before[: max(1, len(before) - left)]
        # a user of validation differs from all others, so that there is one way to read the split
        validated = validated and len(trained) < len(before)
        if validated:
            before = [f"own{user}" if place == len(before) - 1 else item for place, item in enumerate(before)]
            parts["val/input"].append(" ".join(before[:-1]))
            parts["val/output"].append(before[-1])
        parts["train/input"].append(" ".join(trained))
        parts["test/input"].append(" ".join(before))
        parts["test/output"].append(items[-1])
        splits = ["train"] * len(trained) + ["history"] * (len(before) - len(trained))
        if validated:
            splits[-1] = "validation"
        expected += [(str(user), *pair) for pair in zip([*before, items[-1]], [*splits, "test"], strict=True)]
    if not parts["val/input"]:
        return
    with tempfile.TemporaryDirectory() as folder:
        write_split(Path(folder), **{part.replace("/", "_"): lines for part, lines in parts.items()})
        read = read_source(Path(folder), "anything", INTERACTIONS_SCHEMA)
    assert read.values("user_id", "item_id", "given_split") == expected
    assert [row["given_position"] for row in read.rows] == list(range(1, len(expected) + 1))
