"""What a finished run has to show: metrics on held-out objects, and a report with their meshes."""

import json
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from ast_jax import export
from ast_jax.data.pipeline import DataSource, evaluation_batch
from ast_jax.datasets.sources import data_root
from ast_jax.evaluation.held_out import (
    constant_predictor,
    evaluate_mean_shape,
    evaluate_predictions,
    evenly_spaced_views,
)
from ast_jax.evaluation.protocols import PROTOCOLS, Protocol
from ast_jax.evaluation.results import Evaluation, summarize
from ast_jax.evaluation.retrieval import evaluate_retrieval
from ast_jax.evaluation.run import evaluate
from ast_jax.evaluation.tables import COLUMNS, format_table, headline
from ast_jax.files.writing import remove_leftovers, replacing, write_bytes, write_texts
from ast_jax.model import Model
from ast_jax.model.predictor import make_predictor
from ast_jax.prediction import Predict, Prediction
from ast_jax.training.checkpoint import find_run, load_model
from ast_jax.training.monitoring.metrics import read_metrics

UNSEEN_VIEWS = 4  # per object in the report, or as many as there are
_PICTURE_SIZE = (192, 192)


def write_summary(checkpoint: str | Path) -> list[Path]:
    """Evaluate a checkpoint and write everything a person would open into the folder of its run.

    Of many processes all have to call it; the first does the work.

    Args:
      checkpoint: folder of the run, for its newest, or of a checkpoint in it, or ``.../checkpoints/best``.

    Returns:
      the files: ``report.html``, ``turntable.gif``, ``metrics.json``, ``table.md`` and one ``.glb`` per object shown;
      none in the other processes.

    Raises:
      ValueError: there is no run or no checkpoint, or its data set is gone.
    """
    workdir, _ = find_run(checkpoint)
    model, config = load_model(checkpoint)  # together: Orbax waits for all processes
    if jax.process_index():
        return []
    rows = evaluate_run(model, config)
    metrics = {name: summarize(row) for name, row in rows.items()}
    # Methods by name, and which of them is this run's.
    numbers = json.dumps({"ours": method_name(config), **metrics}, indent=1) + "\n"
    written = write_texts(workdir, {"metrics.json": numbers, "table.md": format_table(rows) + "\n"})
    print(f"held-out objects, mean [95 % interval]\n{format_table(rows, headline(rows))}", flush=True)
    files = write_figures(workdir, model, config, rows) + written
    print("open these:", *files, sep="\n  ", flush=True)
    return files


def evaluate_run(model: Model, config: ConfigDict) -> dict[str, Evaluation]:
    """The run's metrics on its held-out split, under `method_name`, beside baselines that reconstruct nothing."""
    root = data_root(config.data)
    source = DataSource(root, config.evaluation.split, config.data)
    template_vertices, faces = model.template
    views, ours = config.evaluation.num_views, method_name(config)
    template = constant_predictor(template_vertices.astype(np.float32), faces)
    if source.truth(0).occupancy is None:
        return {ours: evaluate(_picture_protocol(source), make_predictor(model), source)}
    train = DataSource(root, "train", config.data)
    return {
        "template sphere": evaluate_predictions(template, source, num_views=views),
        "mean shape of the training objects": evaluate_mean_shape(train, source),
        **evaluate_retrieval(train, source, views),
        ours: evaluate_predictions(make_predictor(model), source, num_views=views),
    }


def method_name(config: ConfigDict) -> str:
    """What a run is called in its tables."""
    if config.evaluation.method:
        return config.evaluation.method
    kind = config.model.shape.kind
    kind = {"transformer": "Shape Transformer", "mlp": "MLP on the global feature"}.get(kind, kind)
    return kind + {"none": "", "fit": " + fit", "learned": " + learned steps"}[config.model.shape.synthesis]


def _picture_protocol(source: DataSource) -> Protocol:
    """What can be measured of photographs without 3D truth: silhouettes, and key points where there are any."""
    return PROTOCOLS["cub_cmr" if source.camera_kind != "unknown" else "cub_ast"]


def write_figures(workdir: Path, model: Model, config: ConfigDict, rows: dict[str, Evaluation]) -> list[Path]:
    """The report, one GLB per object shown, and a turntable of the first."""
    source = DataSource(data_root(config.data), config.evaluation.split, config.data)
    predict, ours = make_predictor(model), method_name(config)
    gallery, files = [], []
    (workdir / "figures").mkdir(exist_ok=True)
    remove_leftovers(workdir / "figures", below=False)
    for index in _spread(len(source.ids), config.evaluation.num_report_objects):
        row, answer = _object_row(source, index, predict, rows[ours])
        gallery.append(row)
        files.append(workdir / "figures" / f"{source.ids[index]}.glb")
        write_bytes(files[-1], row.glb)
        if len(files) == 1:
            gif = workdir / "figures" / "turntable.gif"
            export.write_gif(gif, export.render_turntable(answer.vertices[0], answer.faces, answer.texture))
    overview = workdir / "figures" / "overview.png"
    with replacing(overview) as partial:
        Image.fromarray(np.concatenate([_strip(row) for row in gallery])).save(partial, format="PNG")
    report = workdir / "report.html"
    export.write_report(report, f"Single-view reconstruction: {workdir.name}", *_sections(workdir, rows, ours, gallery))
    return [report, overview, gif, *files]


def _object_row(
    source: DataSource, index: int, predict: Predict, ours: Evaluation
) -> tuple[export.ObjectRow, Prediction]:
    """One object of the gallery: the first view is the input, views spread around the object are compared."""
    truth = source.truth(index)
    views = evenly_spaced_views(len(truth.images), min(UNSEEN_VIEWS + 1, len(truth.images)))
    # A photograph has no other view: it is compared with itself.
    compared = views[1:] or views
    batch = evaluation_batch(source, index, views)
    answer = predict(batch.image[:1])
    mesh = answer.vertices[0], answer.faces
    cameras = jax.tree.map(lambda x: x[-len(compared) :, 0], batch.camera)
    cameras = answer.found_camera if views == compared and answer.found_camera is not None else cameras
    background = tuple(source.config["background"])
    drawn = export.draw_views(
        *mesh, cameras, texture=answer.lit_texture, image_size=_PICTURE_SIZE, background=background
    )
    pairs = [
        (f"view {view}", picture, _to_bytes(target))
        for view, picture, target in zip(compared, drawn, batch.target_images[-len(compared) :, 0])
    ]
    row = export.ObjectRow(
        name=source.ids[index],
        picture=_to_bytes(batch.image[0, ..., :3]),
        glb=export.encode_glb(*mesh, texture=answer.texture),
        views=pairs,
        metrics={
            COLUMNS[name][0]: float(ours.metrics[name][index])
            for name in headline({"": ours})
            if _per_object(ours, name)
        },
    )
    return row, answer


def _per_object(evaluation: Evaluation, name: str) -> bool:
    """Whether a metric has one value for each object, and not for pairs or key points."""
    return evaluation.metrics[name].shape == (len(evaluation.object_ids),) and name not in evaluation.units


def _strip(row: export.ObjectRow) -> np.ndarray:
    """One object as a strip of pictures: the input, then the views that the model did not see, ours and the truth."""
    pictures = [row.picture, *(picture for _, ours, truth in row.views for picture in (ours, truth))]
    height, width = _PICTURE_SIZE
    return np.concatenate([np.asarray(Image.fromarray(p).resize((width, height))) for p in pictures], axis=1)


def _sections(workdir: Path, rows: dict[str, Evaluation], ours: str, gallery: list) -> list:
    names = [name for name in COLUMNS if any(name in row.metrics for row in rows.values())]
    summaries = {method: summarize(row) for method, row in rows.items()}
    count = len(rows[ours].object_ids)
    first = [(name, summaries[ours][name]) for name in headline({ours: rows[ours]})]
    cards = [(COLUMNS[name][0], round(s["mean"], COLUMNS[name][1]), _small_print(name, s, count)) for name, s in first]
    lines = [
        [method, *(round(s[n]["mean"], COLUMNS[n][1]) if n in s else None for n in names)]
        for method, s in summaries.items()
    ]
    shown = f"{min(len(gallery), count)} of {count}. Left: the one picture that the model saw."
    return [
        export.Headline(cards),
        export.Gallery("Held-out objects", gallery, note=shown),
        export.Table("Against the baselines", ["method", *(COLUMNS[name][0] for name in names)], lines),
        export.Curves("Training", _curves(read_metrics(workdir))),
    ]


def _small_print(name: str, summary: dict[str, float], count: int) -> str:
    """How sure a mean is, or of how many objects it is."""
    digits = COLUMNS[name][1]
    return f"[{summary['low']:.{digits}f}, {summary['high']:.{digits}f}]" if "low" in summary else f"{count} objects"


def _curves(lines: list[dict]) -> dict:
    """Every loss term as a chart of its own."""
    names = sorted({name for line in lines for name in line if name.startswith("loss")})
    charts = {}
    for name in names:
        points = [(line["step"], line[name]) for line in lines if isinstance(line.get(name), float)]
        charts[name] = {name: tuple(zip(*points))} if points else {}
    return charts


def _spread(count: int, wanted: int) -> list[int]:
    """``wanted`` of ``count`` indices, evenly spread."""
    return sorted({i * count // min(wanted, count) for i in range(min(wanted, count))})


def _to_bytes(image) -> np.ndarray:
    return np.round(np.clip(np.asarray(image), 0, 1) * 255).astype(np.uint8)
