"""CyclicalLR, WarmRestarts and OneCycle on small models: what each step used, and who else may set the rate."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tlkit import schedules
from tlkit.callbacks.cyclical_lr import CyclicalLR
from tlkit.callbacks.momentum import DynamicFloat
from tlkit.callbacks.one_cycle import OneCycle
from tlkit.callbacks.recorder import Recorder
from tlkit.callbacks.warm_restarts import WarmRestarts
from tlkit.errors import ConfigError

STEPS = 5  # of an epoch


def batches():
    import tensorflow as tf

    rng = np.random.default_rng(0)
    x = rng.normal(size=(STEPS * 4, 3)).astype(np.float32)
    return tf.data.Dataset.from_tensor_slices((x, x @ np.float32([[1.0], [-2.0], [0.5]]))).batch(4)


def linear(optimizer, **options):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    model.compile(optimizer, "mse", **options)
    return model


class Spy(keras.callbacks.Callback):
    """Reads the rate before each step, after the callbacks that come earlier in the list."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))


def used(model, callback, epochs, **options):
    spy = Spy()
    model.fit(batches(), epochs=epochs, callbacks=[callback, spy], verbose=0, **options)
    return spy.rates


CASES = [
    (lambda: CyclicalLR(1e-4, 1e-2, step_size=3, mode="triangular2"), schedules.Cyclical(1e-4, 1e-2, 3, "triangular2")),
    (lambda: CyclicalLR(1e-4, 1e-2, step_size_epochs=0.4), schedules.Cyclical(1e-4, 1e-2, 2)),
    (
        lambda: CyclicalLR(1e-4, 1e-2, 3, mode="exp_range", gamma=0.9),
        schedules.Cyclical(1e-4, 1e-2, 3, "exp_range", gamma=0.9),
    ),
    (
        lambda: CyclicalLR(1e-4, 1e-2, 2, scale_fn=lambda c: 1 / c),
        schedules.Cyclical(1e-4, 1e-2, 2, scale_fn=lambda c: 1 / c),
    ),
    (lambda: WarmRestarts(1e-2, 1), schedules.Restarts(1e-2, 5)),
    (lambda: WarmRestarts(1e-2, 0.4, 2, 1e-4, 0.5), schedules.Restarts(1e-2, 2, 2, 1e-4, 0.5)),
    (lambda: OneCycle(1e-2, 0.3, 10, 100, None), schedules.OneCycle(1e-2, 20, 0.3, 10, 100, None)),
]


@pytest.mark.parametrize(("make", "expected"), CASES, ids=[str(index) for index in range(len(CASES))])
def test_every_step_uses_the_rate_of_the_schedule(make, expected):
    rates = used(linear("adam", run_eagerly=True), make(), 4)
    np.testing.assert_allclose(rates, expected.rate(np.arange(4 * STEPS)), rtol=1e-6)


def test_the_line_of_the_issue_works():
    model = linear("sgd")
    model.fit(batches(), epochs=2, callbacks=[CyclicalLR(1e-4, 1e-2, step_size=100, mode="triangular2")], verbose=0)
    last = schedules.Cyclical(1e-4, 1e-2, 100).rate(2 * STEPS - 1)
    assert float(model.optimizer.learning_rate) == pytest.approx(float(last), rel=1e-6), "the optimizer keeps the last"


@pytest.mark.parametrize("make", [case[0] for case in CASES[:6]] + [lambda: OneCycle(1e-2)])
def test_initial_epoch_goes_on_inside_the_cycle_and_the_next_fit_starts_anew(make):
    def optimizer():
        return keras.optimizers.SGD(0.1, momentum=0.9)

    whole = used(linear(optimizer(), run_eagerly=True), make(), 4)
    model, callback = linear(optimizer(), run_eagerly=True), make()
    # The last epoch of the first part is cut off by stop_training, as an interruption would.
    stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", epoch == 1))
    spy = Spy()
    model.fit(batches(), epochs=4, callbacks=[callback, spy, stop], verbose=0)
    assert len(spy.rates) == 2 * STEPS
    assert spy.rates + used(model, callback, 4, initial_epoch=2) == whole
    assert used(model, callback, 4) == whole, "a fit from epoch 0 starts again"


def hand_sgd(weights, epochs, momentum_of, rate_of, nesterov=False):
    """SGD as its formula, in float64, on the data of `batches` and a mean squared error."""
    velocity, step = np.zeros_like(weights), 0
    for _ in range(epochs):
        for x, y in batches():
            x, y = x.numpy().astype(np.float64), y.numpy().astype(np.float64)
            gradient = 2 * x.T @ (x @ weights - y) / len(x)
            rate, momentum = rate_of(step), momentum_of(step)
            velocity = momentum * velocity - rate * gradient
            weights = weights + (momentum * velocity - rate * gradient if nesterov else velocity)
            step += 1
    return weights


@pytest.mark.parametrize("nesterov", [False, True])
def test_one_cycle_follows_the_trajectory_of_sgd_by_hand(nesterov):
    model = linear(keras.optimizers.SGD(0.1, momentum=0.5, nesterov=nesterov))
    schedule = schedules.OneCycle(0.05, 3 * STEPS)
    expected = hand_sgd(np.ones((3, 1)), 3, schedule.momentum, schedule.rate, nesterov)
    used(model, OneCycle(0.05), 3)
    np.testing.assert_allclose(model.get_weights()[0], expected, rtol=1e-5)
    still = hand_sgd(np.ones((3, 1)), 3, lambda step: 0.5, schedule.rate, nesterov)
    assert np.abs(still - expected).max() > 1e-2, "the momentum must make a difference for this to test anything"


def test_one_cycle_moves_adams_beta_1_as_its_formula_says():
    model = linear(keras.optimizers.Adam(0.1))
    schedule = schedules.OneCycle(0.05, 2 * STEPS)
    used(model, OneCycle(0.05), 2)
    weights, m, v, step = np.ones((3, 1)), 0.0, 0.0, 0
    for _ in range(2):
        for x, y in batches():
            x, y = x.numpy().astype(np.float64), y.numpy().astype(np.float64)
            gradient = 2 * x.T @ (x @ weights - y) / len(x)
            beta = float(schedule.momentum(step))
            m, v = beta * m + (1 - beta) * gradient, 0.999 * v + 0.001 * gradient**2
            step += 1
            corrected = np.sqrt(1 - 0.999**step) / (1 - beta**step)
            weights = weights - float(schedule.rate(step - 1)) * corrected * m / (np.sqrt(v) + 1e-7)
    np.testing.assert_allclose(model.get_weights()[0], weights, rtol=1e-4)


KINDS = {
    "SGD": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "Adam": lambda: keras.optimizers.Adam(0.1),
    "AdamW": lambda: keras.optimizers.AdamW(0.1),
    "Adamax": lambda: keras.optimizers.Adamax(0.1),
    "Lamb": lambda: keras.optimizers.Lamb(0.1),
    "Lion": lambda: keras.optimizers.Lion(0.1),
    "LossScale": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_optimizer_is_driven_and_let_go(kind):
    optimizer = KINDS[kind]()
    model, recorder = linear(optimizer), Recorder()
    model.fit(batches(), epochs=2, callbacks=[OneCycle(1e-2), recorder], verbose=0)
    schedule = schedules.OneCycle(1e-2, 2 * STEPS)
    np.testing.assert_allclose(recorder.rates, schedule.rate(np.arange(2 * STEPS)), rtol=1e-6)
    np.testing.assert_allclose(recorder.momentums, schedule.momentum(np.arange(2 * STEPS)), rtol=1e-6)
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    value = inner.momentum if kind == "SGD" else inner.beta_1
    assert type(value) is float
    assert value == 0.9
    assert inner.get_config()["momentum" if kind == "SGD" else "beta_1"] == 0.9


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "Adamax", "Lamb", "Lion"])
def test_a_driven_momentum_that_stays_trains_like_the_number(kind, eagerly):
    class Still(OneCycle):
        def schedule(self, steps_per_epoch, epochs):
            return schedules.OneCycle(0.01, steps_per_epoch * epochs, div=1, final_div=1, momentums=(0.7, 0.7))

    driven, plain = KINDS[kind](), KINDS[kind]()
    plain.learning_rate = 0.01
    setattr(plain, "momentum" if kind == "SGD" else "beta_1", 0.7)
    results = []
    for optimizer, callbacks in ((driven, [Still(0.01)]), (plain, [])):
        model = linear(optimizer, run_eagerly=eagerly)
        model.fit(batches(), epochs=3, callbacks=callbacks, verbose=0)
        results.append(model.get_weights()[0])
    np.testing.assert_allclose(*results, rtol=1e-5)


@pytest.mark.parametrize("how", ["plain", "cyclical"])
def test_a_later_fit_uses_the_optimizers_own_momentum(how):
    def train(first):
        model = linear(keras.optimizers.SGD(0.1, momentum=0.9))
        if first:
            used(model, OneCycle(1e-2), 1)
        model.set_weights([np.ones((3, 1), np.float32)])
        model.optimizer.build(model.trainable_variables)
        model.optimizer.set_weights([np.zeros_like(value) for value in model.optimizer.variables])
        model.optimizer.learning_rate = 0.02
        model.fit(batches(), epochs=2, callbacks=[CyclicalLR(0.02, 0.02, 3)] if how == "cyclical" else [], verbose=0)
        return model.get_weights()[0]

    np.testing.assert_array_equal(train(first=True), train(first=False))


class Fails(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        raise KeyboardInterrupt


def failing_batches():
    import tensorflow as tf

    def rows():
        for index, (x, y) in enumerate(batches()):
            if index == 2:
                raise RuntimeError("no more data")
            yield x, y

    signature = (tf.TensorSpec((4, 3)), tf.TensorSpec((4, 1)))
    data = tf.data.Dataset.from_generator(rows, output_signature=signature)
    return data.apply(tf.data.experimental.assert_cardinality(STEPS))


def test_a_step_that_raises_gives_the_momentum_back_at_once():
    model = linear(keras.optimizers.SGD(0.1, momentum=0.9))
    with pytest.raises(Exception, match="no more data"):
        model.fit(failing_batches(), epochs=1, callbacks=[OneCycle(1e-2)], verbose=0)
    assert type(model.optimizer.momentum) is float
    assert model.train_function is None


@pytest.mark.parametrize("then", ["nothing", "the same", "another", "cyclical"])
def test_after_another_callback_raised_the_next_fit_is_as_if_new(then):
    model = linear(keras.optimizers.SGD(0.1, momentum=0.9))
    first = OneCycle(1e-2)
    with pytest.raises(KeyboardInterrupt):
        model.fit(batches(), callbacks=[first, Fails()], verbose=0)
    assert isinstance(model.optimizer.momentum, DynamicFloat)
    callbacks = {"nothing": [], "the same": [first], "another": [OneCycle(1e-2)], "cyclical": [CyclicalLR(0.1, 0.1, 3)]}
    recorder = Recorder()
    model.fit(batches(), epochs=2, callbacks=[*callbacks[then], recorder], verbose=0)
    assert type(model.optimizer.momentum) is float
    assert model.optimizer.momentum == 0.9
    schedule = schedules.OneCycle(1e-2, 2 * STEPS)
    cycled = then in ("the same", "another")
    expected = schedule.momentum(np.arange(2 * STEPS)) if cycled else [0.9] * 2 * STEPS
    np.testing.assert_allclose(recorder.momentums, expected, rtol=1e-6)


def test_the_optimizer_saves_the_same_variables_as_without_the_callback(tmp_path):
    plain, cycled = linear(keras.optimizers.Adam(0.1)), linear(keras.optimizers.Adam(0.1))
    plain.fit(batches(), verbose=0)
    saves = keras.callbacks.ModelCheckpoint(tmp_path / "during.keras", save_freq=2)
    cycled.fit(batches(), callbacks=[OneCycle(0.1), saves], verbose=0)
    assert [v.shape for v in plain.optimizer.variables] == [v.shape for v in cycled.optimizer.variables]
    loaded = keras.saving.load_model(tmp_path / "during.keras")
    assert loaded.optimizer.beta_1 == 0.9
    loaded.fit(batches(), verbose=0)


def test_an_unknown_number_of_steps_is_fine_where_it_is_not_needed():
    data = batches().filter(lambda x, y: True)
    recorder = Recorder()
    linear("sgd").fit(data, epochs=3, callbacks=[CyclicalLR(1e-3, 1e-2, 2), recorder], verbose=0)
    expected = schedules.Cyclical(1e-3, 1e-2, 2).rate(np.arange(3 * STEPS))
    np.testing.assert_allclose(recorder.rates, expected, rtol=1e-6)
    # Alone, its hook at the end of a step runs in a thread. Keras begins a step that never comes at each epoch's end.
    begun = used_of(data, CyclicalLR(1e-3, 1e-2, 2))
    with_extra = [STEPS * epoch + batch for epoch in range(3) for batch in range(STEPS + 1)]
    np.testing.assert_allclose(begun, schedules.Cyclical(1e-3, 1e-2, 2).rate(np.array(with_extra)), rtol=1e-6)


def used_of(data, callback):
    spy = Spy()
    linear("sgd").fit(data, epochs=3, callbacks=[callback, spy], verbose=0)
    return spy.rates


@pytest.mark.parametrize(
    "make", [lambda: WarmRestarts(0.1, 1), lambda: OneCycle(0.1), lambda: CyclicalLR(0.1, 0.2, step_size_epochs=1)]
)
def test_an_unknown_number_of_steps_is_told_where_it_is_needed(make):
    data = batches().filter(lambda x, y: True)
    with pytest.raises(ConfigError, match=f"{type(make()).__name__} needs the number of steps.*steps_per_epoch"):
        linear("adam").fit(data, epochs=2, callbacks=[make()], verbose=0)
    linear("adam").fit(data.repeat(), epochs=2, steps_per_epoch=4, callbacks=[make()], verbose=0)


def test_going_on_at_an_epoch_needs_the_number_of_steps():
    data = batches().filter(lambda x, y: True)
    with pytest.raises(ConfigError, match="the position in the schedule is unknown; received: 1"):
        linear("adam").fit(data, epochs=2, initial_epoch=1, callbacks=[CyclicalLR(0.1, 0.2, 3)], verbose=0)


@pytest.mark.parametrize("make", [lambda: CyclicalLR(0.1, 0.2, 3), lambda: OneCycle(0.1), lambda: WarmRestarts(0.1, 1)])
def test_a_schedule_in_the_optimizer_and_a_callback_is_an_error(make):
    for held in (keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9), lambda: 0.1):
        with pytest.raises(
            ConfigError,
            match=f"the optimizer already has a learning-rate schedule, and {type(make()).__name__} sets the",
        ):
            linear(keras.optimizers.SGD(held, momentum=0.9)).fit(batches(), callbacks=[make()], verbose=0)


def test_several_optimizers_have_no_rate_to_set():
    several = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1)))
    with pytest.raises(
        ConfigError, match="combines several optimizers has no learning rate of its own.*'MultiOptimizer'"
    ):
        linear(several).fit(batches(), callbacks=[CyclicalLR(0.1, 0.2, 3)], verbose=0)
    with pytest.raises(ConfigError, match="an optimizer that combines several optimizers has"):
        linear(several).fit(batches(), callbacks=[Recorder()], verbose=0)


def test_several_steps_at_once_are_refused():
    with pytest.raises(ConfigError, match="runs several steps per call; received: 'steps_per_execution=5'.*LRSchedule"):
        linear("sgd", steps_per_execution=5).fit(batches(), callbacks=[CyclicalLR(0.1, 0.2, 3)], verbose=0)


class Meddles(keras.callbacks.Callback):
    """Sets the rate at one hook, as users' callbacks do."""

    def __init__(self, hook):
        super().__init__()
        setattr(self, hook, lambda *arguments, **more: setattr(self.model.optimizer, "learning_rate", 0.5))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_epoch_end", "on_train_batch_begin", "on_train_batch_end"])
def test_another_callback_that_sets_the_rate_is_told(hook, first):
    model = linear(keras.optimizers.SGD(0.1, momentum=0.9))
    callbacks = [OneCycle(0.01), Meddles(hook)]
    epochs = 1 if "batch" in hook else 2  # those of each step are told within the first epoch
    with pytest.raises(
        ConfigError, match="another callback changed the learning rate.*received: 0.5.*ReduceLROnPlateau"
    ):
        model.fit(batches(), epochs=epochs, callbacks=callbacks[:: -1 if first else 1], verbose=0)
    assert type(model.optimizer.momentum) is float, "the momentum is given back"


@pytest.mark.parametrize(
    "other",
    [
        lambda: keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=0, min_delta=1e9),
        lambda: keras.callbacks.LearningRateScheduler(lambda epoch: 0.5),
        lambda: CyclicalLR(1e-3, 1e-2, 3),
        lambda: OneCycle(0.01, momentums=None),
    ],
)
def test_the_callbacks_of_keras_and_a_second_one_of_ours_are_told(other):
    with pytest.raises(ConfigError, match="another callback changed the learning rate"):
        linear("sgd").fit(batches(), epochs=3, callbacks=[WarmRestarts(0.1, 1), other()], verbose=0)


def test_two_that_move_the_momentum_are_told_before_any_step():
    model = linear(keras.optimizers.SGD(0.1, momentum=0.9))
    with pytest.raises(ConfigError, match="already changes"):
        model.fit(batches(), callbacks=[OneCycle(0.1), OneCycle(0.2)], verbose=0)
    assert int(model.optimizer.iterations) == 0


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("bad", [float("nan"), -5.0, float("inf")])
def test_a_scale_fn_that_gives_nonsense_is_told_with_its_step(bad):
    callback = CyclicalLR(0.1, 0.2, 2, scale_fn=lambda cycle: 1.0 if cycle < 2 else bad)
    with pytest.raises(ConfigError, match="the schedule returned an invalid learning rate.*at step [45]"):
        linear("sgd").fit(batches(), epochs=3, callbacks=[callback], verbose=0)


BAD = [
    (lambda: CyclicalLR(1e-2, 1e-3, 10), "max_lr is below base_lr"),
    (lambda: CyclicalLR(1e-3, 1e-2), "step_size and step_size_epochs cannot be combined.*either step_size"),
    (lambda: CyclicalLR(1e-3, 1e-2, 10, step_size_epochs=2), "step_size and step_size_epochs cannot be combined"),
    (lambda: CyclicalLR(1e-3, 1e-2, 0), "step_size is invalid; received: 0"),
    (lambda: CyclicalLR(1e-3, 1e-2, step_size_epochs=0), "step_size_epochs is invalid; received: 0"),
    (lambda: CyclicalLR(1e-3, 1e-2, 10, mode="zigzag"), "unknown mode; received: 'zigzag'"),
    (lambda: WarmRestarts(1e-2, 0), "cycle_len is invalid; received: 0"),
    (lambda: WarmRestarts(float("inf"), 1), "max_lr is invalid; received: inf"),
    (lambda: WarmRestarts(1e-2, 1, cycle_mult=0), "cycle_mult is invalid; received: 0"),
    (lambda: OneCycle(-1.0), "max_lr is invalid; received: -1.0"),
    (lambda: OneCycle(1e-2, pct_start=2), "pct_start is invalid; received: 2"),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=[str(index) for index in range(len(BAD))])
def test_bad_arguments_are_told_at_once(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_cycle_shorter_than_a_step_is_told_with_the_steps_of_an_epoch():
    with pytest.raises(ConfigError, match="cycle_len is less than one step; received: 0.01; allowed: 1/5 or more"):
        linear("sgd").fit(batches(), callbacks=[WarmRestarts(0.1, 0.01)], verbose=0)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (lambda: keras.optimizers.SGD(0.1), "SGD has no momentum.*SGD\\(momentum=0.9\\).*momentums=None"),
        (
            lambda: keras.optimizers.RMSprop(0.1, momentum=0.9),
            "the momentum of this optimizer cannot be changed; received: 'RMSprop'",
        ),
        (
            lambda: keras.optimizers.Nadam(0.1),
            "the momentum of this optimizer cannot be changed; received: 'Nadam'; allowed: SGD, Adam",
        ),
        (
            lambda: keras.optimizers.Adagrad(0.1),
            "the momentum of this optimizer cannot be changed; received: 'Adagrad'",
        ),
    ],
)
def test_an_optimizer_without_a_momentum_to_drive_is_told_before_training(optimizer, message):
    model = linear(optimizer())
    with pytest.raises(ConfigError, match=message):
        model.fit(batches(), callbacks=[OneCycle(0.1)], verbose=0)
    model.fit(batches(), callbacks=[OneCycle(0.1, momentums=None)], verbose=0)
