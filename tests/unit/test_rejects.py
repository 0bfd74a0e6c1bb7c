"""The reasons of rejects, in words."""

from ml.data.landing.rejects import in_words, reject_reasons
from ml.data.sources.amazon.dumps import land_reviews


def test_reasons_are_counted_with_an_example_and_a_remedy(tmp_path):
    dump = tmp_path / "Some.json.gz"
    lines = ['{"reviewerID": "caf\xe9"}'.encode("latin-1")] * 3 + [b"[" + b"x" * 500]
    dump.write_bytes(b"\n".join(lines) + b"\n")
    landed = tmp_path / "landed"
    land_reviews([dump], landed)
    first, second = reject_reasons(landed)
    assert (first.reason, first.count, first.line_number) == ("invalid UTF-8", 3, 1)
    assert (second.count, second.line_number) == (1, 4)
    words = in_words(landed, {"Some.json.gz": 4})["Some.json.gz"]
    assert "invalid UTF-8: 3 of 4, such as line 1 of Some.json.gz" in words
    assert "caf\\xe9" in words
    assert "save the file as UTF-8" in words
    assert len(words) < 600
    assert words.endswith(f"All rejects: {'/'.join(landed.parts[-4:])}/rejects in the workspace.")


def test_files_without_rejects_have_no_words(tmp_path):
    dump = tmp_path / "Some.json.gz"
    dump.write_bytes(b'{"reviewerID": "A", "asin": "B", "overall": 5.0, "unixReviewTime": 1400000000}\n')
    land_reviews([dump], tmp_path / "landed")
    assert in_words(tmp_path / "landed", {"Some.json.gz": 1}) == {}
