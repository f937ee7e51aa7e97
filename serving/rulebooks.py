"""Rule books: keeps the one that is in force in this replica, and takes up a new one whole or not.

The file is looked at off the hot path. A faulty one is logged, counted and told to `vitrine
status`; the book before stays. A copy of the last accepted book lies in the state folder: should
the file be faulty at the next start, that copy holds, so that a typing error never switches a legal
exclusion off. With neither, the start is refused.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from serving.adapters.rule_files import RuleFile, RuleText, keep_copy, zone_named
from serving.recommend.call import Deps
from serving.recommend.rules import FittedBook
from serving.rules_sharing import RuleSharing, SharedBook
from serving.rules_state import RulesState, rules_state_file
from serving.settings import Settings
from serving.telemetry import Telemetry
from shop.catalogue import Catalogue
from shop.compiled_rules import compile_book
from shop.errors import DependencyError, RuleBookRejected, SettingsRejected
from shop.rulebook import EMPTY_BOOK, RuleBook
from shop.rulebook_checks import unknown_names, unknown_products
from shop.rulebook_reader import read_rulebook, refuse
from shop.surroundings import NOTHING_TRENDS, TitleWords, Trending

logger = logging.getLogger(__name__)

_PREPARE_AHEAD_MS = 60_000  # a campaign's first calls find its rules worked out
_MAX_TOLD = 20
_NOT_SHARED = "cannot be shared with the other replicas"


class RuleBooks:
    """The rule book of one replica."""

    def __init__(
        self,
        settings: Settings,
        telemetry: Telemetry,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        sharing: RuleSharing | None = None,
    ) -> None:
        """`sharing`: how replicas agree on one book. None: each goes by the file it sees."""
        self._settings = settings
        self._sharing = sharing
        self._telemetry = telemetry
        self._now_ms = now_ms
        self._file = RuleFile(settings.rules_file)
        self._book = EMPTY_BOOK
        self._since_ms = now_ms()
        self._faults: tuple[str, ...] = ()
        self._told: RulesState | None = None
        self._prepared_ms = 0
        self._terms: tuple[str, ...] = ()  # that people look for, as the book is fitted
        self._words: tuple[Catalogue, TitleWords] | None = None  # made for books that want it

    async def open(self, deps: Deps) -> None:
        """Puts the book in force that the start finds.

        Raises RuleBookRejected if it is faulty and no earlier one was accepted, and
        SettingsRejected if a file was named that is not there.
        """
        catalogue = deps.release.tables.catalogue
        try:
            text = await asyncio.to_thread(self._file.read)
            self._book = await asyncio.to_thread(_judged, text, self._file.path, catalogue)
            if self._sharing is None:
                self._keep(text.raw)
            elif not self._sharing.was_offered(text):
                self._sharing.propose(text)
        except FileNotFoundError:
            _check_absence(self._settings)
        except RuleBookRejected as error:
            self._refuse(error)
            self._book = await asyncio.to_thread(_accepted_before, self._settings, error)
        if self._sharing is not None:
            await self._open_shared(self._sharing)
        await self.fit(deps)

    async def _open_shared(self, sharing: RuleSharing) -> None:
        """What the others go by; if that cannot be known, what this replica last went by."""
        try:
            news = await asyncio.to_thread(sharing.news)
        except DependencyError as error:
            logger.error("the rule book of the others is not known yet: %s", error)
            accepted = await asyncio.to_thread(_accepted, self._settings)
            self._book = self._book if accepted is None else accepted
            return
        book = None if news is None else await self._usable(sharing, news)
        if news is not None and book is not None:
            self._book = book
            sharing.take_up(news)
            self._keep(news.raw)

    async def fit(self, deps: Deps) -> None:
        """Puts the present book in force for this release."""
        self._enforce(await self._fit(self._book, deps), deps)

    async def _fit(self, book: RuleBook, deps: Deps) -> FittedBook:
        self._terms = deps.surroundings.trending_terms
        return await asyncio.to_thread(self._fitted, book, deps.release.tables.catalogue)

    def _enforce(self, fitted: FittedBook, deps: Deps) -> None:
        deps.rules.enforce(fitted)
        book = fitted.compiled.book
        self._telemetry.goes_by(book.version, len(book.rules))
        self._tell(deps.release.tables.catalogue)

    async def look(self, deps: Deps) -> None:
        """Waits a while, then takes up a new book if there is one. Never raises for its faults."""
        await asyncio.sleep(self._settings.rules.look_every_s)
        catalogue = deps.release.tables.catalogue
        try:
            text = await asyncio.to_thread(self._file.changed)
            if text is not None:
                book = await asyncio.to_thread(_judged, text, self._file.path, catalogue)
                self._faults = ()
                if self._sharing is None:
                    self._take_up(book, text.raw)
                else:
                    self._sharing.propose(text)
        except FileNotFoundError:
            gone = "is gone; for no rules, leave a book without any"
            self._refuse(RuleBookRejected(str(self._file.path), (gone,)))
        except RuleBookRejected as error:
            self._refuse(error)
        if self._sharing is not None:
            await self._follow(self._sharing, deps)
        # Also if the release changed while we read.
        if deps.rules.book is not self._book or _trends_have_moved(deps):
            await self.fit(deps)
        elif self._told is not None and self._told.faults != self._faults:
            self._tell(catalogue)
        await self._prepare(deps)

    async def _follow(self, sharing: RuleSharing, deps: Deps) -> None:
        """Takes up the book that the others go by, at the moment at which they do."""
        try:
            news = await asyncio.to_thread(sharing.news)
        except DependencyError as error:
            fault = f"{_NOT_SHARED}: {error}"
            if not any(_NOT_SHARED in each for each in self._faults):
                self._faults = (*self._faults, fault)
                logger.error("the rule book before stays: %s", fault)
            return
        self._faults = tuple(each for each in self._faults if _NOT_SHARED not in each)
        book = None if news is None else await self._usable(sharing, news)
        if news is None or book is None:
            return
        fitted = await self._fit(book, deps)
        await asyncio.sleep(sharing.waits_s(news))
        self._take_up(book, news.raw)
        sharing.take_up(news)
        self._enforce(fitted, deps)

    async def _usable(self, sharing: RuleSharing, news: SharedBook) -> RuleBook | None:
        """Whatever the present release knows of its names: all are to go by the same book."""
        try:
            return await asyncio.to_thread(judged, news.raw, "the shared rule book", None)
        except RuleBookRejected as error:
            sharing.refuse(news)
            self._refuse(error)
            return None

    def _take_up(self, book: RuleBook, raw: bytes) -> None:
        self._book, self._since_ms = book, self._now_ms()
        self._keep(raw)
        logger.info("rule book %s: %d rules", book.version, len(book.rules))

    async def _prepare(self, deps: Deps) -> None:
        """Before a campaign begins or ends, what holds then is worked out."""
        fitted, now_ms = deps.rules.fitted, self._now_ms()
        if fitted is not None and now_ms - self._prepared_ms >= _PREPARE_AHEAD_MS // 2:
            self._prepared_ms = now_ms
            fitted.keep(await asyncio.to_thread(fitted.work_out, now_ms + _PREPARE_AHEAD_MS))

    def _fitted(self, book: RuleBook, catalogue: Catalogue) -> FittedBook:
        trending = self._trending(catalogue, self._terms) if book.asks_trends else NOTHING_TRENDS
        fitted = FittedBook(compile_book(book, catalogue, trending))
        fitted.keep(fitted.work_out(self._now_ms()))
        return fitted

    def _trending(self, catalogue: Catalogue, terms: tuple[str, ...]) -> Trending:
        if self._words is None or self._words[0] is not catalogue:
            self._words = (catalogue, TitleWords(catalogue))
        return Trending(frozenset(terms), self._words[1].matches(terms))

    def _refuse(self, error: RuleBookRejected) -> None:
        self._faults = error.faults
        self._telemetry.refused_rules()
        logger.error("the rule book before stays (%s):\n%s", self._book.version or "none", error)

    def _keep(self, raw: bytes) -> None:
        try:
            keep_copy(raw, self._settings.accepted_rules_file)
        except OSError as error:
            logger.error("no copy of the rule book could be kept: %s", error)

    def _around(self) -> tuple[str, ...]:
        """What the book asks of the shop's surroundings, and what is known."""
        feeds, rules = self._settings.feeds, self._book.rules
        told = []
        if not feeds.weather and any(rule.scope.weathers for rule in rules):
            told.append("rules ask for the weather, but feeds.weather is not set: none holds")
        if not feeds.trends and self._book.asks_trends:
            told.append("rules ask for search trends, but feeds.trends is not set: none holds")
        elif self._book.asks_trends:
            told.append(f"people look for: {', '.join(self._terms) or 'nothing, or not known'}")
        return tuple(told)

    def _tell(self, catalogue: Catalogue) -> None:
        self._told = RulesState(
            file=str(self._file.path),
            version=self._book.version,
            rules=len(self._book.rules),
            since_ms=self._since_ms,
            faults=self._faults[:_MAX_TOLD],
            notes=(*self._around(), *notes_on(self._book, catalogue))[:_MAX_TOLD],
        )
        path = rules_state_file(self._settings.state_dir)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            keep_copy((json.dumps(asdict(self._told), indent=2) + "\n").encode(), path)
        except OSError as error:
            logger.error("the state of the rule book cannot be told: %s", error)


def _trends_have_moved(deps: Deps) -> bool:
    fitted = deps.rules.fitted
    if fitted is None or not fitted.compiled.book.asks_trends:
        return False
    return fitted.compiled.trending.terms != frozenset(deps.surroundings.trending_terms)


def notes_on(book: RuleBook, catalogue: Catalogue) -> list[str]:
    """What a book names and the catalogue does not have, as sentences."""
    products = unknown_products(book, catalogue)
    unknown = [f"rule {each} is no product of this catalogue" for each in products]
    return [str(fault) for fault in unknown_names(book, catalogue)] + unknown


def judged(raw: bytes, file: str, catalogue: Catalogue | None) -> RuleBook:
    """The book. Raises RuleBookRejected; without a catalogue, names are not judged."""
    book = read_rulebook(raw, file=file, zone_named=zone_named)
    if catalogue is not None:
        refuse(file, unknown_names(book, catalogue))
    return book


def _judged(text: RuleText, path: Path, catalogue: Catalogue | None) -> RuleBook:
    return judged(text.raw, str(path), catalogue)


def _accepted_before(settings: Settings, refused: RuleBookRejected) -> RuleBook:
    """The copy, whatever the present release knows of its names. Raises `refused` without one."""
    book = _accepted(settings)
    if book is None:
        raise refused
    return book


def _accepted(settings: Settings) -> RuleBook | None:
    """The copy of the last accepted book; None if there is none that can be used."""
    file = RuleFile(settings.accepted_rules_file)
    try:
        return _judged(file.read(), file.path, None)
    except (FileNotFoundError, RuleBookRejected):
        return None


def _check_absence(settings: Settings) -> None:
    if settings.rules.is_named:
        raise SettingsRejected(
            f"rules.file = {str(settings.rules.file)!r}: {settings.rules_file} is not there;"
            " name a rule book that is, or leave the setting out"
        )


def check_start(settings: Settings) -> None:
    """Says at once what a replica would say later: raises RuleBookRejected or SettingsRejected."""
    file = RuleFile(settings.rules_file)
    try:
        _judged(file.read(), file.path, None)
    except FileNotFoundError:
        _check_absence(settings)
    except RuleBookRejected as error:
        _accepted_before(settings, error)
