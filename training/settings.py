"""Settings of a training job: one frozen value, chosen by what the data is."""

from dataclasses import dataclass, field, replace

from shop.events import EventType
from training.algorithms.item_item import ItemItemSettings
from training.algorithms.popularity import PopularitySettings
from training.algorithms.ranker import RankerSettings
from training.algorithms.text_encoder import TextEncoderSettings
from training.algorithms.two_tower import TwoTowerSettings
from training.data.snapshot import SnapshotManifest
from training.split import SplitSettings
from training.wishes import WishSettings

_SEQUENCE_HORIZON_DAYS = 30.0


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How everything is trained. The defaults are for a storefront's log with impressions."""

    history_length: int = 50
    vector_size: int = 64
    test_questions: int = 4000  # of each protocol
    split: SplitSettings = field(default_factory=SplitSettings)
    item_item: ItemItemSettings = field(default_factory=ItemItemSettings)
    popularity: PopularitySettings = field(default_factory=PopularitySettings)
    two_tower: TwoTowerSettings = field(default_factory=TwoTowerSettings)
    ranker: RankerSettings = field(default_factory=RankerSettings)
    search: TextEncoderSettings = field(default_factory=TextEncoderSettings)


def settings_for(manifest: SnapshotManifest) -> TrainingSettings:
    """What suits the data: a log of visits, or only orders with weeks between them."""
    settings = TrainingSettings()
    if EventType.IMPRESSION in manifest.event_types():
        return settings
    two_tower = replace(
        settings.two_tower,
        epochs=8,  # 14,000 sessions an epoch: the best is the sixth to eighth
        steps=replace(settings.two_tower.steps, batch_size=256),
        protocol="window",
        wishes=WishSettings(horizon_days=_SEQUENCE_HORIZON_DAYS),
    )
    # 50 finds 1 % less, 200 takes twice as long for 1 % more.
    return replace(settings, history_length=100, two_tower=two_tower)


def quick(settings: TrainingSettings) -> TrainingSettings:
    """The same with little of everything: for trying out and for tests, not for shipping."""
    return replace(
        settings,
        test_questions=500,
        item_item=replace(settings.item_item, neighbour_count=50),
        two_tower=replace(
            settings.two_tower,
            epochs=2,
            question_limit=300,
            token_buckets=4096,
            steps=replace(settings.two_tower.steps, batch_size=128),
        ),
        ranker=RankerSettings.quick(),
        search=replace(settings.search, rounds=1, batch_size=128),
    )
