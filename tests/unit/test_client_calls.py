"""What the Python clients take by name is what the proto and the shop know."""

import json
from typing import get_args

from serving.client_calls import EventFields, EventKind, RequestFields, channel_options, new_event
from serving.proto import recommendations_pb2 as pb
from shop.events import EventType


def test_every_field_of_a_request_can_be_given_by_name() -> None:
    assert set(RequestFields.__annotations__) == set(pb.RecommendRequest.DESCRIPTOR.fields_by_name)


def test_every_field_of_an_event_can_be_given_by_name() -> None:
    assert {*EventFields.__annotations__, "type"} == set(pb.Event.DESCRIPTOR.fields_by_name)


def test_every_type_of_event_can_be_named() -> None:
    assert set(get_args(EventKind)) == {str(kind) for kind in EventType}


def test_an_event_gets_a_key_of_its_own_unless_it_has_one() -> None:
    first, second = (new_event("click", product_id="p1") for _ in range(2))
    assert first.idempotency_key != second.idempotency_key
    assert new_event("click", idempotency_key="mine").idempotency_key == "mine"


def test_the_service_config_names_methods_that_exist() -> None:
    config = json.loads(str(dict(channel_options(retries=True))["grpc.service_config"]))
    service = pb.DESCRIPTOR.services_by_name["Recommendations"]
    named = [name for method in config["methodConfig"] for name in method["name"]]
    assert {name["service"] for name in named} == {service.full_name}
    assert {name["method"] for name in named} <= set(service.methods_by_name)
