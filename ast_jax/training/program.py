"""A run as the loop needs it: model, optimizer, layout on the devices, and a compiled step for each stage."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from absl import logging
from flax import nnx
from ml_collections import ConfigDict

from ast_jax.losses.perceptual import (
    INSTALL_COMMAND,
    PerceptualNetwork,
    find_perceptual_weights,
    load_perceptual,
)
from ast_jax.losses.term import CANDIDATES
from ast_jax.losses.total import TERMS
from ast_jax.training.checkpoint import init_params
from ast_jax.training.compiled import CompiledFunction
from ast_jax.training.memory import check_program, check_state, check_table
from ast_jax.training.multiplex import has_multiplex, make_table, table_shardings
from ast_jax.training.neighbours import Memory, has_memory, make_memory
from ast_jax.training.optimizer import make_optimizer
from ast_jax.training.sharding import Layout, put
from ast_jax.training.stages import Stage, make_stages, total_steps
from ast_jax.training.state import TrainState, make_model, make_state, state_shardings
from ast_jax.training.step import make_train_step
from ast_jax.training.values import StageValues, make_values


@dataclass(frozen=True)
class Program:
    """What stays the same during a run; the compiled steps are made when first needed.

    Args:
      config: the experiment.
      stages: of it.
      layout: of the devices.
      graphdef: structure of the model.
      shardings: of the state.
      first_state: at step 0, until the loop takes it over; without what depends on the data, see `start`.
      steps: compiled, by stage and phase.
      values: what the step of each stage takes beside state and batch, on the devices.
    """

    config: ConfigDict
    stages: tuple[Stage, ...]
    layout: Layout
    graphdef: nnx.GraphDef
    shardings: TrainState
    first_state: TrainState | None
    steps: dict[tuple[str, str], CompiledFunction]
    values: dict[str, StageValues]

    @property
    def num_steps(self) -> int:
        """Of all stages together."""
        return total_steps(self.stages)

    @property
    def phases(self) -> tuple[str, ...]:
        """Unknown cameras let pose and shape take turns, as AST and Unicorn do."""
        return ("pose", "shape") if CANDIDATES.is_met(self.config.model) else ("shape",)

    def start(self, pictures: int) -> TrainState:
        """The first state for so many training pictures: with a table of their cameras, if they have some of their own,
        and with a memory of nothing yet, if pictures are compared with earlier ones.

        Raises:
          ValueError: the memory does not hold the table.
        """
        state = self.first_state
        if self.shardings.memory is not None:
            state = replace(state, memory=self._first_memory())
        if self.shardings.multiplex is None:
            return state
        place, device = self.shardings.multiplex, self.layout.mesh.local_devices[0]
        check_table(jax.eval_shape(lambda: make_table(self.config, pictures)), place, device)
        make = jax.jit(lambda: make_table(self.config, pictures), out_shardings=place)
        return replace(state, multiplex=make())

    def _first_memory(self) -> Memory:
        size = self.config.data.image_size
        picture = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
        answer = jax.eval_shape(lambda params, x: nnx.merge(self.graphdef, params)(x), self.first_state.params, picture)
        return jax.jit(lambda: make_memory(self.config, answer.codes), out_shardings=self.shardings.memory)()

    def step(self, stage: Stage, number: int) -> CompiledFunction:
        """The train step for a step number."""
        phase = self.phases[number % len(self.phases)]
        if (stage.name, phase) not in self.steps:
            jitted = make_train_step(
                self.graphdef,
                self.config,
                stage,
                layout=self.layout,
                shardings=self.shardings,
                phase=phase,
            )
            self.steps[stage.name, phase] = CompiledFunction(
                jitted,
                f"{stage.name} step, {phase}",
                check=lambda stats: check_program(stats, self.layout.mesh.local_devices[0]),
            )
        return self.steps[stage.name, phase]


def make_program(config: ConfigDict, layout: Layout, *, abstract: bool = False) -> Program:
    """The model with its first state on the devices, and all that a step needs.

    Args:
      config: the experiment.
      layout: of the devices.
      abstract: the first state and the values are shapes and shardings alone, to compile for devices that are not
        there.

    Raises:
      ValueError: the config names what does not exist, the weights to start from do not fit, or the memory does not
        hold the state.
    """
    stages, networks = zip(*(_with_perceptual(stage, config) for stage in make_stages(config)))
    values = [make_values(config, stage, total_steps(stages), network) for stage, network in zip(stages, networks)]
    optimizer = make_optimizer(config, values[0])

    def first_state(params: dict) -> TrainState:
        return make_state(params, optimizer, average=config.optimizer.ema_decay > 0)

    graphdef, params = make_model(config, abstract=True)
    shapes = jax.eval_shape(first_state, params)
    shardings = state_shardings(shapes, graphdef, layout)
    if abstract:
        state = _described(shapes, shardings)
        values = _described(values, jax.tree.map(lambda _: layout.replicated, values))
    else:
        check_state(shapes, shardings, layout.mesh.local_devices[0])
        graphdef, params = make_model(config)
        params = init_params(params, config.init_from)
        state = jax.jit(first_state, out_shardings=shardings)(put(params, shardings.params))
        values = put(values, jax.tree.map(lambda _: layout.replicated, values))
    if has_multiplex(config):
        shardings = replace(shardings, multiplex=table_shardings(config, layout))
    if has_memory(config):
        shardings = replace(shardings, memory=layout.replicated)
    return Program(
        config=config,
        stages=stages,
        layout=layout,
        graphdef=graphdef,
        shardings=shardings,
        first_state=state,
        steps={},
        values={stage.name: value for stage, value in zip(stages, values)},
    )


def _described(tree, shardings):
    """Shapes in place of arrays."""
    return jax.tree.map(lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), tree, shardings)


def _with_perceptual(stage: Stage, config: ConfigDict) -> tuple[Stage, PerceptualNetwork | None]:
    """The network of the perceptual term; without its weights the stage goes on without the term, and says so."""
    reading = {name for name, _ in stage.losses if name in TERMS and TERMS[name].reads_network}
    if not reading:
        return stage, None
    name = config.perceptual.network
    if find_perceptual_weights(name) is None and not config.perceptual.required:
        message = "stage %s trains without %s: no weights of %s here; get them with %s"
        logging.warning(message, stage.name, " and ".join(sorted(reading)), name, INSTALL_COMMAND)
        return replace(stage, losses=tuple(term for term in stage.losses if term[0] not in reading)), None
    return stage, load_perceptual(name)
