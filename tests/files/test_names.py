"""Ids of objects: letters of every script, unique on every file system, short enough for a file name."""

import unicodedata

from ast_jax.files.names import MAX_BYTES, id_of_path, printable, safe_name


def test_letters_of_every_script_stay():
    for name in ("椅子", "ソファ", "стул", "कुर्सी", "كرسي", "a-b_c.d", "Ñandú"):
        assert id_of_path(name) == unicodedata.normalize("NFC", name)
    assert id_of_path("two, birds (1)") == "two_birds_1"
    assert id_of_path("../..") == id_of_path("  ") == "object"


def test_what_would_be_one_file_gets_ids_of_its_own():
    taken: set[str] = set()
    spellings = ["a b", "a,b", "A_B", "é", "e\u0301", "É", "straße", "STRASSE", "\udcff", "\udcfe", "?", "!"]
    found = [id_of_path(text, text + ".obj", taken=taken) for text in spellings]
    folded = {unicodedata.normalize("NFKC", name).casefold() for name in found}
    assert len(folded) == len(spellings) and found[0] == "a_b" and found[1] == "a_b.obj"
    assert all(name.encode() for name in found)  # no half of a character that UTF-8 cannot write
    # A number does not depend on what else there is.
    assert id_of_path("!", "!.obj", taken={"object", "obj"}) == id_of_path("!", "!.obj", taken={"object", "obj", "x"})


def test_long_names_are_cut_and_stay_unique():
    long = "鳥" * 100
    first, second = id_of_path(long + "a"), id_of_path(long + "b")
    assert first != second and first.startswith("鳥鳥") and len(first.encode()) <= MAX_BYTES


def test_ids_of_ascii_names_are_what_they_were():
    for name in ("chair-12", "red chairs__a", "a+b", "x.y.z", "__odd__"):
        assert id_of_path(name) == safe_name(name)


def test_bytes_that_are_no_utf8_can_be_printed():
    assert printable("a\udcffb").encode() == b"a\\udcffb"
