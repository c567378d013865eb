"""Ways to measure a function, each as its makers offer it; what one needs it imports itself."""

from __future__ import annotations

import contextlib
import inspect
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

Function = Callable[..., Any]
DAEMON = os.path.join(os.path.dirname(__file__), "daemon.py")


class Way:
    """Measures nothing, for comparison; the base of the others.

    `port` is one of UDP on this machine, for those that send there what they measure.
    """

    measures = False
    most = 0  # calls that `within` may surround, if there is a limit
    patience = 0.0  # seconds after which `recorded` tells of a call

    def __init__(self, port: int) -> None:
        self.port = port

    def listen(self) -> None:
        """Send nothing to anybody else, but keep what `recorded` needs."""

    def decorate(self, function: Function) -> Function:
        """The function, measured."""
        return function

    def within(self) -> contextlib.AbstractContextManager[object]:
        """What surrounds the calls and is not a part of them, such as a request."""
        return contextlib.nullcontext()

    def recorded(self) -> float:
        """How many seconds the calls have lasted up to now by what was measured."""
        raise NotImplementedError


class ToStatsd(Way):
    """What ends at a statsd daemon; there is one that reads all of it."""

    measures = True
    patience = 3.0

    def listen(self) -> None:
        command = [sys.executable, DAEMON, str(self.port)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._daemon = subprocess.Popen(command, env={}, text=True, **pipes)
        assert self._daemon.stdout is not None
        self._daemon.stdout.readline()

    def recorded(self) -> float:
        assert self._daemon.stdin is not None
        assert self._daemon.stdout is not None
        self._daemon.stdin.write("how many?\n")
        self._daemon.stdin.flush()
        return float(self._daemon.stdout.readline()) / 1000


class Tach(ToStatsd):
    """Has measured it already: the program was started by tach."""


class Statsd(ToStatsd):
    """The decorator of the client statsd."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        import statsd

        self.decorate = statsd.StatsClient("127.0.0.1", port).timer("calls")


class Dogstatsd(ToStatsd):
    """The decorator of Datadog's client of its own statsd."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        from datadog.dogstatsd import DogStatsd

        self._client = DogStatsd(host="127.0.0.1", port=port)

    def decorate(self, function: Function) -> Function:
        decorated: Function = self._client.timed("calls", use_ms=True)(function)
        return decorated


class Wrapt(Way):
    """A wrapper that does nothing."""

    def decorate(self, function: Function) -> Function:
        import wrapt

        def pass_on(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
            return wrapped(*args, **kwargs)

        wrapper: Function = wrapt.FunctionWrapper(function, pass_on)
        return wrapper


class CProfile(Way):
    """Python's profiler; it measures all calls, decorated or not."""

    measures = True

    def listen(self) -> None:
        import cProfile

        self._profile = cProfile.Profile()

    def within(self) -> contextlib.AbstractContextManager[object]:
        return self._profile

    def recorded(self) -> float:
        found = self._profile.getstats()
        return sum(each.totaltime for each in found if "lasting" in str(each.code))


class Yappi(Way):
    """The profiler yappi, by the wall clock."""

    measures = True

    def listen(self) -> None:
        import yappi

        self._yappi = yappi
        yappi.set_clock_type("wall")

    @contextlib.contextmanager
    def within(self) -> Iterator[None]:
        self._yappi.start()
        yield
        self._yappi.stop()

    def recorded(self) -> float:
        found = self._yappi.get_func_stats()
        return float(sum(each.ttot for each in found if "lasting" in each.name))


class Prometheus(Way):
    """A histogram of prometheus_client."""

    measures = True

    def __init__(self, port: int) -> None:
        super().__init__(port)
        import prometheus_client

        self.decorate = prometheus_client.Histogram("calls", "Calls").time()

    def recorded(self) -> float:
        from prometheus_client import REGISTRY

        return REGISTRY.get_sample_value("calls_sum") or 0.0


class OtelHistogram(Way):
    """OpenTelemetry's histogram. There is no decorator for it, so this is one."""

    measures = True

    def __init__(self, port: int) -> None:
        super().__init__(port)
        from opentelemetry import metrics

        self._metrics = metrics
        self._record = metrics.get_meter("calls").create_histogram("calls", "s").record

    def listen(self) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        self._reader = InMemoryMetricReader()
        self._metrics.set_meter_provider(MeterProvider([self._reader]))

    def decorate(self, function: Function) -> Function:
        record, clock = self._record, time.perf_counter
        if inspect.iscoroutinefunction(function):

            async def awaited(*args: Any, **kwargs: Any) -> Any:
                began = clock()
                try:
                    return await function(*args, **kwargs)
                finally:
                    record(clock() - began)

            return awaited
        if inspect.isgeneratorfunction(function):

            def generated(*args: Any, **kwargs: Any) -> Any:
                began = clock()
                try:
                    return (yield from function(*args, **kwargs))
                finally:
                    record(clock() - began)

            return generated

        def called(*args: Any, **kwargs: Any) -> Any:
            began = clock()
            try:
                return function(*args, **kwargs)
            finally:
                record(clock() - began)

        return called

    def recorded(self) -> float:
        found = self._reader.get_metrics_data()
        return sum(
            point.sum
            for resource in (found.resource_metrics if found else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        )


class OtelSpan(Way):
    """OpenTelemetry's decorator that makes a span, within another one."""

    measures = True
    most = 400

    def __init__(self, port: int) -> None:
        super().__init__(port)
        from opentelemetry import trace

        self._trace = trace
        self._tracer = trace.get_tracer("calls")
        self._seconds = 0.0

    def listen(self) -> None:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

        def export(_exporter: object, spans: Any) -> None:
            lasted = (each.end_time - each.start_time for each in spans if each.parent)
            self._seconds += sum(lasted) / 1e9

        exporter = type("Nowhere", (SpanExporter,), {"export": export})()
        self._provider = TracerProvider()
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._trace.set_tracer_provider(self._provider)

    def decorate(self, function: Function) -> Function:
        decorated: Function = self._tracer.start_as_current_span("calls")(function)
        return decorated

    def within(self) -> contextlib.AbstractContextManager[object]:
        return self._tracer.start_as_current_span("request")

    def recorded(self) -> float:
        self._provider.force_flush()
        return self._seconds


class Ddtrace(Way):
    """Datadog's decorator that makes a span, within another one."""

    measures = True
    most = 250  # it sends a trace in parts if there are more

    def __init__(self, port: int) -> None:
        super().__init__(port)
        from ddtrace.trace import tracer

        self._tracer = tracer
        self._seconds = 0.0

    def listen(self) -> None:
        from ddtrace.trace import TraceFilter

        def process_trace(_filter: object, trace: Any) -> None:
            self._seconds += sum(span.duration for span in trace if span.name == "calls")

        nowhere = type("Nowhere", (TraceFilter,), {"process_trace": process_trace})()
        self._tracer.configure(trace_processors=[nowhere])

    def decorate(self, function: Function) -> Function:
        return self._tracer.wrap("calls")(function)

    def within(self) -> contextlib.AbstractContextManager[object]:
        return self._tracer.trace("request")

    def recorded(self) -> float:
        return self._seconds


class DdtraceOutside(Ddtrace):
    """The same without another one: each call is a trace of its own."""

    most = 0

    def within(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()


class NewRelic(Way):
    """New Relic's function trace, within a transaction."""

    measures = True
    most = 400

    def __init__(self, port: int) -> None:
        super().__init__(port)
        import newrelic.agent

        self._agent = newrelic.agent

    def listen(self) -> None:
        self._agent.initialize()
        self._application = self._agent.register_application(timeout=10.0)

    def decorate(self, function: Function) -> Function:
        decorated: Function = self._agent.function_trace()(function)
        return decorated

    def within(self) -> contextlib.AbstractContextManager[object]:
        task: contextlib.AbstractContextManager[object] = self._agent.BackgroundTask(
            self._application, "calls"
        )
        return task

    def recorded(self) -> float:
        from newrelic.core.agent import agent_instance

        engine = agent_instance().application(self._application.name)._stats_engine
        return sum(
            stats.total_call_time
            for (name, scope), stats in engine.stats_table.items()
            if not scope and "lasting" in name
        )


class NewRelicOutside(NewRelic):
    """The same without a transaction: it does not measure then."""

    measures = False
    most = 0

    def within(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()


class Elastic(Way):
    """Elastic APM's decorators that make a span, within a transaction."""

    measures = True
    most = 400  # it drops those of a transaction beyond 500

    def __init__(self, port: int) -> None:
        super().__init__(port)
        import elasticapm

        self._elastic = elasticapm
        self._seconds = 0.0

    def listen(self) -> None:
        def queue(_client: object, kind: str, data: Any, **_: Any) -> None:
            if kind == "span":
                self._seconds += data["duration"] / 1000

        client = type("Nowhere", (self._elastic.Client,), {"queue": queue})
        self._client = client(
            service_name="calls",
            server_url="http://127.0.0.1:9",
            cloud_provider="none",
            central_config=False,
            metrics_interval="0s",
        )

    def decorate(self, function: Function) -> Function:
        is_coroutine = inspect.iscoroutinefunction(function)
        name = "async_capture_span" if is_coroutine else "capture_span"
        decorated: Function = getattr(self._elastic, name)("calls")(function)
        return decorated

    @contextlib.contextmanager
    def within(self) -> Iterator[None]:
        self._client.begin_transaction("request")
        yield
        self._client.end_transaction("calls")

    def recorded(self) -> float:
        return self._seconds


WAYS: dict[str, type[Way]] = {
    "bare": Way,
    "tach": Tach,
    "wrapt": Wrapt,
    "cprofile": CProfile,
    "yappi": Yappi,
    "statsd": Statsd,
    "dogstatsd": Dogstatsd,
    "prometheus": Prometheus,
    "otel-histogram": OtelHistogram,
    "otel-span": OtelSpan,
    "ddtrace": Ddtrace,
    "ddtrace-outside": DdtraceOutside,
    "newrelic": NewRelic,
    "newrelic-outside": NewRelicOutside,
    "elastic": Elastic,
}
