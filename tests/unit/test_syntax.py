"""The parser of the project gives what ``ast.parse`` gives, whatever finalisers do meanwhile."""

import ast
import gc

import pytest

from ml.syntax import parse

SOURCE = "x = [" + "[(1 + 2) * 3], " * 2000 + "]\n"


class _ParsesWhenItGoes:
    """Garbage whose finaliser parses Python, as that of a library may."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        ast.parse("x = (((1,),),)")


@pytest.fixture
def collects_all_the_time():
    before = gc.get_threshold()
    gc.set_threshold(1)
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("collects_all_the_time")
def test_finalisers_do_not_disturb_it() -> None:
    for _ in range(20):
        garbage = [_ParsesWhenItGoes() for _ in range(50)]
        del garbage
        parse(SOURCE)
    assert gc.isenabled()


def test_what_is_no_python_is_refused_with_the_file() -> None:
    with pytest.raises(SyntaxError) as refused:
        parse("x = ", "some.py")
    assert refused.value.filename == "some.py"
    assert gc.isenabled()


def test_collection_stays_off_where_it_was_off() -> None:
    gc.disable()
    try:
        assert ast.dump(parse("1 + a", mode="eval")) == ast.dump(ast.parse("1 + a", mode="eval"))
        assert not gc.isenabled()
    finally:
        gc.enable()
