"""Object names against git's own (made with `git hash-object` and `git mktree`, git 2.39)."""

from __future__ import annotations

import pytest

from jobshelf.hub import git


def test_blob_id():
    assert git.object_id("blob", b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_empty_tree_id():
    assert git.write_tree({})[0] == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def test_tree_id_sorts_folders_as_git_does():
    hello = git.object_id("blob", b"hello\n")
    root, objects = git.write_tree({"a/x": hello, "a.txt": hello, "a-b": hello})
    assert root == "d18c3649010b032548f7afc0425acd0ab5952b39"
    assert [(item.name, item.is_tree) for item in git.parse_tree(objects[root])] == [
        ("a-b", False),
        ("a.txt", False),
        ("a", True),
    ]


@pytest.mark.parametrize("paths", [("a", "a/b"), ("a/b", "a")])
def test_a_path_cannot_be_a_file_and_a_folder(paths: tuple[str, str]):
    with pytest.raises(git.PathClash, match="is a file and a folder"):
        git.write_tree(dict.fromkeys(paths, "ce013625030ba8dba906f756967f9e9ca394464a"))


def test_lfs_pointer_id():
    pointer = git.lfs_pointer("98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4", 12)
    assert git.object_id("blob", pointer) == "7ce8d47fb390ac707be0b0bd696e46001fdd650f"
