"""COLLADA files written by hand; what they should give is said by the specification of COLLADA 1.4.1."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ast_jax.shapes.meshes import load_mesh

SQUARE = "0 0 0 1 0 0 1 1 0 0 1 0 2 0 0"
COLOUR = "<diffuse><color>1 0 0 1</color></diffuse>"
TEXTURE = '<diffuse><texture texture="s" texcoord="CH1"/></diffuse>'
SAMPLER = (
    '<newparam sid="f"><surface type="2D"><init_from>i</init_from></surface></newparam>'
    '<newparam sid="s"><sampler2D><source>f</source><wrap_s>CLAMP</wrap_s><wrap_t>MIRROR</wrap_t></sampler2D>'
    "</newparam>"
)


def source(name: str, numbers: str, stride: int) -> str:
    count = len(numbers.split()) // stride
    return (
        f'<source id="{name}"><float_array id="{name}a" count="{count * stride}">{numbers}</float_array>'
        f'<technique_common><accessor source="#{name}a" count="{count}" stride="{stride}"/></technique_common></source>'
    )


def write(
    folder: Path,
    primitive: str,
    *,
    node: str = "",
    asset: str = "",
    shader: str = COLOUR,
    sources: str = "",
    points: str = SQUARE,
    scene: str | None = None,
    bind: str = "",
) -> Path:
    """One geometry g with the positions p; a scene with one node, unless another is given."""
    instance = (
        '<instance_geometry url="#g"><bind_material><technique_common><instance_material symbol="M" target="#m">'
        f"{bind}</instance_material></technique_common></bind_material></instance_geometry>"
    )
    scene = f"<node>{node}{instance}</node>" if scene is None else scene.replace("INSTANCE", instance)
    text = f"""<?xml version="1.0"?>
<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1"><asset>{asset}</asset>
<library_images><image id="i"><init_from>file:///C:/art/my%20red.png</init_from></image></library_images>
<library_effects><effect id="e"><profile_COMMON>{SAMPLER}<technique sid="c"><phong>{shader}</phong></technique>
</profile_COMMON></effect></library_effects>
<library_materials><material id="m"><instance_effect url="#e"/></material></library_materials>
<library_geometries><geometry id="g"><mesh>{source("p", points, 3)}{sources}
<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>{primitive}</mesh></geometry></library_geometries>
<library_visual_scenes><visual_scene id="S">{scene}</visual_scene></library_visual_scenes>
<scene><instance_visual_scene url="#S"/></scene></COLLADA>"""
    path = folder / "thing.dae"
    path.write_text(text)
    return path


def faces(kind: str, lists: str, inputs: str = "") -> str:
    return f'<{kind} material="M"><input semantic="VERTEX" source="#v" offset="0"/>{inputs}{lists}</{kind}>'


QUAD = faces("polylist", "<vcount>4</vcount><p>0 1 2 3</p>")


@pytest.mark.parametrize(
    ("primitive", "expected"),
    [
        (faces("triangles", "<p>0 1 2 0 2 3</p>"), [(0, 1, 2), (0, 2, 3)]),
        (faces("polylist", "<vcount>4 3</vcount><p>0 1 2 3 1 4 2</p>"), [(0, 1, 2), (0, 2, 3), (1, 4, 2)]),
        (faces("polygons", "<p>0 1 2 3</p><p>1 4 2</p>"), [(0, 1, 2), (0, 2, 3), (1, 4, 2)]),
        (faces("tristrips", "<p>0 1 3 2</p><p>1 4 2</p>"), [(0, 1, 3), (3, 1, 2), (1, 4, 2)]),
        (faces("trifans", "<p>0 1 2 3</p>"), [(0, 1, 2), (0, 2, 3)]),
    ],
)
def test_primitives(tmp_path, primitive, expected):
    mesh = load_mesh(write(tmp_path, primitive))
    np.testing.assert_array_equal(mesh.faces, expected)
    assert mesh.materials[0].colour == (1, 0, 0) and not mesh.notices


def area(mesh) -> float:
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=-1).sum() / 2


def test_concave_polygons_and_holes(tmp_path):
    shape = "2 0 0 2 1 0 1 1 0 1 2 0 0 2 0 0 0 0"
    mesh = load_mesh(write(tmp_path, faces("polylist", "<vcount>6</vcount><p>0 1 2 3 4 5</p>"), points=shape))
    assert np.isclose(area(mesh), 3)
    ring = "0 0 0 4 0 0 4 4 0 0 4 0 1 1 0 2 1 0 2 2 0 1 2 0"
    mesh = load_mesh(write(tmp_path, faces("polygons", "<ph><p>0 1 2 3</p><h>4 5 6 7</h></ph>"), points=ring))
    assert np.isclose(area(mesh), 15)


@pytest.mark.parametrize(
    ("axis", "expected"), [("X_UP", (-2, 1, 3)), ("Y_UP", (1, 2, 3)), ("Z_UP", (1, 3, -2)), (None, (1, 2, 3))]
)
def test_up_axis_and_unit(tmp_path, axis, expected):
    asset = (f"<up_axis>{axis}</up_axis>" if axis else "") + '<unit name="cm" meter="0.01"/>'
    path = write(tmp_path, faces("triangles", "<p>0 1 2</p>"), asset=asset, points="100 200 300 0 0 0 100 0 0")
    np.testing.assert_allclose(load_mesh(path).vertices[0], expected, atol=1e-12)


def test_nodes_and_their_instances(tmp_path):
    # Steps apply from the last to the first: (1, 0, 0) is doubled, turned to y, moved.
    steps = "<translate>10 0 0</translate><rotate>0 0 1 90</rotate><scale>2 2 2</scale>"
    mesh = load_mesh(write(tmp_path, QUAD, node=steps))
    np.testing.assert_allclose(mesh.vertices[1], (10, 2, 0), atol=1e-12)
    inner = "<node><matrix>1 0 0 0 0 1 0 0 0 0 1 5 0 0 0 1</matrix>INSTANCE</node>"
    scene = f"<node>{steps}{inner}</node><node>INSTANCE</node>"
    mesh = load_mesh(write(tmp_path, QUAD, scene=scene))
    assert len(mesh.faces) == 4
    np.testing.assert_allclose(mesh.vertices[0], (10, 0, 10), atol=1e-12)
    shared = '<node id="n">INSTANCE</node><node><translate>0 0 7</translate><instance_node url="#n"/></node>'
    assert load_mesh(write(tmp_path, QUAD, scene=shared)).vertices[:, 2].max() == 7
    mirrored = load_mesh(write(tmp_path, QUAD, node="<scale>-1 1 1</scale>"))
    a, b, c = mirrored.vertices[mirrored.faces[0]]
    assert np.cross(b - a, c - a)[2] > 0  # still wound as seen from +z
    with pytest.raises(ValueError, match="thing.dae: .*nodes"):
        load_mesh(write(tmp_path, QUAD, scene='<node id="n"><instance_node url="#n"/>INSTANCE</node>'))


def test_textures_with_their_own_coordinates_and_wrap(tmp_path):
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "my red.png")
    inputs = "".join(f'<input semantic="TEXCOORD" source="#{s}" offset="1" set="{k}"/>' for k, s in enumerate("tw"))
    primitive = faces("triangles", "<p>0 0 1 1 2 2</p>", inputs)
    sources = source("t", "0 0 1 0 1 1", 2) + source("w", "0 0 0 0.25 0 0.25 0.5 0", 4)
    bind = '<bind_vertex_input semantic="CH1" input_semantic="TEXCOORD" input_set="{}"/>'
    for set_, expected in (("0", (1, 0)), ("1", (0, 0.25))):
        path = write(tmp_path, primitive, shader=TEXTURE, sources=sources, bind=bind.format(set_))
        if set_ == "1":
            path.write_text(path.read_text().replace('count="2" stride="4"', 'count="4" stride="2"'))
        mesh = load_mesh(path)
        np.testing.assert_array_equal(mesh.corner_uv[0, 1], expected)
        assert mesh.materials[0].wrap == ("clamp", "mirror") and mesh.materials[0].image.shape[-1] == 3
    (tmp_path / "my red.png").unlink()
    assert "my red.png" in load_mesh(path).notices[0]


def test_colours_of_vertices(tmp_path):
    inputs = '<input semantic="COLOR" source="#c" offset="1"/>'
    path = write(tmp_path, faces("triangles", "<p>0 0 1 1 2 0</p>", inputs), sources=source("c", "0 1 0 0 0 1", 3))
    mesh = load_mesh(path)
    np.testing.assert_array_equal(mesh.corner_colours[0], [(0, 1, 0), (0, 0, 1), (0, 1, 0)])
    assert mesh.materials[0].colour == (1, 1, 1)


@pytest.mark.parametrize(
    ("shader", "opacity"),
    [
        ("<transparency><float>0.25</float></transparency>", 0.25),
        ('<transparent opaque="RGB_ZERO"><color>0.75 0.75 0.75 1</color></transparent>', 0.25),
        ('<transparent opaque="A_ONE"><color>0 0 0 0.25</color></transparent>', 0.25),
        ("<transparency><float>0</float></transparency>", 1.0),
    ],
)
def test_transparency(tmp_path, shader, opacity):
    mesh = load_mesh(write(tmp_path, QUAD, shader=COLOUR + shader))
    np.testing.assert_allclose(mesh.materials[0].opacity, opacity, atol=1e-5)


def test_emitted_light_is_told(tmp_path):
    for light, told in (("0 0 0 1", False), ("0 0.5 0 1", True)):
        shader = COLOUR + f"<emission><color>{light}</color></emission>"
        assert [("emits" in n) for n in load_mesh(write(tmp_path, QUAD, shader=shader)).notices] == [True] * told


@pytest.mark.parametrize("diffuse", ["<color>1 0</color>", "<color/>", '<param ref="c"/>'])
def test_a_colour_that_cannot_be_read_is_told(tmp_path, diffuse):
    mesh = load_mesh(write(tmp_path, QUAD, shader=f"<diffuse>{diffuse}</diffuse>"))
    assert mesh.notices == ("material 'm': its colour cannot be read: grey",)


def test_what_is_left_out_is_told(tmp_path):
    camera = "<node><lookat>0 0 9 0 0 0 0 1 0</lookat><instance_camera url='#c'/></node>"
    mesh = load_mesh(write(tmp_path, QUAD + faces("lines", "<p>0 1</p>"), node=camera))
    assert [line.split(" are")[0] for line in mesh.notices] == ["1 primitives of the kind lines"]


@pytest.mark.parametrize(
    ("primitive", "told"),
    [
        (faces("triangles", "<p>0 1 2</p>").replace(" material", ' count="1" material'), False),
        (faces("triangles", "<p>0 1 2</p>").replace(" material", ' count="2" material'), True),
        (faces("triangles", "<p>0 1 2 0</p>"), True),
        (faces("polylist", "<vcount>4</vcount><p>0 1 2 3</p>").replace(" material", ' count="2" material'), True),
        (faces("polylist", "<vcount>4</vcount><p>0 1 2 3 1 4 2</p>"), True),
    ],
)
def test_faces_that_are_declared_and_missing_are_told(tmp_path, primitive, told):
    mesh = load_mesh(write(tmp_path, primitive))
    assert len(mesh.notices) == told and all("lack corners or have" in line for line in mesh.notices)


@pytest.mark.parametrize("node", ["<skew>0 1 0 0 0 1 0</skew>", "<lookat>0 0 9 0 0 0 0 1 0</lookat>"])
def test_a_mesh_below_a_transform_that_is_not_read_is_refused(tmp_path, node):
    with pytest.raises(ValueError, match="thing.dae: .*lookat or a skew"):
        load_mesh(write(tmp_path, QUAD, node=node))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_is_refused_in_every_encoding(tmp_path, encoding):
    entities = '<!ENTITY a "aa"><!ENTITY b "' + "&a;" * 1000 + '">'
    path = write(tmp_path, QUAD)
    text = (
        path.read_text().replace("<COLLADA", f"<!DOCTYPE COLLADA [{entities}]><COLLADA", 1).replace("utf-8", encoding)
    )
    path.write_text(text, encoding)
    with pytest.raises(ValueError, match="thing.dae: .*document type"):
        load_mesh(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("</COLLADA>", ""),
        ("COLLADA", "html"),
        ("<?xml version", '<!DOCTYPE x [<!ENTITY a "aa">]><?xml version'),
        ("<p>0 1 2 3</p>", "<p>0 1 2 9</p>"),
        ("<p>0 1 2 3</p>", "<p>0 1 x 3</p>"),
        ("<vcount>4</vcount>", "<vcount>4000000000</vcount>"),
        ('source="#v" offset="0"', 'source="#v" offset="1000000000"'),
        ('stride="3"', 'stride="1"'),
        ('url="#g"', 'url="#h"'),
        ('semantic="POSITION"', 'semantic="NORMAL"'),
        ("0 0 0 1 0 0", "nan 0 0 1 0 0"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new):
    path = write(tmp_path, QUAD)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match="thing.dae: "):
        load_mesh(path)
