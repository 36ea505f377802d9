"""Models in the data directory: added whole or not at all, chosen durably."""

from pathlib import Path

import pytest

from hayloft.errors import Conflict, InvalidRequest, ModelNotFound
from hayloft.similarity.embedders.embedder import open_embedder
from hayloft.similarity.embedders.library import ModelLibrary
from model_samples import save_colours


@pytest.fixture
def library(tmp_path: Path) -> ModelLibrary:
    return ModelLibrary(tmp_path / "models")


def put(name: str):
    return lambda folder: save_colours(folder / f"{name}.onnx") and None


def test_a_new_library_is_empty_and_uses_what_is_built_in(library: ModelLibrary) -> None:
    assert library.models() == []
    assert library.in_use() == "builtin"
    embedder = open_embedder(None, library=library)
    assert embedder is not None
    assert embedder.name == "builtin/1"


def test_a_model_is_added_used_and_removed(library: ModelLibrary) -> None:
    added = library.add("colours", put("colours"))
    assert [model.name for model in library.models()] == ["colours"]
    assert added.size_bytes == sum(path.stat().st_size for path in added.path.parent.iterdir())
    library.use("colours")
    assert ModelLibrary(library.folder).in_use() == "colours"
    embedder = open_embedder(None, library=library)
    assert embedder is not None
    assert embedder.name.startswith("onnx/colours/")
    with pytest.raises(Conflict, match="in use"):
        library.remove("colours")
    library.use("none")
    assert open_embedder(None, library=library) is None
    library.remove("colours")
    assert library.models() == []
    assert [path.name for path in library.folder.iterdir()] == ["in-use"]


def test_a_setting_wins_over_the_choice(library: ModelLibrary) -> None:
    library.add("colours", put("colours"))
    library.use("none")
    chosen = open_embedder("colours", library=library)
    assert chosen is not None
    assert chosen.name.startswith("onnx/colours/")


def test_a_model_that_is_wrong_leaves_nothing(library: ModelLibrary) -> None:
    def broken(folder: Path) -> None:
        (folder / "broken.onnx").write_bytes(b"half")
        raise InvalidRequest("It is broken.")

    with pytest.raises(InvalidRequest, match="broken"):
        library.add("broken", broken)
    with pytest.raises(InvalidRequest, match="no file"):
        library.add("nothing", lambda folder: None)
    assert library.models() == []
    assert list(library.folder.iterdir()) == []


def test_what_a_killed_process_left_is_cleared_away(library: ModelLibrary) -> None:
    left = library.folder / ".draft-colours.4194305"  # past the largest process id
    left.mkdir(parents=True)
    (left / "colours.onnx").write_bytes(b"half")
    assert library.models() == []
    library.add("colours", put("colours"))
    assert [path.name for path in library.folder.iterdir()] == ["colours"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "builtin", "none", "onnx", ".hidden", "x" * 65])
def test_names_that_are_none(library: ModelLibrary, name: str) -> None:
    with pytest.raises(InvalidRequest):
        library.add(name, put(name))
    if name not in ("builtin", "none"):
        with pytest.raises(ModelNotFound):
            library.use(name)


def test_a_name_is_given_once(library: ModelLibrary) -> None:
    library.add("colours", put("colours"))
    with pytest.raises(Conflict):
        library.add("colours", put("colours"))
