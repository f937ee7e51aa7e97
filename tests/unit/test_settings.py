"""Settings: a file, then the environment; whatever is not understood stops the start."""

from pathlib import Path

import pytest

from serving.settings import Settings
from serving.settings_reader import load_settings
from shop.errors import SettingsRejected


def a_file(folder: Path, text: str) -> Path:
    file = folder / "vitrine.toml"
    file.write_text(text)
    return file


def test_defaults_serve_without_a_file() -> None:
    settings = load_settings(None, {})
    assert settings == Settings()
    assert settings.histories_dir == Path(".vitrine/histories.lmdb")


def test_file_is_read_and_the_environment_has_the_last_word(tmp_path: Path) -> None:
    file = a_file(
        tmp_path,
        """
        state_dir = "elsewhere"
        [door]
        port = 9100
        kind = "haproxy"
        [recommend.budgets]
        total_ms = 80
        [recommend.exploration]
        slots = [3, 9]
        [recommend.offers]
        sell_unknown_stock = false
        [recommend.blend]
        email = "cascade"
        cascade = ["content", "two_tower"]
        [recommend.blend.weights]
        content = 2
        [recommend.pricing.limits]
        step_share = 0.02
        endings = [5, 9]
        """,
    )
    environment = {
        "VITRINE_DOOR__PORT": "9200",
        "VITRINE_RECOMMEND__EXPLORATION__EPSILON": "0.25",
        "VITRINE_RECOMMEND__OFFERS__STOCK__TTL_MS": "500",
        "PATH": "/bin",
    }
    settings = load_settings(file, environment)
    assert settings.state_dir == Path("elsewhere")
    assert (settings.door.port, settings.door.kind) == (9200, "haproxy")
    assert settings.recommend.budgets.total_ms == 80.0
    assert settings.recommend.exploration.slots == (3, 9)
    assert settings.recommend.exploration.epsilon == 0.25
    assert settings.recommend.offers.sell_unknown_stock is False
    assert settings.recommend.offers.stock.ttl_ms == 500
    assert settings.recommend.offers.stock.ask_ms == Settings().recommend.offers.stock.ask_ms
    blend = settings.recommend.blend
    assert (blend.policy_of("email"), blend.policy_of("home")) == ("cascade", "weighted")
    assert (blend.cascade, blend.weights.content) == (("content", "two_tower"), 2.0)
    assert settings.recommend.pricing.limits.step_share == 0.02
    assert settings.recommend.pricing.limits.endings == (5, 9)


def test_lists_and_switches_can_be_given_in_the_environment() -> None:
    environment = {
        "VITRINE_RECOMMEND__EXPLORATION__SLOTS": "2, 4,6",
        "VITRINE_RECOMMEND__OFFERS__SELL_UNKNOWN_STOCK": "false",
        "VITRINE_STATE_DIR": "there",
    }
    settings = load_settings(None, environment)
    assert settings.recommend.exploration.slots == (2, 4, 6)
    assert settings.recommend.offers.sell_unknown_stock is False
    assert settings.state_dir == Path("there")


def test_marks_of_the_supervisor_are_no_settings() -> None:
    assert load_settings(None, {"VITRINE_RUN": "abc.1"}) == Settings()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[door]\nprot = 1", r"door.prot = 1: unknown setting; allowed: .*port"),
        ("[dor]\nport = 1", r"dor = .*: unknown setting; allowed: .*door"),
        ('[door]\nport = "many"', r"door.port = 'many': must be a whole number"),
        ("[door]\nport = 80.5", r"door.port = 80.5: must be a whole number"),
        ("[door]\nport = true", r"door.port = True: must be a whole number"),
        ("[door]\nport = 70000", r"door.port = 70000: must be 0 to 65535"),
        ('[door]\nkind = "nginx"', r"door.kind = 'nginx': must be one of direct, haproxy"),
        ("door = 3", r"door = 3: must be a table"),
        ('[triton]\naddress = "nowhere"', r"triton.address = 'nowhere': must be host:port"),
        ("[recommend.budgets]\ntotal_ms = nan", r"total_ms = nan: must be a number"),
        ("[recommend.budgets]\ntotal_ms = 0", r"recommend.budgets.total_ms = 0.*: must be above 0"),
        ("[recommend.exploration]\nslots = 3", r"recommend.exploration.slots = 3: must be a list"),
        (
            "[recommend.pricing.limits]\nmin_margin = 1.0",
            r"recommend.pricing.limits.min_margin = 1.0: must be 0 or more, and below 1",
        ),
        ("[recommend.pricing]\ntotal_ms = 0", r"recommend.pricing.total_ms = 0.*: must be above 0"),
        ('[feeds]\ndemand = "x"', r"feeds.demand = 'x': must be host:port"),
        ("[feedback]\nmax_shoppers = 0", r"feedback.max_shoppers = 0: must be above 0"),
        (
            '[recommend.blend]\nhome = "best"',
            r"recommend.blend.home = 'best': must be one of weighted, mixed, cascade",
        ),
        (
            '[recommend.blend]\ncascade = ["tower"]',
            r"recommend.blend.cascade = \('tower',\): must be of two_tower, item_item, ",
        ),
        ("[recommend]\nfresh_days = 61", r"recommend.fresh_days = 61.*: must be 0 to 60"),
        ("[door\n", r"no TOML"),
    ],
)
def test_what_is_not_understood_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(SettingsRejected, match=named):
        load_settings(a_file(tmp_path, text), {})


def test_unknown_variable_is_named() -> None:
    with pytest.raises(SettingsRejected, match=r"door.prot = '1': unknown setting"):
        load_settings(None, {"VITRINE_DOOR__PROT": "1"})
    with pytest.raises(SettingsRejected, match="DOOR__PORT__X"):
        load_settings(None, {"VITRINE_DOOR__PORT": "1", "VITRINE_DOOR__PORT__X": "1"})


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsRejected, match="cannot be read: No such file"):
        load_settings(tmp_path / "nothing.toml", {})


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "rediss://user:S3cret@redis.shop:6380/1?ssl_ca_certs=/etc/ca.pem",
        "unix:///run/redis.sock?db=2",
    ],
)
def test_redis_keeps_the_histories_if_it_is_said_where(url: str) -> None:
    settings = load_settings(None, {"VITRINE_HISTORIES__STORE": "redis", "VITRINE_REDIS__URL": url})
    assert (settings.histories.store, settings.redis.url) == ("redis", url)
    assert "S3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"VITRINE_HISTORIES__STORE": "redis"}, "redis.url"),
        ({"VITRINE_HISTORIES__STORE": "memory"}, "histories.store"),
        ({"VITRINE_REDIS__URL": "http://:S3cret@host"}, "redis.url"),
        ({"VITRINE_REDIS__URL": "redis://:S3cret@host:port"}, "redis.url"),
        ({"VITRINE_REDIS__URL": "redis://"}, "redis.url"),
        ({"VITRINE_REDIS__URI": "redis://:S3cret@host"}, "redis.uri"),
        ({"VITRINE_REDIS__PREFIX": ""}, "redis.prefix"),
        ({"VITRINE_REDIS__WRITE_TIMEOUT_MS": "0"}, "redis.write_timeout_ms"),
    ],
)
def test_a_wrong_redis_setting_is_named_and_its_password_is_not(
    environment: dict[str, str], named: str
) -> None:
    with pytest.raises(SettingsRejected, match=named.replace(".", r"\.")) as refused:
        load_settings(None, environment)
    assert "S3cret" not in str(refused.value)


@pytest.mark.parametrize("text", ["redis = 'redis://:S3cret@h'", "[redis]\nurl = ['S3cret']"])
def test_a_password_in_a_wrong_place_of_the_file_is_not_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsRejected, match="redis") as refused:
        load_settings(a_file(tmp_path, text), {})
    assert "S3cret" not in str(refused.value)
