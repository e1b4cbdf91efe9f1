"""A teacher and phones of both dialects at the door of a lesson, over real connections to a real gateway."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from neuroone.contract.messages import BANDS
from tests.support.gateways import HEARD_WITHIN_S, GatewayProgram, happens


class Client:
    """One connection of the new dialect, or of the first one: ``heard`` has everything that it received.

    ``address`` is the address of this machine that it comes from.
    """

    protocol: str | None = "neuroone.v1"

    def __init__(self, gateway: GatewayProgram, address: str = "127.0.0.1") -> None:
        self.gateway = gateway
        self._address = address
        self.heard: list[dict[str, Any]] = []
        self.connection: ClientConnection
        self._reader: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        protocols = None if self.protocol is None else [Subprotocol(self.protocol)]
        self.connection = await connect(self.gateway.url, subprotocols=protocols, local_addr=(self._address, 0))
        self._reader = asyncio.create_task(self._read())
        await self.greet()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.connection.close()
        await self._reader

    async def greet(self) -> None:
        """Send what comes first."""

    async def say(self, **content: Any) -> None:
        await self.connection.send(json.dumps(content))

    async def _read(self) -> None:
        try:
            async for frame in self.connection:
                said = json.loads(frame)
                assert isinstance(said, dict)
                self.heard.append(said)
        except ConnectionClosed:
            pass

    async def hears(self, condition: Callable[[dict[str, Any]], bool], within_s: float = HEARD_WITHIN_S) -> Any:
        """Wait for a frame; return the first one that is meant."""
        return await happens(lambda: next(filter(condition, self.heard), None), within_s)

    async def until_errors(self, count: int, code: str) -> None:
        """Wait until the client has been told an error so many times."""
        await happens(lambda: [said.get("code") for said in self.heard].count(code) == count)


class Phone(Client):
    """A student's phone of the first dialect."""

    protocol = None

    def __init__(self, gateway: GatewayProgram, name: str | None, code: str, address: str = "127.0.0.1") -> None:
        super().__init__(gateway, address)
        self.name = name
        self.code = code

    async def send(self, *attention: int) -> None:
        for each in attention:
            await self.say(Nome=self.name, Codigo=self.code, Att=each)

    async def is_told(self, code: str) -> None:
        """Wait for an error of the first dialect."""
        await self.hears(lambda said: said.get("error", {}).get("code") == code)


class App(Client):
    """A student's app of the new dialect; it sends readings whose attention is their seq."""

    def __init__(self, gateway: GatewayProgram, name: str, code: str, session: str, address: str = "127.0.0.1") -> None:
        super().__init__(gateway, address)
        self.hello = {"name": name, "code": code, "session": session}

    async def greet(self) -> None:
        await self.say(type="hello", role="student", **self.hello)

    async def send(self, *seqs: int) -> None:
        for seq in seqs:
            await self.say(type="reading", seq=seq, attention=seq, meditation=50, **dict.fromkeys(BANDS, 1))

    async def is_told(self, state: str) -> None:
        await self.hears(lambda said: said["type"] == "door" and said["state"] == state)

    async def is_welcome(self) -> None:
        await self.hears(lambda said: said["type"] == "welcome")


class Teacher(Client):
    """A teacher's dashboard."""

    async def greet(self) -> None:
        await self.say(type="hello", role="dashboard")
        await self.hears(lambda said: said["type"] == "link")

    async def begin(self, door: str = "open") -> None:
        """Begin a lesson of everybody, with this door."""
        await self.say(type="marker", id="begin", event="session_start", text="Ciências")
        await self.hears(lambda said: said["type"] == "lesson" and said["began"] is not None)
        await self.set_door(door)

    async def set_door(self, state: str) -> None:
        await self.say(type="door", state=state)
        await self.until(lambda: self.door == state)

    async def until(self, condition: Callable[[], Any]) -> Any:
        return await happens(condition)

    @property
    def door(self) -> str | None:
        lessons = [said for said in self.heard if said["type"] == "lesson"]
        return lessons[-1]["door"] if lessons else None

    @property
    def board(self) -> dict[str, Any]:
        """What the teacher sees of the door now."""
        boards = [said for said in self.heard if said["type"] == "waiting"]
        return boards[-1] if boards else {"students": [], "more": 0, "removed": []}

    @property
    def waiting(self) -> list[tuple[str, str, str]]:
        """Name, code and reason of everybody who waits."""
        return [(each["name"], each["code"], each["reason"]) for each in self.board["students"]]

    async def sees(self, *waiting: tuple[str, str, str]) -> None:
        """Wait until exactly these wait."""
        try:
            await happens(lambda: sorted(self.waiting) == sorted(waiting))
        except TimeoutError:
            raise AssertionError(f"{self.waiting} wait, not {waiting}") from None

    async def decide(self, decision: str, code: str) -> None:
        """Admit or refuse the student of a code who waits."""
        await happens(lambda: any(each["code"] == code for each in self.board["students"]))
        (id,) = (each["id"] for each in self.board["students"] if each["code"] == code)
        await self.say(type=decision, id=id)
