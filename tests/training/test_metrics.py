"""What is written is read back, from the event files by their format: length, checksum, message, checksum."""

import struct

import numpy as np
from tensorboardX.proto.event_pb2 import Event

from ast_jax.training.metrics import MetricWriter, read_metrics


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
