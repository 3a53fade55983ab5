"""Requests merged into batches: each gets its own rows, and only a bad one fails."""

import threading

import numpy as np
import plain_models
import pytest
import tensorflow as tf

from tlkit.serving.batching import Batcher, BatchSettings, RowLimits, as_serving_error
from tlkit.serving.call import Call
from tlkit.serving.servable import Servable
from tlkit.serving.status import Code, ServingError


class Asked:
    """A request that keeps what it is answered."""

    def __init__(self, value, wanted=True, over=None, **kwargs):
        feeds = {"x": np.asarray(value, np.float32)}
        self.call = Call(feeds, ("y",), lambda _: b"", rows=len(feeds["x"]), **{"batchable": True} | kwargs)
        self.wanted, self.over, self.checked = wanted, over, 0  # `over`: at which check it is too late
        self.answered = threading.Event()
        self.answer = self.error = None

    def begin(self):
        return self.wanted

    def check(self):
        self.checked += 1
        if self.over is not None and self.checked >= self.over:
            raise ServingError(Code.DEADLINE_EXCEEDED, "nobody waits any more")

    def done(self, fetched, error, runtime_us):
        assert not self.answered.is_set()
        assert runtime_us >= 0
        self.answer, self.error = fetched, error
        self.answered.set()

    def result(self):
        assert self.answered.wait(20)
        if self.error:
            raise self.error
        return self.answer[0].tolist()


class Graph:
    """Doubles its input; while `closed`, calls wait. Negative rows are errors, as are NaNs of a type of their own."""

    def __init__(self, closed=False):
        self.sizes = []
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        if not closed:
            self.open.set()

    def __call__(self, feeds, fetches):
        x = feeds["x"]
        self.sizes.append(len(x))
        self.entered.release()
        assert self.open.wait(20)
        if (x < 0).any():
            raise tf.errors.InvalidArgumentError(None, None, "a negative row")
        return [x * 2]


def start(batcher, *requests):
    threads = [threading.Thread(target=batcher.run, args=(request,)) for request in requests]
    for thread in threads:
        thread.start()
    return threads


def behind_a_running_batch(settings, requests):
    """Bring requests while one batch runs in each thread; return the graph after everything was answered."""
    graph = Graph(closed=True)
    batcher = Batcher(graph, settings)
    first = [Asked([100.0 + i]) for i in range(settings.num_batch_threads)]
    threads = []
    for request in first:
        threads += start(batcher, request)
        graph.entered.acquire()
    for request in requests:
        batcher.run(request)  # returns at once: the running thread will take it
        assert not request.answered.is_set()
    graph.open.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert [request.result() for request in first] == [[200.0 + 2 * i] for i in range(len(first))]
    return graph


def test_what_waits_while_a_batch_runs_is_merged():
    requests = [Asked([float(i), i + 0.5]) for i in range(5)]
    graph = behind_a_running_batch(BatchSettings(max_batch_size=6, num_batch_threads=1), requests)
    assert graph.sizes == [1, 6, 4]
    assert [request.result() for request in requests] == [[2.0 * i, 2.0 * i + 1] for i in range(5)]


def test_only_a_bad_request_fails():
    requests = [Asked([float(i)]) for i in range(7)]
    requests[4] = Asked([-1.0])
    graph = behind_a_running_batch(BatchSettings(num_batch_threads=1), requests)
    for i, request in enumerate(requests):
        if i == 4:
            with pytest.raises(tf.errors.InvalidArgumentError, match="a negative row"):
                request.result()
        else:
            assert request.result() == [2.0 * i]
    assert graph.sizes == [1, 7, 3, 4, 2, 1, 1, 2]


def test_several_bad_requests_fail_each_for_itself_in_a_bounded_number_of_runs():
    requests = [Asked([float(i)]) for i in range(16)]
    for i in (0, 7, 8, 15):
        requests[i] = Asked([-1.0, float(i)])
    graph = behind_a_running_batch(BatchSettings(num_batch_threads=1), requests)
    for i, request in enumerate(requests):
        if i in (0, 7, 8, 15):
            with pytest.raises(tf.errors.InvalidArgumentError, match="a negative row"):
                request.result()
        else:
            assert request.result() == [2.0 * i]
    assert len(graph.sizes) <= 1 + 2 * len(requests)


def test_a_run_that_took_too_long_is_not_repeated():
    def late(feeds, fetches):
        graph(feeds, fetches)
        if len(feeds["x"]) > 1:
            raise tf.errors.DeadlineExceededError(None, None, "timed out")
        return [feeds["x"]]

    graph = Graph(closed=True)
    batcher = Batcher(late, BatchSettings(num_batch_threads=1))
    (thread,) = start(batcher, Asked([1.0]))
    graph.entered.acquire()
    requests = [Asked([2.0]), Asked([3.0])]
    for request in requests:
        batcher.run(request)
    graph.open.set()
    thread.join(20)
    assert graph.sizes == [1, 2]
    for request in requests:
        with pytest.raises(tf.errors.DeadlineExceededError, match="timed out"):
            request.result()


def test_after_a_bad_batch_only_those_who_still_wait_are_run_again():
    requests = [Asked([1.0]), Asked([-1.0]), Asked([3.0], over=1), Asked([4.0])]
    graph = behind_a_running_batch(BatchSettings(num_batch_threads=1), requests)
    assert graph.sizes == [1, 4, 2, 1, 1, 1]
    assert [requests[0].result(), requests[3].result()] == [[2.0], [8.0]]
    with pytest.raises(ServingError, match="nobody waits any more"):
        requests[2].result()


@pytest.mark.parametrize("settings", [None, BatchSettings(max_batch_size=4)])
def test_a_large_request_is_run_in_slices_and_answered_as_one(settings):
    graph = Graph()
    request = Asked(np.arange(10.0))
    Batcher(graph, settings, RowLimits(slice_rows=4)).run(request)
    assert graph.sizes == [4, 4, 2]
    assert request.result() == [2.0 * i for i in range(10)]
    assert request.checked == 2  # between slices
    text = Asked([1.0])
    text.call = Call({"x": np.array([b"a", b"bc", b""], object)}, ("y",), lambda _: b"", rows=3, batchable=True)
    Batcher(lambda feeds, _: [feeds["x"]], settings, RowLimits(slice_rows=2)).run(text)
    assert text.result() == [b"a", b"bc", b""]


def test_a_slice_is_filled_up_to_an_allowed_size():
    graph = Graph()
    settings = BatchSettings(max_batch_size=4, allowed_batch_sizes=(2, 4))
    request = Asked(np.arange(9.0))
    Batcher(graph, settings, RowLimits(slice_rows=4)).run(request)
    assert graph.sizes == [4, 4, 2]
    assert request.result() == [2.0 * i for i in range(9)]


def test_a_sliced_request_ends_when_nobody_waits_any_more():
    graph = Graph()
    request = Asked(np.arange(10.0), over=2)
    Batcher(graph, None, RowLimits(slice_rows=2)).run(request)
    assert graph.sizes == [2, 2]
    with pytest.raises(ServingError, match="nobody waits any more"):
        request.result()


def test_a_bad_slice_fails_the_whole_request():
    request = Asked([1.0, 2.0, -1.0, 3.0])
    Batcher(Graph(), None, RowLimits(slice_rows=2)).run(request)
    with pytest.raises(ServingError, match="a negative row") as caught:
        request.result()
    assert caught.value.code == Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: np.sum(x),  # no rows at all
        lambda x: x[:1],  # other rows
        lambda x: np.ones((len(x), int(x.max()) + 1), np.float32),  # as wide as its longest row
    ],
)
def test_answers_that_cannot_be_joined_are_run_as_one(answer):
    sizes = []

    def execute(feeds, fetches):
        sizes.append(len(feeds["x"]))
        return [np.asarray(answer(feeds["x"]))]

    request = Asked([1.0, 2.0, 3.0, 4.0])
    batcher = Batcher(execute, None, RowLimits(slice_rows=2))
    batcher.run(request)
    assert sizes[-1] == 4
    assert np.array_equal(request.result(), answer(np.float32([1, 2, 3, 4])))
    sizes.clear()
    batcher.run(Asked([1.0, 2.0, 3.0, 4.0]))  # it is remembered
    assert sizes == [4]


def test_signatures_that_do_not_count_rows_are_run_as_they_are():
    graph = Graph()
    Batcher(graph, None, RowLimits(slice_rows=2)).run(Asked([1.0, 2.0, 3.0], batchable=False))
    assert graph.sizes == [3]


def test_too_many_rows_are_refused():
    for limits, kwargs in ((RowLimits(2, 3), {}), (RowLimits(None, 3), {"lists_rows": True})):
        batcher = Batcher(Graph(), BatchSettings(), limits)
        message = "the request has 4 rows and the server accepts at most 3 per request: split the request, or start"
        with pytest.raises(ServingError, match=message) as caught:
            batcher.run(Asked(np.arange(4.0), **kwargs))
        assert caught.value.code == Code.INVALID_ARGUMENT
        fine = Asked(np.arange(3.0), **kwargs)
        batcher.run(fine)
        assert fine.result() == [0.0, 2.0, 4.0]
    # The first dimension of a model that nobody verified may be samples of a sound.
    sound = Asked(np.arange(4.0))
    Batcher(Graph(), None, RowLimits(None, 3)).run(sound)
    assert sound.result() == [0.0, 2.0, 4.0, 6.0]


def test_other_inner_shapes_and_types_are_not_merged():
    wide = Asked([[1.0, 2.0]])
    double = Asked([5.0])
    double.call = Call({"x": np.array([5.0])}, ("y",), lambda _: b"", rows=1, batchable=True)
    requests = [Asked([1.0]), wide, Asked([2.0]), double]
    graph = behind_a_running_batch(BatchSettings(num_batch_threads=1), requests)
    assert sorted(graph.sizes) == [1, 1, 1, 2]
    assert [request.result() for request in requests] == [[2.0], [[2.0, 4.0]], [4.0], [10.0]]


def test_requests_that_are_gone_are_not_run():
    requests = [Asked([1.0]), Asked([-1.0], wanted=False), Asked([3.0])]
    graph = behind_a_running_batch(BatchSettings(num_batch_threads=1), requests)
    assert graph.sizes == [1, 2]
    assert [requests[0].result(), requests[2].result()] == [[2.0], [6.0]]
    assert not requests[1].answered.is_set()
    alone = Graph()
    Batcher(alone, None).run(Asked([1.0], wanted=False))
    assert alone.sizes == []


def test_as_many_batches_run_as_there_are_threads():
    requests = [Asked([float(i)]) for i in range(4)]
    graph = behind_a_running_batch(BatchSettings(max_batch_size=2, num_batch_threads=3), requests)
    assert graph.sizes == [1, 1, 1, 2, 2]


def test_large_scalar_and_unsafe_requests_run_by_themselves():
    graph = Graph(closed=True)
    batcher = Batcher(graph, BatchSettings(max_batch_size=2, num_batch_threads=1))
    requests = [Asked([1.0, 2.0, 3.0]), Asked([4.0], batchable=False), Asked([5.0])]
    threads = start(batcher, *requests)
    for _ in requests:
        assert graph.entered.acquire(timeout=20)  # all run at once, none waits for another
    graph.open.set()
    for thread in threads:
        thread.join()
    assert sorted(graph.sizes) == [1, 1, 3]


def test_a_request_larger_than_a_batch_is_refused_unless_it_may_be_split():
    strict = Batcher(Graph(), BatchSettings(max_batch_size=2, enable_large_batch_splitting=False))
    with pytest.raises(ServingError, match="Task size 3 is larger than maximum input batch size 2") as caught:
        strict.run(Asked([1.0, 2.0, 3.0]))
    assert caught.value.code == Code.INVALID_ARGUMENT
    alone = Asked([1.0, 2.0, 3.0], batchable=False)
    strict.run(alone)
    assert alone.result() == [2.0, 4.0, 6.0]


def test_a_full_queue_refuses():
    graph = Graph(closed=True)
    batcher = Batcher(graph, BatchSettings(max_batch_size=2, max_enqueued_batches=2, num_batch_threads=1))
    (thread,) = start(batcher, Asked([0.0]))
    graph.entered.acquire()
    waiting = [Asked([1.0]), Asked([2.0, 3.0]), Asked([4.0])]
    for request in waiting:
        batcher.run(request)
    with pytest.raises(ServingError, match="queue to which this task was submitted is full") as caught:
        batcher.run(Asked([5.0]))
    assert caught.value.code == Code.RESOURCE_EXHAUSTED
    graph.open.set()
    thread.join()
    assert [request.result() for request in waiting] == [[2.0], [4.0, 6.0], [8.0]]
    later = Asked([6.0])
    batcher.run(later)  # there is room again
    assert later.result() == [12.0]


def test_a_timeout_waits_for_a_full_batch_and_no_longer():
    graph = Graph()
    hour = BatchSettings(max_batch_size=3, batch_timeout_micros=3_600_000_000, num_batch_threads=1)
    batcher = Batcher(graph, hour)
    requests = [Asked([float(i)]) for i in range(3)]
    for thread in start(batcher, *requests):
        thread.join(20)
        assert not thread.is_alive()
    assert graph.sizes == [3]
    assert [request.result() for request in requests] == [[0.0], [2.0], [4.0]]
    short = Batcher(graph, BatchSettings(max_batch_size=3, batch_timeout_micros=1000))
    lonely = Asked([7.0])
    short.run(lonely)
    assert lonely.result() == [14.0]


def test_batches_are_filled_up_to_an_allowed_size():
    requests = [Asked([1.0, 2.0]), Asked([3.0])]
    settings = BatchSettings(max_batch_size=8, num_batch_threads=1, allowed_batch_sizes=(4, 8))
    graph = behind_a_running_batch(settings, requests)
    assert graph.sizes == [4, 4]
    assert [request.result() for request in requests] == [[2.0, 4.0], [6.0]]


def test_outputs_that_are_not_rows_are_noticed_and_never_split():
    model = Servable(plain_models.shared_model())
    signature = model.signatures["unequal"]  # drops repeated values: 2 rows in, 1 row out
    feed, fetch = signature.inputs["x"].name, signature.outputs["y"].name
    gate = threading.Event()
    entered = threading.Event()
    sizes = []

    def execute(feeds, fetches):
        sizes.append(len(feeds[feed]))
        if not gate.is_set():
            entered.set()
            assert gate.wait(20)
        return model.execute(feeds, fetches)

    def asked(values):
        request = Asked(values)
        request.call = Call({feed: np.float32(values)}, (fetch,), lambda _: b"", rows=len(values), batchable=True)
        return request

    batcher = Batcher(execute, BatchSettings(num_batch_threads=1))
    first, second, third = asked([9.0]), asked([1.0, 1.0]), asked([1.0])
    (thread,) = start(batcher, first)
    assert entered.wait(20)
    batcher.run(second)
    batcher.run(third)
    gate.set()
    thread.join()
    assert (first.result(), second.result(), third.result()) == ([9.0], [1.0], [1.0])
    assert sizes == [1, 3, 2, 1]
    model.close()


def test_many_threads_get_their_own_answers():
    model = Servable(plain_models.shared_model())
    signature = model.signatures["plus"]
    feed, fetch = signature.inputs["x"].name, signature.outputs["y"].name
    batcher = Batcher(model.execute, BatchSettings(max_batch_size=8, num_batch_threads=2))
    requests = []
    for i in range(300):
        request = Asked([[float(i)]] * (1 + i % 3))
        request.call = Call({feed: request.call.feeds["x"]}, (fetch,), lambda _: b"", request.call.rows, True)
        requests.append(request)
    threads = [
        threading.Thread(target=lambda part: [batcher.run(request) for request in part], args=(requests[i::6],))
        for i in range(6)
    ]
    for thread in threads:
        thread.start()
    assert [request.result() for request in requests] == [[[i + 1.0]] * (1 + i % 3) for i in range(300)]
    for thread in threads:
        thread.join()
    model.close()


def test_errors_become_codes():
    assert as_serving_error(tf.errors.OutOfRangeError(None, None, "far")).code == Code.OUT_OF_RANGE
    assert as_serving_error(MemoryError()).code == Code.RESOURCE_EXHAUSTED
    assert as_serving_error(KeyError("x")).code == Code.INTERNAL
    same = ServingError(Code.NOT_FOUND, "x")
    assert as_serving_error(same) is same
