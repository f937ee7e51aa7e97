"""What descriptions are scored by: the trained voice, the measures, the shop's tables."""

import asyncio
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loadtest.benchmarks.true_pages import world_facts
from serving.adapters.brand_files import read_brand
from serving.adapters.product_facts import SnapshotFacts
from serving.adapters.style_files import read_styles
from serving.adapters.text_measures import TextMeasures
from shop.errors import DependencyUnavailable, NotFound, SettingsRejected
from simulator.catalogue import make_products
from simulator.settings import WorldSettings
from simulator.specifications import specifications_table
from simulator.tables import products_table
from tests.unit.described_products import a_page
from training.brand_voice import BRAND_FILE, train_brand_voice, write_brand_voice


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    products = make_products(WorldSettings.small())
    pq.write_table(products_table(products), folder / "products.parquet")
    pq.write_table(specifications_table(products, 7), folder / "specifications.parquet")
    clicks = pa.table({"product_id": ["P000001", "P000001", "P000002"], "type": ["click"] * 3})
    pq.write_table(clicks, folder / "events.parquet")
    return folder


def test_the_voice_is_told_on_products_and_in_manners_never_seen(
    shop: Path, tmp_path: Path
) -> None:
    model, report = train_brand_voice(pq.read_table(shop / "products.parquet").slice(0, 300))
    assert report.auc >= 0.98
    assert report.least_auc >= 0.7
    write_brand_voice(tmp_path, model, report)
    again = read_brand(tmp_path / BRAND_FILE)
    facts = world_facts(1)[0]
    assert again.score("Here it is.", facts) == model.score("Here it is.", facts)
    assert again.score("OMG get yours NOW!!! Don't miss out!", facts) < 0.5


def test_a_brand_file_that_is_none_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(DependencyUnavailable):
        read_brand(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK not a model")
    with pytest.raises(DependencyUnavailable):
        read_brand(tmp_path / "bad.npz")


def test_language_and_reading_grade_are_measured() -> None:
    measures = TextMeasures()
    page = a_page()
    english = measures.measure(page.prose, page.text)
    assert english.language == "en"
    assert 0 < english.grade < 14
    german = "Das Regal aus Eiche bringt Ruhe in Ihr Büro und trägt alle Ihre Bücher."
    assert measures.measure(german, german).language == "de"
    hard = "Notwithstanding considerable institutional reservations, interdisciplinary"
    hard += " methodological investigations necessitate comprehensive reconsideration."
    assert measures.measure(hard, hard).grade > english.grade
    assert measures.measure("", "").grade == 0.0


def test_facts_come_from_the_shops_tables(shop: Path) -> None:
    facts = SnapshotFacts(shop, shop / "specifications.parquet")
    first = asyncio.run(facts.product("P000001"))
    assert first.facts == world_facts(1)[0]
    assert (first.traffic, first.traffic_share) == (2.0, 1.0)
    assert asyncio.run(facts.product("P000002")).traffic_share == 0.5
    assert first.margin > 0
    with pytest.raises(NotFound):
        asyncio.run(facts.product("P999999"))


def test_a_categorys_facts_come_from_its_products(shop: Path) -> None:
    tables = SnapshotFacts(shop, shop / "specifications.parquet")
    first = asyncio.run(tables.product("P000001"))
    category = asyncio.run(tables.category(first.facts.category))
    told = {line.name: line.text for line in category.facts.lines}
    assert int(told["products"]) >= 1
    assert first.facts.brand in told["brands"]
    assert category.traffic >= first.traffic
    assert 0.0 <= category.traffic_share <= 1.0
    whole = asyncio.run(tables.whole_shop())
    assert (whole.traffic, whole.facts.lines) == (3.0, ())
    with pytest.raises(NotFound):
        asyncio.run(tables.category("no-such-category"))


def test_without_specifications_the_catalogues_attributes_are_the_facts(shop: Path) -> None:
    product = asyncio.run(SnapshotFacts(shop, None).product("P000001"))
    names = [attribute.name for attribute in product.facts.attributes]
    assert names == ["material", "use", "season", "style", "colour"]


def test_a_house_style_is_read_and_categories_differ_from_it(tmp_path: Path) -> None:
    file = tmp_path / "style.toml"
    file.write_text('banned = ["naff"]\n[category.sofas]\nkeywords = ["sofa"]\nmost_grade = 9\n')
    house, own = read_styles(file)
    assert house.banned == ("naff",)
    assert own["sofas"].banned == ("naff",)
    assert own["sofas"].keywords == ("sofa",)
    assert own["sofas"].most_grade == 9.0


@pytest.mark.parametrize(
    "text", ["baned = []", "banned = 3", "is_strict = 1", "[category]\nsofas = 1", "= x"]
)
def test_a_wrong_style_names_its_key(tmp_path: Path, text: str) -> None:
    file = tmp_path / "style.toml"
    file.write_text(text)
    with pytest.raises(SettingsRejected, match="style"):
        read_styles(file)
