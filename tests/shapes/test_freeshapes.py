"""Tiny package trees, made here, in place of the real ones."""

import io
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from ast_jax.shapes.freeshapes import Options, list_objects
from ast_jax.shapes.normalise import normalise
from ast_jax.shapes.packages import open_package, unpack_archive

AIRCRAFT = "usr/share/games/flightgear/AI/Aircraft"
CARS = "usr/share/games/flightgear/Scenery/Models/Transport"
FURNITURE = "usr/share/sweethome3d/furniture"
# Nose at x = -2; the disc of the propeller is far ahead of it.
AC = """AC3Db
MATERIAL "m" rgb 0.5 0.5 0.5  amb 1 1 1  emis 0 0 0  spec 0 0 0  shi 0  trans 0
OBJECT world
kids 2
OBJECT poly
name "hull"
texture "FOO-tex.png"
numvert 4
{front} 0 0
2 0 1
2 0 -1
2 1 0
numsurf 2
SURF 0x20
mat 0
refs 3
0 0 0
1 1 0
2 1 1
SURF 0x20
mat 0
refs 3
0 0 0
1 1 0
3 1 1
kids 0
OBJECT poly
name "PropDisc"
numvert 3
-9 -1 0
-9 1 0
-9 0 1
numsurf 1
SURF 0x20
mat 0
refs 3
0 0 0
1 1 0
2 1 1
kids 0
"""
MAIN_XML = "<PropertyList><author>A. Smith</author><path>Models/FOO.ac</path></PropertyList>"
LIVERY_XML = '<PropertyList include="FOO-main.xml"><texture-path>Textures/{0}</texture-path></PropertyList>'
CATALOGUE = """id=Test#Models
license=Creative  Commons
id#1=Test#chair
name#1=Kitchen chair
category#1=Kitchen
model#1=/test/chair/chair.obj
width#1=40
depth#1=50
height#1=100
modelRotation#1=0 0 -1 0 1 0 1 0 0
creator#1=B. Jones
id#2=Test#lamp
name#2=Table lamp
category#2=Lights
model#2=/test/lamp/lamp.obj
width#2=1
depth#2=1
height#2=1
"""
CHAIR_OBJ = "mtllib chair.mtl\nusemtl grey\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\n"


def write(path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.fixture
def aircraft(tmp_path):
    folder = tmp_path / "tree" / AIRCRAFT / "FOO"
    write(folder / "Models/FOO.ac", AC.format(front=-2))
    write(folder / "Models/lights/WhiteLight.ac", AC.format(front=-2))
    write(folder / "FOO-main.xml", MAIN_XML)
    for k, name in enumerate(("Blue", "Default", "Green", "Red")):
        write(folder / f"FOO-{name}.xml", LIVERY_XML.format(name))
        (folder / "Textures" / name).mkdir(parents=True)
        Image.new("RGB", (2, 2), (40 * k, 0, 0)).save(folder / "Textures" / name / "FOO-tex.png")
    write(folder / "broken.xml", "<PropertyList>")
    return tmp_path / "tree"


def catalogue(extra: str | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("PluginFurnitureCatalog.properties", CATALOGUE)
        file.writestr("test/chair/chair.obj", CHAIR_OBJ)
        file.writestr("test/chair/chair.mtl", "newmtl grey\nKd 0.8 0.8 0.8\n")
        if extra:
            file.writestr(extra, "x")
    return buffer.getvalue()


def deb(members: dict[str, bytes]) -> bytes:
    """A .deb with an empty control archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    result = b"!<arch>\n"
    for name, content in (
        ("debian-binary", b"2.0"),
        ("control.tar.xz", b""),
        ("data.tar.xz", buffer.getvalue()),
    ):
        result += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        result += content + b"\n" * (len(content) % 2)
    return result


def test_each_airframe_in_its_default_paint_and_some_liveries(aircraft):
    items = list_objects("aircraft", aircraft, options=Options(liveries=2))
    assert len(items) == 3 and items[0].object_id == "FOO_FOO-Default"
    assert [i.object_id for i in items] == [
        i.object_id for i in list_objects("aircraft", aircraft, options=Options(liveries=2))
    ]
    names = {i.object_id for i in list_objects("aircraft", aircraft, options=Options(liveries=9))}
    assert names == {f"FOO_FOO-{paint}" for paint in ("Default", "Blue", "Green", "Red")}
    meshes = [item.load() for item in items]
    assert meshes[0].materials[0].image[0, 0, 0] == 40 and len({m.group for m in meshes}) == 1
    note = meshes[0].provenance
    assert note["path"] == f"{AIRCRAFT}/FOO/Models/FOO.ac" and note["author"] == "A. Smith"
    assert note["licence"] == "GPL-2.0-or-later" and note["livery"] == "Default"


def test_nose_turns_to_the_front_and_the_propeller_disc_is_gone(aircraft):
    mesh = normalise(list_objects("aircraft", aircraft)[0].load())
    assert len(mesh.faces) == 2
    nose = mesh.vertices[mesh.vertices[:, 2].argmax()]
    np.testing.assert_allclose(nose[0], 0, atol=1e-12)
    assert np.ptp(mesh.vertices[:, 2]) > np.ptp(mesh.vertices[:, 0]) > 0


@pytest.mark.parametrize(("name", "sign"), [("camarored", -1), ("vwgolfsilver", 1)])
def test_cars_lie_along_z_with_the_front_ahead(tmp_path, name, sign):
    """The pointed end of the model is the front; two models of the package look the other way."""
    front = 2 * sign
    text = AC.format(front=-2)
    for old, new in (
        ("-2 0 0\n", f"0 0 {front}\n"),
        ("2 0 1\n", f"1 0 {-front}\n"),
        ("2 0 -1\n", f"-1 0 {-front}\n"),
        ("2 1 0\n", f"0 1 {-front}\n"),
    ):
        text = text.replace(old, new, 1)
    write(tmp_path / CARS / f"{name}.ac", text)
    write(tmp_path / FURNITURE / "empty.sh3f", catalogue())
    write(tmp_path / "usr/share/games/torcs/cars/readme", "")
    (item,) = list_objects("car", tmp_path)
    mesh = normalise(item.load())
    tip = mesh.vertices[np.abs(mesh.vertices[:, 0]) + np.abs(mesh.vertices[:, 1] - mesh.vertices[:, 1].min()) < 1e-9]
    assert (tip[:, 2] > 0.3).all() and len(tip) == 1


def test_furniture_has_the_size_of_the_catalogue_and_a_hue(tmp_path):
    write(tmp_path / FURNITURE / "Test.sh3f", catalogue())
    (item,) = list_objects("chair", tmp_path)
    mesh = item.load()
    assert item.object_id == mesh.object_id == "Test-chair"
    np.testing.assert_allclose(np.ptp(mesh.vertices, axis=0), [40, 100, 50])
    # The catalogue's rotation carries +x to +z: the second vertex.
    assert mesh.vertices[1, 2] == mesh.vertices[:, 2].max()
    assert np.ptp(mesh.materials[0].colour) > 0.1
    (plain,) = list_objects("chair", tmp_path, options=Options(colour_grey=False))
    np.testing.assert_allclose(plain.load().materials[0].colour, 0.8, atol=0.01)
    note = mesh.provenance
    assert note["author"] == "B. Jones" and note["licence"] == "Creative Commons" and note["name"] == "Kitchen chair"
    assert list_objects("sofa", tmp_path) == []


def test_deb_is_unpacked_once_with_its_provenance(tmp_path):
    archive = tmp_path / "sweethome3d-furniture_1%3a1.8-1_all.deb"
    archive.write_bytes(deb({f"./{FURNITURE}/Test.sh3f": catalogue(), "./usr/share/doc/readme": b"no"}))
    for source in (archive, tmp_path):
        tree = open_package("sweethome3d-furniture", source, prefixes=(FURNITURE,), cache=tmp_path / "cache")
        assert tree.version == "1:1.8-1" and len(tree.sha256) == 64
        assert (tree.root / FURNITURE / "Test.sh3f").is_file() and not (tree.root / "usr/share/doc").exists()
    (item,) = list_objects("chair", archive, cache=tmp_path / "cache")
    assert item.load().provenance["version"] == "1:1.8-1"
    again = open_package("sweethome3d-furniture", archive, prefixes=("usr/",), cache=tmp_path / "cache")
    assert (again.root / "usr/share/doc/readme").is_file()


@pytest.mark.parametrize("name", ["../evil", "/evil", "usr/../../evil", "..\\evil"])
def test_archives_that_climb_out_are_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(zipfile.ZipInfo(name), "x")
    (tmp_path / "a.deb").write_bytes(deb({name: b"x"}))
    for archive in ("a.zip", "a.deb"):
        with pytest.raises(ValueError, match=f"{archive}.*refused"):
            unpack_archive(tmp_path / archive, tmp_path / "inner/target")
    assert not list(tmp_path.rglob("evil"))
    write(tmp_path / "tree" / FURNITURE / "Test.sh3f", catalogue("test/chair/../../../evil"))
    with pytest.raises(ValueError, match=r"Test.sh3f: refused"):
        list_objects("chair", tmp_path / "tree")[0].load()


def test_what_cannot_be_had_is_said(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="holds neither usr/"):
        list_objects("chair", tmp_path)
    with pytest.raises(ValueError, match="no such file or folder"):
        list_objects("chair", tmp_path / "nowhere")
    junk = tmp_path / "sweethome3d-furniture_1_all.deb"
    junk.write_bytes(b"junk")
    with pytest.raises(ValueError, match="_all.deb: neither"):
        list_objects("chair", junk, cache=tmp_path)
    with pytest.raises(ValueError, match="flightgear-data-ai is needed"):
        list_objects("aircraft", junk)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="--source"):
        list_objects("chair", cache=tmp_path / "cache")
    with pytest.raises(ValueError, match="choose one of aircraft"):
        list_objects("spoon", tmp_path)


def test_command_line_ends_with_one_line_and_an_exit_code(tmp_path):
    command = [sys.executable, "-m", "launch.prepare_data", "--dataset=meshes", f"--root={tmp_path}/out"]
    result = subprocess.run([*command, f"--source={tmp_path}/nowhere"], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1] == f"prepare_data: {tmp_path}/nowhere: no such folder."
    assert "Traceback" not in result.stderr
