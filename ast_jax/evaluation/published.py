"""Numbers of the literature, each with the place where it was read. What was not read is not here."""

from dataclasses import dataclass

BIRD, CAR = "bird", "car"


@dataclass(frozen=True)
class PublishedRow:
    """One row of somebody else's table.

    Args:
      method: its name, with what sets the row apart.
      values: name of ``tables.COLUMNS`` -> value, in our units.
      source: where it was read.
      category: of the data set it was measured on, as `ast_jax.data` names it; empty: a mean over all classes.
    """

    method: str
    values: dict[str, float]
    source: str
    category: str = ""


def rows_for(rows: tuple[PublishedRow, ...], category: str) -> tuple[PublishedRow, ...]:
    """The rows that may stand beside results on a category: its own, and the means over all classes.

    Args:
      rows: of a protocol.
      category: of the data set; empty: the means alone.
    """
    return tuple(row for row in rows if row.category in ("", category))


# Per class as in the README's table; Chamfer-L1 is printed times ten there, ours is not.
_UNICORN_CLASSES = (
    ("airplane", 0.0110),
    ("bench", 0.0159),
    ("cabinet", 0.0137),
    ("car", 0.0168),
    ("chair", 0.0253),
    ("display", 0.0220),
    ("lamp", 0.0523),
    ("telephone", 0.0127),
    ("rifle", 0.0097),
    ("sofa", 0.0192),
    ("loudspeaker", 0.0224),
    ("table", 0.0243),
    ("watercraft", 0.0155),
)
_UNICORN_README = "README of monniert/unicorn"
UNICORN_SHAPENET = (
    *(
        PublishedRow(f"Unicorn (no masks), {name}", {"chamfer_l1_icp": value}, _UNICORN_README, name)
        for name, value in _UNICORN_CLASSES
    ),
    PublishedRow("Unicorn (no masks), mean of 13 classes", {"chamfer_l1_icp": 0.0201}, _UNICORN_README),
)
NMR_SHAPENET = (
    PublishedRow("NMR, released code, mean of 13 classes", {"iou_nmr": 0.5988}, "README of mesh_reconstruction"),
    PublishedRow("NMR, paper, mean of 13 classes", {"iou_nmr": 0.6031}, "README of mesh_reconstruction"),
    PublishedRow("SoftRas, released code, mean of 13 classes", {"iou_nmr": 0.6184}, "SoftRas, issue 75"),
    PublishedRow("SoftRas with colour, own pictures, mean of 13 classes", {"iou_nmr": 0.6464}, "SoftRas, issue 75"),
)
# FID at 128 px.
_BOOTSTRAPPED = "Pavllo et al., Bootstrapped Radiance Field Inversion, CVPR 2023, table 1"


def _mask_row(method: str, category: str, iou: float, fid: float | None = None) -> PublishedRow:
    values = {"mask_iou_soft": iou} | ({} if fid is None else {"fid": fid})
    return PublishedRow(method, values, _BOOTSTRAPPED, category)


CUB_MASKS = (
    _mask_row("CMR", BIRD, 0.706, 105.04),
    _mask_row("U-CMR", BIRD, 0.644, 69.42),
    _mask_row("UMR", BIRD, 0.734, 43.83),
    _mask_row("ViewGeneralization", BIRD, 0.629),
    _mask_row("MeshInv", BIRD, 0.752, 31.60),
    _mask_row("Pavllo et al., slow inversion", BIRD, 0.844, 24.70),
    _mask_row("CMR", CAR, 0.64, 273.28),
    _mask_row("U-CMR", CAR, 0.646, 223.12),
    _mask_row("SDF-SRN", CAR, 0.81, 254.90),
    _mask_row("ViewGeneralization", CAR, 0.78),
    _mask_row("StyleGANRender", CAR, 0.80),
)
CUB_CMR = (
    PublishedRow(
        "CMR, predicted camera, val",
        {"mask_iou_soft": 0.706, "pck_10": 0.815, "pck_15": 0.931},
        "akanazawa/cmr, issue 24",
        BIRD,
    ),
    PublishedRow(
        "CMR, camera from motion, val",
        {"mask_iou_soft": 0.741, "pck_10": 0.923, "pck_15": 0.983},
        "akanazawa/cmr, issue 24",
        BIRD,
    ),
)
