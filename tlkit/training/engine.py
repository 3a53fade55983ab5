"""What runs the stages of a Learner: one optimizer for life, and one traced step for each set of variables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.errors import ConfigError, TrainingError
from tlkit.models.task import Task
from tlkit.training.features import fast_forward
from tlkit.training.microbatch import step_in_pieces
from tlkit.training.optimizers import begin_accumulation, group_optimizer
from tlkit.training.plan import Plan


class Engine:
    """Trains a task's model, or its head on features, with slots that survive from stage to stage.

    Keras decides at `compile` what is trained, and a new `compile` means a new optimizer and a new trace, which costs
    10 to 30 seconds for a whole network. Here the optimizer grows when more is unfrozen, and a step that was traced
    for a set of variables is used again whenever that set comes back.

    Args:
        task: what is trained.
        loss: takes targets and logits.
        make_optimizer: learning rate -> a fresh optimizer.
        ema_decay: keeps running averages of the weights when above 0; they are what is validated and kept.
        step_tokens: where the model takes tokens, how many at most go through it at once; see `step_in_pieces`.

    Attributes:
        optimizer: the present one, with a rate for each layer group.
    """

    def __init__(
        self,
        task: Task,
        loss: keras.losses.Loss,
        make_optimizer: Callable[[float], keras.optimizers.Optimizer],
        *,
        ema_decay: float = 0.0,
        step_tokens: int = 0,
    ):
        self.task = task
        self.loss = loss
        self._make_optimizer = make_optimizer
        self._ema_decay = ema_decay
        self._step_tokens = step_tokens
        self._functions: dict[Any, tuple[Any, Any]] = {}
        self._key: Any = None
        self.optimizer = self._fresh()

    def _fresh(self) -> Any:
        optimizer = self._make_optimizer(1.0)
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            raise ConfigError("optimizer must return a Keras optimizer for a learning rate", received=optimizer)
        return group_optimizer(optimizer, [group.variables for group in self.task.groups], ema_decay=self._ema_decay)

    # What is trained

    def cover(self, variables: Sequence[Any]) -> None:
        """Give variables slots, if they have none yet; all others keep theirs.

        Raises:
            ConfigError: one of them is in no layer group.
        """
        before = self.optimizer.covered if self.optimizer.built else []
        known = {id(variable) for variable in before}
        missing = [variable for variable in variables if id(variable) not in known]
        if not missing and self.optimizer.built:
            return
        grouped = {id(variable) for group in self.task.groups for variable in group.variables}
        for variable in missing:
            if id(variable) not in grouped:
                raise ConfigError("a trainable variable is in no layer group", received=variable.path)
        old = self.optimizer
        if old.built:
            self.optimizer = self._fresh()
        self.optimizer.build([*before, *missing])
        if old.built and old is not self.optimizer:
            self.optimizer.take_over(old)
        self._functions.clear()

    def covered_numbers(self) -> list[int]:
        """Places in `task.model.variables` of what has slots, in the order of the slots."""
        places = {id(variable): number for number, variable in enumerate(self.task.model.variables)}
        return [places[id(variable)] for variable in self.optimizer.covered]

    def optimizer_arrays(self) -> list[np.ndarray]:
        """Values of everything that the optimizer remembers."""
        return [variable.numpy() for variable in self._optimizer_variables()]

    def assign_optimizer(self, arrays: Sequence[np.ndarray]) -> None:
        """Put back what `optimizer_arrays` gave.

        Raises:
            TrainingError: they are of another optimizer.
        """
        variables = self._optimizer_variables()
        if len(arrays) != len(variables):
            raise TrainingError("the run to resume used another optimizer")
        for variable, array in zip(variables, arrays, strict=True):
            if variable.shape.rank is not None and variable.shape.is_fully_defined() and variable.shape != array.shape:
                raise TrainingError("the run to resume used another optimizer", received=array.shape)
            variable.assign(array)

    def reset_optimizer(self) -> None:
        """Let the optimizer forget all that it has seen; what it covers, and what was traced, stays."""
        fresh = self._fresh()
        fresh.build(self.optimizer.covered)
        for variable, value in zip(self.optimizer.state(), fresh.state(), strict=True):
            variable.assign(value)

    def _optimizer_variables(self) -> list[Any]:
        return [v.value if isinstance(v, keras.Variable) else v for v in self.optimizer.state()]

    def averages(self) -> dict[int, Any]:
        """Running averages by `id` of the model's variable; empty without EMA."""
        return self.optimizer.averages()

    def restart_averages(self) -> None:
        """Let running averages begin anew with the present weights."""
        averages = self.averages()
        for variable in self.optimizer.covered if averages else ():
            averages[id(variable)].assign(variable.value)

    def settle_averages(self) -> None:
        """Make the running averages the model's weights."""
        _assign(self._averaged_pairs())

    def _averaged_pairs(self) -> list[tuple[Any, Any]]:
        averages = self.averages()
        return [(v, averages[id(v)]) for v in self.optimizer.covered if id(v) in averages]

    def describe_optimizer(self) -> dict[str, Any]:
        """Name the optimizer and its settings, as plain values."""
        config = self.optimizer.get_config()
        settings = {name: value for name, value in config.items() if name not in ("name", "learning_rate")}
        return {"class": self.optimizer.kind, **{name: _plain(value) for name, value in settings.items()}}

    # Training

    def trial(self, stage: str, batch: Sequence[tf.Tensor]) -> Callable[[str], Callable[[], float]]:
        """Give what `precision.fastest` needs to time a stage: policy -> a step, which changes no weight.

        Args:
            stage: `"features"` for a forward pass, `"training"` for forward and backward.
            batch: `(inputs, targets)`.
        """
        inputs, targets = batch[0], batch[1]

        def prepare(policy: str) -> Callable[[], float]:
            self.task.set_precision(policy)
            if stage == "features":
                forward = fast_forward(self.task.features)
                return lambda: float(tf.reduce_sum(forward(inputs)))
            variables = self.task.model.trainable_variables

            @tf.function(jit_compile=False, autograph=False)
            def step() -> tf.Tensor:
                with tf.GradientTape() as tape:
                    loss = self.loss(targets, self.task.model(inputs, training=True))
                gradients = tape.gradient(loss, [variable.value for variable in variables])
                # All of them have to be computed, and one that is not finite has to show.
                return loss + tf.add_n([0.0 * tf.reduce_sum(tf.cast(gradient, tf.float32)) for gradient in gradients])

            return lambda: float(step())

        return prepare

    def ready(self, model: keras.Model, steps_per_execution: int = 1) -> None:
        """Compile `model` if it needs to be, and hand it the step that was traced for what is trainable now.

        Args:
            model: `task.model` or `task.head`.
            steps_per_execution: steps in one call of the graph.

        Raises:
            ConfigError: nothing is trainable.
        """
        if not model.trainable_variables:
            raise ConfigError("all layers are frozen", fix="unfreeze a layer group first")
        self.cover(model.trainable_variables)
        reduced = self.task.precision == "mixed_float16" and model is self.task.model
        present = getattr(model, "optimizer", None)
        if getattr(present, "inner_optimizer", present) is not self.optimizer or (present is self.optimizer) == reduced:
            model.compile(
                optimizer=_RecordingLossScale(self.optimizer) if reduced else self.optimizer,
                loss=self.loss,
                metrics=[metric for metric in [self.task.objective.accuracy()] if metric is not None],
                # XLA makes depthwise convolutions several times slower on a CPU, so "auto" is for GPUs only.
                jit_compile="auto" if tf.config.list_physical_devices("GPU") else False,
                auto_scale_loss=False,
            )
            if self._step_tokens and model is self.task.model and hasattr(self.task.preprocessing, "max_tokens"):
                model.train_step = step_in_pieces(model, self._step_tokens)
            self._functions = {key: value for key, value in self._functions.items() if key[0] != id(model)}
        trained = tuple(id(variable) for variable in model.trainable_variables)
        self._key = (id(model), trained, steps_per_execution, self.task.precision)
        model.steps_per_execution = steps_per_execution
        model.train_function, model.test_function = self._functions.get(self._key, (None, None))

    def keep(self, model: keras.Model) -> None:
        """Remember the steps that `model` traced since `ready`."""
        self._functions[self._key] = (model.train_function, model.test_function)

    def run(
        self,
        model: keras.Model,
        plan: Plan,
        dataset: tf.data.Dataset,
        validation: tf.data.Dataset | None,
        *,
        first_epoch: int = 0,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        steps_per_execution: int = 1,
    ) -> dict[str, list[float]]:
        """Run a plan from some epoch on.

        Args:
            model: `task.model` or `task.head`.
            plan: rates and momenta.
            dataset: one epoch; a new iterator is made for each.
            validation: batches to measure on after each epoch, if any.
            first_epoch: epochs that are done already.
            callbacks: Keras callbacks.
            steps_per_execution: steps in one call of the graph; callbacks see one in so many.

        Returns:
            Keras' history of the epochs run.
        """
        self.ready(model, steps_per_execution)
        if not first_epoch:
            begin_accumulation(self.optimizer)
        steps = len(plan.rates) // plan.epochs
        self.optimizer.set_plan(plan.rates, plan.momenta, plan.multipliers, done=first_epoch * steps)
        averaging = _Averaging(self) if self._ema_decay else None
        try:
            history = model.fit(
                dataset,
                epochs=plan.epochs,
                initial_epoch=first_epoch,
                validation_data=validation,
                callbacks=[*([averaging] if averaging else []), *callbacks],
                shuffle=False,  # the streams shuffle themselves
                verbose=0,
            ).history
        finally:
            if averaging:
                averaging.put_back()
            self.keep(model)
        self.settle_averages()
        return history


class _Averaging(keras.callbacks.Callback):
    """Validates with the running averages in place of the weights."""

    def __init__(self, engine: Engine):
        super().__init__()
        self._engine = engine
        self._aside: list[tuple[Any, np.ndarray]] = []

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        pairs = self._engine._averaged_pairs()
        self._aside = [(variable, variable.numpy()) for variable, _ in pairs]
        _assign(pairs)

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        self.put_back()

    def put_back(self) -> None:
        _assign(self._aside)
        self._aside = []


class _RecordingLossScale(keras.optimizers.LossScaleOptimizer):
    """float16 needs its loss scaled; the step's own loss is recorded before that."""

    def scale_loss(self, loss: tf.Tensor) -> tf.Tensor:
        return super().scale_loss(self.inner_optimizer.scale_loss(loss))


def _assign(pairs: Sequence[tuple[Any, Any]]) -> None:
    for variable, value in pairs:
        variable.assign(np.asarray(value))


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(value)  # a driven momentum is a float of another class
    return value if isinstance(value, str | int | None) else str(value)
