"""Numbers of the literature, each with the place where it was read. What was not read is not here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedRow:
    """One row of somebody else's table.

    Args:
      method: its name, with what sets the row apart.
      values: name of ``summary.COLUMNS`` -> value, in our units.
      source: where it was read.
    """

    method: str
    values: dict[str, float]
    source: str


# Chamfer-L1 is printed times ten there; ours is not.
UNICORN_SHAPENET = (
    PublishedRow("Unicorn (no masks), mean of 13 classes", {"chamfer_l1_icp": 0.0201}, "README of monniert/unicorn"),
)
NMR_SHAPENET = (
    PublishedRow("NMR, released code, mean of 13 classes", {"iou_nmr": 0.5988}, "README of mesh_reconstruction"),
    PublishedRow("NMR, paper, mean of 13 classes", {"iou_nmr": 0.6031}, "README of mesh_reconstruction"),
    PublishedRow("SoftRas, released code, mean of 13 classes", {"iou_nmr": 0.6184}, "SoftRas, issue 75"),
    PublishedRow("SoftRas with colour, own pictures, mean of 13 classes", {"iou_nmr": 0.6464}, "SoftRas, issue 75"),
)
_BOOTSTRAPPED = "Pavllo et al., Bootstrapped Radiance Field Inversion, CVPR 2023, table 1"
CUB_MASKS = (
    PublishedRow("CMR", {"mask_iou_soft": 0.706}, _BOOTSTRAPPED),
    PublishedRow("U-CMR", {"mask_iou_soft": 0.644}, _BOOTSTRAPPED),
    PublishedRow("UMR", {"mask_iou_soft": 0.734}, _BOOTSTRAPPED),
    PublishedRow("MeshInv", {"mask_iou_soft": 0.752}, _BOOTSTRAPPED),
)
CUB_CMR = (
    PublishedRow(
        "CMR, predicted camera, val",
        {"mask_iou_soft": 0.706, "pck_10": 0.815, "pck_15": 0.931},
        "akanazawa/cmr, issue 24",
    ),
    PublishedRow(
        "CMR, camera from motion, val",
        {"mask_iou_soft": 0.741, "pck_10": 0.923, "pck_15": 0.983},
        "akanazawa/cmr, issue 24",
    ),
)
