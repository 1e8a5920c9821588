from __future__ import annotations

import pickle
import re

import pytest

from jobshelf import errors

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.JobshelfError)]


def example(kind: type[errors.JobshelfError]) -> errors.JobshelfError:
    if kind is errors.ScriptError:
        return kind("x.py", 3, found="this", expected="that", fix="mend it")
    return kind("something is wrong", fix="do this")


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_comes_back_whole_from_another_process(kind):
    error = example(kind)
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert (str(back), vars(back), back.args) == (str(error), vars(error), error.args)
    assert str(back).endswith(f". Fix: {error.fix}")


@pytest.mark.parametrize("kind", KINDS)
def test_the_tree_in_the_docstring_names_each_with_its_code(kind):
    line = re.search(rf"{kind.__name__} +(\d)", errors.__doc__)
    assert int(line[1]) == kind.exit_code


def test_a_script_error_names_the_line_and_both_sides():
    assert str(example(errors.ScriptError)) == "x.py:3: found this, expected that. Fix: mend it"
