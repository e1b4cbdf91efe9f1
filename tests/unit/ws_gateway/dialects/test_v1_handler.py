"""What requests of the new dialect cost the connection on which they come."""

from unittest.mock import Mock

import pytest

from neuroone.service.token_files import Token
from ws_gateway.access import Access
from ws_gateway.dialects.v1_handler import BROKER_MESSAGES, V1Handler
from ws_gateway.visitors import Visitor
from ws_gateway.websocket.connection import Connection


@pytest.mark.parametrize(
    ("request_", "cost"),
    [
        (b'{"type":"marker","id":"m","text":"x"}', BROKER_MESSAGES),
        (b'{"type":"watch","group":"A","source":"Ana"}', BROKER_MESSAGES),
        (b'{"type":"watch","group":null,"source":null}', BROKER_MESSAGES),
        (b'{"type":"raw_wanted","wanted":true}', BROKER_MESSAGES),
        (b'{"type":"admit","id":"5e0c"}', 0),
    ],
)
async def test_who_asks_the_broker_for_much_rests_for_it(request_: bytes, cost: int) -> None:
    """Each switch from stream to stream is two questions to the broker, each change of a lesson goes to all students.

    Whoever waits at the door may be let in by the hundred.
    """
    hub, connection = Mock(v1_clients={}), Mock(spec=Connection)
    hub.access = Access([Token("teacher")], {}, lambda: 0.0)
    handler = V1Handler(hub, connection, Visitor("192.168.0.20", "teacher"))
    handler._handle(b'{"type":"hello","role":"dashboard"}')
    handler._handle(request_)
    assert sum(call.args[0] for call in connection.spend.call_args_list) == cost
    handler._timer.cancel()
