"""A file of the user's, or the name of an experiment that comes with the package."""

from pathlib import Path

import pytest

from ast_jax.config import find_config, shipped_configs

FOLDER = Path(__file__).resolve().parents[2] / "configs"


def test_names_are_those_of_the_files():
    assert shipped_configs() == {path.stem: path for path in FOLDER.glob("*.py") if path.stem != "__init__"}


def test_a_name_is_the_file_that_ships_and_keeps_its_variant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("quickstart") == str(FOLDER / "quickstart.py")
    assert find_config("quickstart:tiny,shape=mlp") == f"{FOLDER / 'quickstart.py'}:tiny,shape=mlp"


def test_a_file_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("quickstart").write_text("")
    assert find_config("quickstart:a:b") == "quickstart:a:b"
    mine = tmp_path / "mine.py"
    mine.write_text("")
    assert find_config(f"{mine}:x") == f"{mine}:x" and find_config("mine.py") == "mine.py"


@pytest.mark.parametrize(
    "text, says",
    [
        ("quikstart:tiny", "--config=quikstart:tiny: there is no file 'quikstart'; did you mean 'quickstart'?"),
        ("freeshape", "did you mean 'freeshapes'?"),
        ("mien.py", "--config=mien.py: there is no file 'mien.py'; did you mean 'mine.py'?"),
        ("", "--config= is empty"),
        (":tiny", "is empty"),
    ],
)
def test_a_wrong_name_gets_the_near_match(tmp_path, monkeypatch, text, says):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("")
    with pytest.raises(ValueError) as error:
        find_config(text)
    assert says in str(error.value)
