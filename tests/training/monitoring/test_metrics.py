"""What is written is read back, from the event files by their format: length, checksum, message, checksum."""

import struct

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from ast_jax.training.monitoring.metrics import MetricWriter, read_metrics
from tests.files.test_writing import full_disk


def _events(workdir) -> list[Event]:
    events = []
    for path in workdir.glob("events.out.tfevents.*"):
        content, start = path.read_bytes(), 0
        while start < len(content):
            (length,) = struct.unpack_from("<Q", content, start)
            events.append(Event.FromString(content[start + 12 : start + 12 + length]))
            start += 12 + length + 4
    return events


def test_scalars_pictures_and_text_reach_tensorboard(tmp_path):
    writer = MetricWriter(tmp_path)
    writer.write(3, {"loss": 0.5, "bad": float("nan")})
    writer.image(4, "preview", np.zeros((5, 7, 3), np.uint8))
    writer.text(0, "parameters", "| a | b |\n| - | - |")
    writer.close()
    values = {value.tag: (event.step, value) for event in _events(tmp_path) for value in event.summary.value}
    assert values["loss"][0] == 3 and values["loss"][1].simple_value == 0.5
    assert (values["preview"][0], values["preview"][1].image.height, values["preview"][1].image.width) == (4, 5, 7)
    (text,) = [value for tag, (_, value) in values.items() if tag.startswith("parameters")]
    assert text.tensor.string_val[0].decode() == "| a | b |\n| - | - |"
    assert text.metadata.plugin_data.plugin_name == "text"
    (line,) = read_metrics(tmp_path)
    assert (line["step"], line["loss"], line["bad"]) == (3, 0.5, "nan")


def test_a_writer_that_is_off_makes_no_file(tmp_path):
    writer = MetricWriter(tmp_path / "missing", enabled=False)
    writer.write(3, {"loss": 0.5})
    writer.image(4, "preview", np.zeros((5, 7, 3), np.uint8))
    writer.text(0, "parameters", "none")
    writer.close()
    assert not list(tmp_path.iterdir())


def test_a_line_that_was_cut_is_mended_and_lines_that_are_not_whole_are_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 0.5}\n{"step": 2}{"step": 3}\n[]\n\0\0\n{"step": 4, "lo')
    writer = MetricWriter(tmp_path)
    writer.write(4, {"loss": 0.25})
    writer.close()
    assert [(line["step"], line["loss"]) for line in read_metrics(tmp_path)] == [(1, 0.5), (4, 0.25)]
    assert path.read_text().splitlines()[-1].startswith('{"step": 4, "seconds"')


def test_a_full_disk_costs_no_line_and_stops_nothing(tmp_path):
    """More events than tensorboardX's queue holds: its own writer would wait for ever."""
    writer = MetricWriter(tmp_path)
    writer.write(0, {"loss": 1.0})
    with full_disk(120):
        for step in range(1, 40):
            writer.write(step, {"loss": 1.0 / step, "loss/iou": 0.5})
        with pytest.raises(OSError):
            writer.finish()
    writer.write(40, {"loss": 0.0})
    writer.close()
    assert [line["step"] for line in read_metrics(tmp_path)] == list(range(41))
