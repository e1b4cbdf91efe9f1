"""What the student's page says and keeps: states of server, key, door and device in words, and its files offline."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, WebSocketRoute, expect

from serial_bridge.headsets.events import Raw
from serial_bridge.headsets.thinkgear import Decoder
from serial_bridge.ports.simulated import SimulatedHeadset
from tests.support.browser import chromium, opened, wait_on
from tests.support.layout import layout_faults
from tests.support.page_server import FOLDER, PRIVATE, PageServer, served
from tests.support.student_page import ALL_RECORDED, LINE_BYTES_PER_S, enter, student_page
from ws_gateway.http.pages import PAGE

pytestmark = pytest.mark.timeout(120)

LINE: Final = SimulatedHeadset(1).advance(20)
RATE: Final = 2 * len(LINE) / 20
"""Bytes a second: twice as fast as a headset."""
SCHOOL: Final = "school.test"
"""A name that is this machine, and for the browser no secure place."""
WELCOME: Final = {"type": "welcome", "session": "s" * 32, "group": "g", "source": "s", "next_seq": 0}
REFUSAL: Final = {"type": "error", "code": "no_join_code", "field": None, "message": "no"}
LINKED: Final = {"type": "link", "broker": True, "recorder": True}
UNKEPT: Final[dict[str, Any]] = {"service_workers": "block"}
"""Loads faster: the page's files are not kept."""
SMALL: Final = """() => [...document.querySelectorAll("button, a, input, select")]
  .filter((each) => each.checkVisibility() && each.getClientRects().length)
  .filter((each) => Math.min(each.getBoundingClientRect().height, each.getBoundingClientRect().width) < 44)
  .map((each) => `small: ${each.outerHTML.slice(0, 80)}`)"""

Says = Callable[[WebSocketRoute, Mapping[str, Any]], None]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(f"--host-resolver-rules=MAP {SCHOOL} 127.0.0.1", is_whole=True) as browser:
        yield browser


@pytest.fixture(scope="module")
def site() -> Iterator[PageServer]:
    with served(PAGE) as site:
        yield site


def say(socket: WebSocketRoute, *messages: Mapping[str, Any]) -> None:
    for message in messages:
        socket.send(json.dumps(message))


def good(socket: WebSocketRoute, message: Mapping[str, Any]) -> None:
    """A gateway that records everything at once."""
    if message["type"] == "hello":
        say(socket, WELCOME, LINKED)
    else:
        say(socket, *({"type": "ack", "stage": stage, "seq": message["seq"]} for stage in ("broker", "recorded")))


def answers(*messages: Mapping[str, Any], close: int | None = None) -> Says:
    """A gateway that answers hello with these messages, and then closes."""

    def says(socket: WebSocketRoute, message: Mapping[str, Any]) -> None:
        if message["type"] == "hello":
            say(socket, *messages)
            if close is not None:
                socket.close(code=close)

    return says


def speak(page: Page, says: Says) -> list[str]:
    """Let a gateway answer the page from now on; return the addresses that it connects to."""
    urls: list[str] = []

    def route(socket: WebSocketRoute) -> None:
        urls.append(socket.url)
        socket.on_message(lambda text: says(socket, json.loads(text)))

    page.route_web_socket("**/*", route)
    return urls


def connect(page: Page, says: Says, name: str = "Ana") -> list[str]:
    urls = speak(page, says)
    page.reload()
    enter(page, name, "7B")
    page.click("[data-way=bluetooth]")
    return urls


def notices(page: Page) -> Any:
    return expect(page.locator("#notices"))


def test_the_key_leaves_the_address_at_once_and_opens_the_gateway(browser, site):
    """It stands behind `#` or `?key=`; name and code are filled in, and remembered on this device."""
    with student_page(browser, f"{site.url}student", **UNKEPT) as page:
        urls = speak(page, good)
        for behind in ("#key=a%2Fb%20c", "&key=a/b c"):
            page.goto("about:blank")
            page.goto(f"{site.url}student?name=Ana%20L&code=7B{behind}")
            expect(page.locator("[name=key]")).to_have_value("a/b c")
            assert page.url == f"{site.url}student?name=Ana+L&code=7B"
            assert page.input_value("[name=name]") == "Ana L"
            page.click("#next")
            expect(page.locator(".its-name").first).to_have_text("Ana L · 7B")
            wait_on(page, lambda: urls)
            assert urlsplit(urls.pop()).path == f"{FOLDER}/ws/a%2Fb%20c"
            page.locator("#view-connect .switch").click()
            page.reload()
            expect(page.locator("#known-list button")).to_have_text(["Ana L · 7B"])
            page.click("#forget")
            expect(page.locator("#known")).to_be_hidden()
        page.evaluate("location.hash = 'key=other'")  # pasted behind the address of the page that is open
        expect(page.locator("[name=key]")).to_have_value("other")
        assert page.url == f"{site.url}student"


def test_what_keeps_readings_back_is_said_in_words(browser, site):
    """What the gateway says is text, whatever it holds."""
    fault = {"type": "error", "code": "x", "field": None, "message": "<b>no</b>\u202e"}
    cases = [
        (answers({"type": "door", "state": "ask"}), "o professor precisa deixar você entrar"),
        (answers({"type": "door", "state": "closed"}), "A aula está fechada"),
        (answers({"type": "door", "state": "removed"}), "O professor removeu você desta aula"),
        (answers(WELCOME, {**LINKED, "recorder": False}), "O servidor não está gravando agora"),
        (answers(close=1013), "Ainda sem conexão com o servidor"),
        (answers(WELCOME, fault), "O servidor diz: <b>no</b>"),
        (answers(WELCOME, close=4001), "Outra janela continuou a sua gravação"),
    ]
    now: list[Says] = []
    with student_page(browser, f"{site.url}student", line=LINE, bytes_per_s=RATE, **UNKEPT) as page:
        speak(page, lambda socket, message: now[0](socket, message))
        page.reload()
        for number, (says, words) in enumerate(cases):
            now[:] = [says]
            enter(page, f"Ana {number}", "7B")
            page.click("[data-way=bluetooth]")
            notices(page).to_contain_text(words)
            if number < len(cases) - 1:
                page.click("#end")
                page.locator("#view-ended .switch").click()
        now[:] = [good]
        page.click("#resume")
        notices(page).to_be_empty()


def test_a_refused_key_is_asked_for_again(browser, site):
    with student_page(browser, f"{site.url}student", **UNKEPT) as page:
        speak(page, answers(REFUSAL, close=1008))
        page.reload()
        enter(page, "Ana", "7B")
        expect(page.locator("#who-fault")).to_contain_text("O servidor não aceita esta chave")
        speak(page, good)
        page.click("#next")
        expect(page.locator("#view-connect")).to_be_visible()
        expect(page.locator("#who-fault")).to_be_hidden()


def test_forgotten_names_and_keys_do_not_come_back_with_a_reload(browser, site):
    with student_page(browser, f"{site.url}student", **UNKEPT) as page:
        speak(page, answers(REFUSAL, close=1008))
        page.reload()
        enter(page, "Ana", "7B")
        expect(page.locator("#who-fault")).not_to_be_empty()
        page.click("#forget")
        page.reload()
        expect(page.locator("#view-who")).to_be_visible()
        expect(page.locator("[name=name]")).to_have_value("")
        expect(page.locator("#known")).to_be_hidden()


def test_what_a_device_keeps_may_be_damaged(browser, site):
    """What is no student is nobody; the page works."""
    keys = ("neuroone.students", "neuroone.student", "neuroone.headset", f"neuroone {'s' * 32}")
    cases = [
        ('{"name": "Ana", "code": 5}', "connect"),
        ("{", "who"),
        ("null", "who"),
        ('[null, 5, {"name": 7}]', "who"),
    ]
    with student_page(browser, f"{site.url}student", line=LINE, bytes_per_s=RATE, **UNKEPT) as page:
        speak(page, good)
        for kept, view in cases:
            keep = "([keys, kept]) => { for (const key of keys) localStorage[key] = sessionStorage[key] = kept; }"
            page.evaluate(keep, [keys, kept])
            page.reload()
            expect(page.locator(f"#view-{view}")).to_be_visible()
            expect(page.locator("#known")).to_be_hidden()
        enter(page, "Ana", "7B")
        page.click("[data-way=bluetooth]")
        expect(page.locator("#recorded")).to_contain_text(":")
        notices(page).to_be_empty()


def test_a_device_that_keeps_nothing_says_so_and_sends_all_the_same(browser, site):
    """A browser without a database, and one whose disk is full."""
    scripts = (
        "IDBObjectStore.prototype.put = () => { throw new DOMException('full', 'QuotaExceededError'); };",
        "IDBFactory.prototype.open = () => { throw new DOMException('no', 'SecurityError'); };",
    )
    with student_page(browser, f"{site.url}student", line=LINE, bytes_per_s=RATE, **UNKEPT) as page:
        speak(page, good)
        for script in scripts:
            page.add_init_script(script)
            page.reload()
            enter(page, "Ana", "7B")
            page.click("[data-way=bluetooth]")
            notices(page).to_contain_text("Este aparelho não consegue guardar leituras")
            expect(page.locator("#recorded")).to_contain_text(":")
            page.click("#end")
            expect(page.locator("#left")).to_have_text(ALL_RECORDED)
            page.locator("#view-ended .switch").click()


def test_the_end_says_what_is_not_recorded_and_another_student_begins_empty(browser, site):
    """What waits stays on the device, and is sent as the first student's."""
    said: list[Mapping[str, Any]] = []

    def records(socket: WebSocketRoute, message: Mapping[str, Any]) -> None:
        said.append(message)
        good(socket, message)

    with student_page(browser, f"{site.url}student?name=Ana", line=LINE, bytes_per_s=RATE, **UNKEPT) as page:
        connect(page, answers(WELCOME, LINKED))
        expect(page.locator("#attention")).not_to_have_text("--")
        page.click("#end")
        expect(page.locator("#left")).to_contain_text("Ainda não gravadas: ")
        speak(page, records)
        page.locator("#view-ended .switch").click()
        expect(page.locator("[name=name]")).to_have_value("")
        assert page.evaluate("location.search") == ""
        page.fill("[name=name]", "Bia")
        page.click("#next")
        wait_on(page, lambda: any(each["type"] == "reading" for each in said))
        assert {each["name"] for each in said if each["type"] == "hello"} == {"Ana", "Bia"}


def test_raw_samples_go_to_a_lesson_that_wants_them_to_the_last_one(browser, site):
    """Those of the first moments too, before it is told, and those that fill no block when the student ends."""
    said: list[Mapping[str, Any]] = []

    def wants_raw(socket: WebSocketRoute, message: Mapping[str, Any]) -> None:
        said.append(message)
        if message["type"] == "hello":
            say(socket, WELCOME, {"type": "raw_wanted", "wanted": True}, LINKED)
        elif message["type"] == "reading":
            good(socket, message)

    with student_page(browser, f"{site.url}student", line=LINE, bytes_per_s=RATE, **UNKEPT) as page:
        page.evaluate("capture.limit = capture.bytes.length / 8")
        connect(page, wants_raw)
        page.wait_for_function("() => capture.at >= capture.limit")
        page.click("#end")
        expect(page.locator("#left")).to_have_text(ALL_RECORDED)
        line = LINE[: page.evaluate("capture.at")]
        samples = [sample for event in Decoder().feed(line) if isinstance(event, Raw) for sample in event.samples]
        blocks = [each for each in said if each["type"] == "raw"]
        assert [sample for block in blocks for sample in block["samples"]] == samples
        assert len(blocks[-1]["samples"]) < 64


def test_a_second_tab_is_told_that_there_is_a_first(browser, site):
    with student_page(browser, f"{site.url}student", **UNKEPT) as page:
        expect(page.locator("#other-tab")).to_be_hidden()
        second = page.context.new_page()
        second.goto(f"{site.url}student")
        expect(second.locator("#other-tab")).to_be_visible()
        page.close()
        expect(second.locator("#other-tab")).to_be_hidden()


def test_an_address_that_is_not_secure_leads_to_the_secure_one(browser, site):
    url = f"http://{SCHOOL}:{site.port}{FOLDER}/student?name=Ana&code=7B"
    https: list[str | None] = [None]

    def where(route: Route) -> None:
        body = json.dumps({"https": https[0], "ca": https[0] is not None})
        route.fulfill(body=body, content_type="application/json")

    with opened(browser, url) as page:
        page.route("**/where.json", where)
        for https[0] in (None, "https://school.test:8443/"):
            page.goto("about:blank")
            page.goto(f"{url}#key=k")
            page.click("#next")
            expect(page.locator("#no-way-why")).to_contain_text("Este endereço não é seguro")
            if https[0] is None:
                expect(page.locator("#secure")).to_be_hidden()
            else:
                expect(page.locator("#secure")).to_have_attribute("href", f"{https[0]}student?name=Ana&code=7B#key=k")
                expect(page.locator("#trust")).to_have_attribute("href", "trust")
            page.locator("#view-connect .switch").click()


def _graves(page: Page, options: Mapping[str, Any]) -> list[str]:
    found = Axe().run(page, options=dict(options)).response["violations"]
    grave = [each for each in found if each["impact"] in ("serious", "critical")]
    return [f"{each['id']}: {node['html'][:120]}" for each in grave for node in each["nodes"]]


@pytest.mark.parametrize(
    ("locale", "theme", "sizes", "options"),
    [
        ("pt-BR", "dark", ((320, 568), (360, 640), (1366, 768)), {}),
        ("en", "light", ((320, 568), (412, 915)), {"runOnly": ["color-contrast"]}),
    ],
    ids=["pt-BR-dark", "en-light"],
)
def test_every_view_is_sound_on_phones_and_chromebooks(browser, site, locale, theme, sizes, options):
    """Nothing serious for axe, no target under 44 pixels, nothing cut, over another or wider than the screen."""
    name = "Maximiliano de Albuquerque Cavalcanti Bragança e Silva"

    def is_sound(page: Page, view: str) -> None:
        expect(page.locator(f"#view-{view}")).to_be_visible()
        for width, height in sizes:
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate(SMALL) + layout_faults(page) == [], (view, width)
        assert _graves(page, options) == [], view

    with student_page(
        browser, f"{site.url}student", line=LINE, bytes_per_s=RATE, locale=locale, color_scheme=theme, **UNKEPT
    ) as page:
        page.evaluate(f"capture.limit = 14 * {LINE_BYTES_PER_S}")
        speak(page, answers(WELCOME, {**LINKED, "recorder": False}))
        page.reload()
        enter(page, name, "TURMA-1")
        is_sound(page, "connect")
        page.locator("#view-connect .switch").click()
        is_sound(page, "who")
        page.fill("[name=name]", name)
        page.click("#next")
        page.click("[data-way=bluetooth]")
        expect(page.locator("#attention")).not_to_have_text("--")
        is_sound(page, "live")
        page.click("#end")
        is_sound(page, "ended")
    with student_page(browser, f"{site.url}student", (), locale=locale, color_scheme=theme, **UNKEPT) as page:
        enter(page, name)
        is_sound(page, "connect")


@pytest.fixture
def copied_site(tmp_path: Path) -> Iterator[PageServer]:
    with served(Path(shutil.copytree(PAGE, tmp_path / "page"))) as site:
        yield site


def test_the_page_starts_without_a_network_and_keeps_nothing_but_its_files(browser, copied_site):
    """Also in a folder of the address. The test page is not kept."""
    site = copied_site
    with student_page(browser, f"{site.url}student?name=Ana#key=secret") as page:
        speak(page, good)
        kept = page.evaluate(
            """async (paths) => {
          await navigator.serviceWorker.ready;
          for (const path of paths) await fetch(path);
          const [name, ...others] = await caches.keys();
          const cache = await caches.open(name);
          return [others, (await cache.keys()).map(({ url }) => url).sort()];
        }""",
            [f"{FOLDER}{path}" for path in PRIVATE],
        )
        worker = page.evaluate("async () => (await fetch('student-worker.js')).text()")
        files = json.loads(worker.split("FILES = ")[1].split(";")[0])
        assert kept == [[], [site.url + path for path in sorted(files)]]
        assert "page/student.js" in files
        assert "page/try.js" not in files
        site.is_away = True
        page.reload()
        expect(page.locator("#view-who")).to_be_visible()
        enter(page, "Ana")
        expect(page.locator("#view-connect")).to_be_visible()
        page.locator("#language").select_option("en")
        expect(page.locator("#connect-title")).to_have_text("Connect the headset")
        site.is_away = False
        page.goto(f"{site.url}student?test")
        expect(page.locator("#connect")).to_be_visible()
        assert page.evaluate("document.querySelector('script[type=module]').src").endswith("/try.js")


def test_a_network_that_changes_while_the_page_loads_costs_no_page(browser, copied_site):
    """A part of the page that does not come is asked for again, and so are the files that it keeps."""
    copied_site.cut = {"/page/words.js", "/page/student.css", "/student-worker.js"}
    with student_page(browser, f"{copied_site.url}student?name=Ana#key=secret") as page:
        expect(page.locator("#view-who")).to_be_visible()
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    assert not copied_site.cut


def test_a_new_version_waits_for_the_next_start(browser, copied_site, tmp_path):
    """It never takes over while a headset is read, nor while another window is open."""
    site = copied_site
    words = tmp_path / "page" / "pt-BR.json"

    def version(title: str) -> None:
        text = json.loads(words.read_text(encoding="utf-8")) | {"student.who": title}
        words.write_text(json.dumps(text), encoding="utf-8")
        site.read()

    def update(page: Page) -> None:
        page.evaluate("""async () => {
          const registration = await navigator.serviceWorker.ready;
          await registration.update();
          while (registration.waiting === null) await new Promise((wake) => setTimeout(wake, 20));
        }""")

    with student_page(browser, f"{site.url}student", line=LINE, bytes_per_s=RATE) as page:
        connect(page, good)
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        page.reload()
        page.click("#again")
        version("Quem agora?")
        update(page)
        expect(page.locator("#attention")).not_to_have_text("--")
        expect(page.locator("#who-title")).to_have_text("Quem é você?", use_inner_text=False)
        second = page.context.new_page()
        second.goto(f"{site.url}student")
        expect(second.locator("#who-title")).to_have_text("Quem é você?")
        second.close()
        page.click("#end")
        page.reload()
        expect(page.locator("#who-title")).to_have_text("Quem agora?")


def test_a_student_who_begins_anew_comes_after_the_end(browser, site):
    """A gateway to which both connections seem to be open would see two students."""
    order: list[str] = []
    ending: list[WebSocketRoute] = []

    def route(socket: WebSocketRoute) -> None:
        def said(text: str | bytes) -> None:
            message = json.loads(text)
            order.extend(["hello"] * (message["type"] == "hello"))
            good(socket, message)

        def closes(code: int | None, reason: str | None) -> None:
            if socket not in ending:
                order.append("end")
                ending.append(socket)

        socket.on_message(said)
        socket.on_close(closes)

    with student_page(browser, f"{site.url}student?name=Ana", line=LINE, bytes_per_s=RATE, **UNKEPT) as page:
        page.route_web_socket("**/*", route)
        page.reload()
        enter(page, "Ana", "7B")
        page.click("[data-way=bluetooth]")
        expect(page.locator("#recorded")).to_contain_text(":")
        del order[:], ending[:]
        page.click("#end")
        wait_on(page, lambda: order == ["end"])
        page.click("#anew")
        page.click("[data-way=bluetooth]")
        expect(page.locator("#attention")).not_to_have_text("--")
        order.append("closed")
        ending[0].close()
        wait_on(page, lambda: "hello" in order)
        assert order == ["end", "closed", "hello"]
