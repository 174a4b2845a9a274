"""Evaluation in chunks of objects: any number of processes share them, and what is done is not done again."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from absl import logging
from tqdm import tqdm

from ast_jax.data.pipeline import DataSource, evaluation_batch
from ast_jax.data.store import ObjectRecord
from ast_jax.evaluation.protocols.base import Item, Protocol
from ast_jax.evaluation.results import Evaluation
from ast_jax.files.writing import remove_leftovers, replacing, write_text
from ast_jax.prediction import Predict, Prediction

CHUNK = 16  # objects


@dataclass(frozen=True)
class Share:
    """Which chunks are ours: those whose number is ``index`` modulo ``count``."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Share":
        """From ``i/n``; empty: of this process among those of jax.

        Raises:
          ValueError: something else.
        """
        if not text:
            return cls(jax.process_index(), jax.process_count())
        index, _, count = text.partition("/")
        if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
            raise ValueError(f"--shard={text}: expected i/n with 0 <= i < n, such as 0/4.")
        return cls(int(index), int(count))


WHOLE = Share()


def evaluate(
    protocol: Protocol,
    predict: Predict,
    source: DataSource,
    folder: str | Path | None = None,
    *,
    stamp: dict | None = None,
    seed: int = 0,
    share: Share = WHOLE,
    progress: bool = False,
) -> Evaluation | None:
    """All metrics of a protocol on one split.

    Args:
      protocol: what to measure.
      predict: the method.
      source: the split.
      folder: of the results; chunks that are there already, with the same stamp, are kept. None: keep nothing.
      stamp: what the results depend on (checkpoint, step, ...), for JSON.
      seed: of views and of sampled points; the same seed gives the same numbers, for any number of processes.
      share: of this process.
      progress: show a bar.

    Returns:
      The evaluation; None while chunks of other processes are missing.

    Raises:
      ValueError: the data lacks what the protocol needs, or a prediction is not finite.
    """
    stored = _Chunks(folder, {**(stamp or {}), "seed": seed, "objects": len(source.ids)})
    starts = range(0, len(source.ids), CHUNK)
    ours = [start for number, start in enumerate(starts) if number % share.count == share.index]
    for start in tqdm(ours, unit="chunk", disable=not progress):
        if stored.get(start) is None:
            indices = range(start, min(start + CHUNK, len(source.ids)))
            rows = _measure(protocol, predict, source, indices, seed)
            stored.put(start, {name: np.stack([row[name] for row in rows]) for name in rows[0]})
    chunks = [stored.get(start) for start in starts]
    if any(chunk is None for chunk in chunks):
        return None
    measured = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return protocol.conclude(tuple(source.ids), measured)


def _measure(protocol: Protocol, predict: Predict, source: DataSource, indices: range, seed: int) -> list[dict]:
    """Predict all views of a chunk at once, then measure its objects, one per thread."""
    rngs = [np.random.default_rng([seed, index]) for index in indices]
    counts = [int(np.diff(source.first_sample[index : index + 2])[0]) for index in indices]
    views = [protocol.choose_views(count, rng) for count, rng in zip(counts, rngs)]
    images = [np.asarray(evaluation_batch(source, i, chosen).image) for i, chosen in zip(indices, views)]
    answers = _in_batches(predict, np.concatenate(images), CHUNK)
    ends = np.cumsum([0, *map(len, views)])

    def one(k: int) -> dict:
        truth, predicted = source.truth(indices[k]), answers[ends[k] : ends[k + 1]]
        _check(protocol, source.ids[indices[k]], truth, predicted)
        return protocol.measure_all(Item(source, indices[k], tuple(views[k]), predicted, truth))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, range(len(indices))))


def _in_batches(predict: Predict, images: np.ndarray, size: int) -> Prediction:
    """Answers to many pictures in batches of one size, so that one program is compiled."""
    padded = np.concatenate([images, np.repeat(images[:1], -len(images) % size, axis=0)])
    parts = [jax.device_get(predict(padded[i : i + size])) for i in range(0, len(padded), size)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(images)], *parts)


def _check(protocol: Protocol, object_id: str, truth: ObjectRecord, predicted: Prediction) -> None:
    missing = [name for name in protocol.needs if getattr(truth, name) is None]
    if missing:
        raise ValueError(f"{object_id}: has no {', '.join(missing)}; another protocol fits this data set.")
    if not np.isfinite(predicted.vertices).all():
        raise ValueError(f"predict: a vertex of {object_id} is not finite; the model has diverged.")


class _Chunks:
    """The measured chunks: in a folder that other processes see, too, or in memory."""

    def __init__(self, folder: str | Path | None, stamp: dict):
        self._folder = None if folder is None else Path(folder)
        self._memory: dict[int, dict[str, np.ndarray]] = {}
        if self._folder is not None:
            self._claim(json.loads(json.dumps(stamp)))

    def get(self, start: int) -> dict[str, np.ndarray] | None:
        """A chunk; None where nobody has measured it yet, or its file is damaged: then it is removed."""
        if start not in self._memory and self._folder is not None and self._path(start).is_file():
            try:
                with np.load(self._path(start), allow_pickle=False) as file:
                    self._memory[start] = {name: file[name] for name in file.files}
            except Exception as error:  # flipped bytes can raise anything: zlib, zip, the header's parser
                logging.warning("%s is damaged (%s); it is measured again.", self._path(start), error)
                self._path(start).unlink(missing_ok=True)
        return self._memory.get(start)

    def put(self, start: int, arrays: dict[str, np.ndarray]) -> None:
        self._memory[start] = arrays
        if self._folder is not None:
            with replacing(self._path(start)) as partial, partial.open("wb") as file:
                np.savez(file, **arrays)

    def _path(self, start: int) -> Path:
        return self._folder / f"chunk_{start:06d}.npz"

    def _claim(self, stamp: dict) -> None:
        """Keep the chunks of the same evaluation, remove those of another."""
        self._folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self._folder)
        path = self._folder / "stamp.json"
        try:
            if path.is_file() and json.loads(path.read_text()) == stamp:
                return
        except ValueError:
            logging.warning("%s is not whole; everything is measured again.", path)
        for old in self._folder.glob("chunk_*.npz"):
            old.unlink(missing_ok=True)
        write_text(path, json.dumps(stamp, indent=1) + "\n")
