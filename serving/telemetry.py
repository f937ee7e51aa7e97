"""Telemetry: every metric of the gateway, declared once; labels are closed sets, never ids.

Kept in the gateway's own process and served there, so that `curl HOST:PORT/metrics` is the whole
way: Ray's agent would deliver the same numbers ten seconds later and take 0.1 GB for it.
"""

from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.adapters.feedback_log import FeedbackLog
from serving.adapters.shards import ShardedIndex
from serving.admission import AdaptiveLimit
from serving.cache_metrics import CacheCollector
from serving.recommend.cache import RankingCache
from serving.recommend.lookups import OfferCache
from serving.recommend.prices import PriceAnswer
from serving.recommend.request import Answer, CacheStatus, Degradation, Stage
from serving.recommend.surroundings import Surroundings
from serving.sharding import ShardCollector

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0)
_AGE_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 300.0, 900.0)
_ANSWER_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 20.0)
METHODS = ("Recommend", "RecommendMany", "Rerank", "LogEvents", "SuggestPrice", "Ask")

# Why a call was turned away: its priority had no room, or nobody's had; its caller asks too often;
# its client's deadline had passed.
SHED = ("product", "page", "batch", "shadow", "full", "rate", "late")

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, that nobody reads


class Telemetry:
    """The metrics of one replica."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "vitrine_requests", "Calls by method and gRPC status", ("method", "code"), **self._here
        )
        request_seconds = Histogram(
            "vitrine_request_seconds",
            "From arrival to reply",
            ("method",),
            buckets=_SECONDS,
            **self._here,
        )
        stage_seconds = Histogram(
            "vitrine_stage_seconds", "Per stage", ("stage",), buckets=_SECONDS, **self._here
        )
        degradations = Counter(
            "vitrine_degradations", "Answers that lacked something", ("reason",), **self._here
        )
        # Children are made beforehand: finding one by its labels costs more than counting.
        self._request_seconds = {name: request_seconds.labels(name) for name in METHODS}
        self._stage_seconds = {stage.value: stage_seconds.labels(stage.value) for stage in Stage}
        self._degradations = {reason: degradations.labels(reason.value) for reason in Degradation}
        self._prices = Counter(
            "vitrine_price_suggestions", "Suggested prices by outcome", ("outcome",), **self._here
        )
        lists = Counter(
            "vitrine_cache_lists", "Lists by what the cache did for them", ("status",), **self._here
        )
        self._cache_status = {each: lists.labels(each.value) for each in CacheStatus}
        self._cache_age = Histogram(
            "vitrine_cache_age_seconds",
            "Age of the rankings that lists were made from",
            buckets=_AGE_SECONDS,
            **self._here,
        )
        self._answers = Counter(
            "vitrine_asked", "Questions by what came of them", ("outcome",), **self._here
        )
        self._answer_seconds = Histogram(
            "vitrine_answer_seconds",
            "From the question to its first sentence, and to the end",
            ("until",),
            buckets=_ANSWER_SECONDS,
            **self._here,
        )
        self._left_out = Counter(
            "vitrine_sentences_left_out",
            "Written and not said, by reason",
            ("reason",),
            **self._here,
        )
        self._empty = Counter("vitrine_empty_answers", "Lists without a product", **self._here)
        self._relaxed = Counter(
            "vitrine_relaxed_answers", "Lists that left conditions of their filter", **self._here
        )
        shed = Counter("vitrine_shed", "Calls turned away by reason", ("reason",), **self._here)
        self._shed = {reason: shed.labels(reason) for reason in SHED}
        self._in_flight = Gauge("vitrine_calls_in_flight", "Calls under way", **self._here)
        self._serving = Gauge("vitrine_serving", "1: as health says SERVING", **self._here)
        self._release = Gauge("vitrine_release", "The release served", ("release",), **self._here)
        self._rule_book = Gauge(
            "vitrine_rule_book", "Rules of the book in force", ("version",), **self._here
        )
        self._rule_faults = Counter(
            "vitrine_rule_book_failures", "Rule books that could not be used", **self._here
        )

        self._questions = _QuestionCounts()
        self.registry.register(self._questions)
        self._shards = ShardCollector()
        self.registry.register(self._shards)

    @property
    def _here(self) -> dict[str, Any]:
        return {"registry": self.registry}

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Counts a call while it is under way."""
        self._in_flight.inc()
        try:
            yield
        finally:
            self._in_flight.dec()

    def finished(self, method: str, code: str, seconds: float) -> None:
        """A call ended with this gRPC status name."""
        self._requests.labels(method, code).inc()
        self._request_seconds[method].observe(seconds)

    def answered(self, answer: Answer) -> None:
        """A list was made."""
        for stage, ms in answer.stage_ms.items():
            self._stage_seconds[stage].observe(ms / 1000.0)
        for _, reason in answer.degraded:
            self._degradations[reason].inc()
        if len(answer.slate) == 0:
            self._empty.inc()
        if answer.relaxed:
            self._relaxed.inc()
        self._cache_status[answer.cache.status].inc()
        if answer.cache.status in (CacheStatus.HIT, CacheStatus.PARTIAL):
            self._cache_age.observe(answer.cache.age_ms / 1000.0)

    def shed(self, reason: str) -> None:
        """A call was turned away for a reason of `SHED`."""
        self._shed[reason].inc()

    def watch_admission(self, limit: AdaptiveLimit) -> None:
        """Shows how many lists may be under way, and how many are."""
        allowed = Gauge("vitrine_lists_allowed", "Lists that may be under way", **self._here)
        allowed.set_function(lambda: limit.limit)
        under_way = Gauge("vitrine_lists_under_way", "Lists under way", **self._here)
        under_way.set_function(lambda: limit.under_way)

    def suggested(self, answer: PriceAnswer) -> None:
        """Prices were suggested."""
        for stage, ms in answer.stage_ms.items():
            self._stage_seconds[stage].observe(ms / 1000.0)
        for _, reason in answer.degraded:
            self._degradations[reason].inc()
        outcomes = Counts(each.value for each in answer.suggestions.outcomes)
        outcomes.update(failure.value for failure in answer.failures.values())
        for outcome, count in outcomes.items():
            self._prices.labels(outcome).inc(count)

    def told(
        self, outcome: str, left_out: Mapping[str, int], stage_ms: Mapping[str, float]
    ) -> None:
        """A question was answered or refused; sentences were left out for these reasons."""
        self._answers.labels(outcome).inc()
        for until in ("first_sentence", "total"):
            if until in stage_ms:
                self._answer_seconds.labels(until).observe(stage_ms[until] / 1000.0)
        for reason, count in left_out.items():
            self._left_out.labels(reason).inc(count)

    def watch_serving(self, is_well: Callable[[], bool]) -> None:
        """Shows what health says, for whoever cannot speak the door's TLS."""
        self._serving.set_function(is_well)

    def serves(self, release: str) -> None:
        """This release is the one being served now."""
        self._release.clear()
        self._release.labels(release).set(1)

    def goes_by(self, version: str, rules: int) -> None:
        """This rule book is in force now."""
        self._rule_book.clear()
        self._rule_book.labels(version).set(rules)

    def refused_rules(self) -> None:
        """A rule book could not be used; the one before stays."""
        self._rule_faults.inc()

    def watch_feedback(self, log: FeedbackLog) -> None:
        """Shows the log's own counts."""
        self.registry.register(_FeedbackCounts(log))

    def watch_offers(self, offers: OfferCache) -> None:
        """Shows what became of the questions to the shop's systems; replaces the cache before."""
        self._questions.of = offers

    def watch_index(self, index: object) -> None:
        """Shows which share of it answers, if it lies in shards; replaces the one before."""
        self._shards.of = index if isinstance(index, ShardedIndex) else None

    def watch_surroundings(self, surroundings: Surroundings) -> None:
        """Shows whether weather and search trends are known."""
        self.registry.register(_SurroundingsState(surroundings))

    def watch_cache(self, cache: RankingCache) -> None:
        """Shows the cache's own counts."""
        self.registry.register(CacheCollector(cache))

    def serve_metrics(self, host: str, port: int) -> int:
        """Answers `/metrics` on `host`; the port it got. Raises OSError if the port is taken."""
        server, _ = start_http_server(port, addr=host, registry=self.registry)
        return int(server.server_port)


class _FeedbackCounts(Collector):
    """Reads the feedback log's counts whenever somebody asks for metrics."""

    def __init__(self, log: FeedbackLog) -> None:
        self._log = log

    def collect(self) -> Iterable[Metric]:
        """One family each."""
        counts = self._log.counts
        for name, help_text, value in (
            ("events", "Events acknowledged", counts.events),
            ("event_duplicates", "Events acknowledged before", counts.duplicates),
            ("impressions", "Shown lists logged", counts.impressions),
            ("lost_impressions", "Shown lists that could not be logged", counts.lost_impressions),
            ("lost_events", "Dead-end searches that could not be logged", counts.lost_events),
            ("feedback_failures", "Groups that could not be written", counts.failed_groups),
            ("damaged_histories", "Histories that began anew", counts.damaged_histories),
        ):
            yield CounterMetricFamily(f"vitrine_{name}", help_text, value)
        for name, help_text, waiting in (
            ("feedback_queued_batches", "Calls waiting for the disk", self._log.queued_batches),
            ("feedback_queued_impressions", "Lists not written yet", self._log.queued_impressions),
            (
                "histories_behind",
                "1: events wait for the histories",
                self._log.histories_are_behind,
            ),
        ):
            yield GaugeMetricFamily(f"vitrine_{name}", help_text, waiting)


class _QuestionCounts(Collector):
    """Reads an offer cache's counts whenever somebody asks for metrics."""

    def __init__(self) -> None:
        self.of: OfferCache | None = None  # None: nothing is served yet

    def collect(self) -> Iterable[Metric]:
        """By system, which the reasons of degraded answers do not always tell apart."""
        asked = CounterMetricFamily(
            "vitrine_questions", "Bulk questions to the shop's systems", labels=("system",)
        )
        failed = CounterMetricFamily(
            "vitrine_question_failures", "Of them, without a usable answer", labels=("system",)
        )
        second = CounterMetricFamily(
            "vitrine_second_calls", "Hedges and retries beyond them", labels=("system",)
        )
        left_alone = GaugeMetricFamily(
            "vitrine_system_left_alone",
            "1: it keeps failing and is only probed",
            labels=("system",),
        )
        counts = {} if self.of is None else self.of.questions
        for system, questions in counts.items():
            asked.add_metric((system,), questions.asked)
            failed.add_metric((system,), questions.failed)
            second.add_metric((system,), questions.second_calls)
            left_alone.add_metric((system,), questions.is_left_alone)
        return asked, failed, second, left_alone


class _SurroundingsState(Collector):
    """Reads what is known of the surroundings whenever somebody asks for metrics."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings

    def collect(self) -> Iterable[Metric]:
        """By feed."""
        known = GaugeMetricFamily(
            "vitrine_context_known", "1: told, and young enough to count", labels=("feed",)
        )
        known.add_metric(("weather",), self._surroundings.weather_is_known)
        known.add_metric(("trends",), self._surroundings.trends_are_known)
        yield known
