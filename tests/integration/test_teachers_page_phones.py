"""The teacher's page with a class of production phones: no signal quality, a new code for each student each day."""

import random
import re
import string
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.brokers import LOOPBACK, Broker
from tests.support.browser import chromium, opened
from tests.support.classroom import SimulatedClass, SimulatedStudent
from tests.support.gateways import GatewayProgram, running_gateway
from tests.support.layout import layout_faults, reds, wait_for_layout

pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]

NAMES = (
    "Ana Souza, Bento Cruz, Bia Lima, Caio Rocha, Clara Nery, Davi Alves, Diego Sales, Eva Martins, Fábio Nunes, "
    "Gabi Costa, Heitor Dias, Íris Prado, João Pedro de Albuquerque Cavalcanti Bragança e Silva, Karina Melo, "
    "Lia Torres, Maria Eduarda, Maria Eduarda, Maximiliano Vasconcelos, Nina Barros, Otávio Luz, Pedro Gomes, "
    "Quésia Ramos, Rafa Teles, Sofia Pires, Téo Castro, Úrsula Vaz, Vitor Maia, Joao_Silva, Yara Brito, Zeca Moraes"
).split(", ")
MORE_NAMES = [f"Aluna Segunda {number:02}" for number in range(1, 30)] + [
    "Ana Beatriz de Oliveira Nascimento Junqueira"
]
LONG_LESSON = "Ciências da Natureza e suas Tecnologias"
VIEWPORTS = {"laptop": (1366, 768), "projector": (1920, 1080), "tablet": (1024, 768), "phone": (390, 844)}
FROZEN_MS = 30_000
"""Ten equal numbers are frozen after 10 s, and an alert then."""
LEAVES_MEAN_MS = 40_000


def phone(name: str) -> SimulatedStudent:
    """A phone with the production app, which makes a new code at each start."""
    code = "5" + "".join(random.choices(string.ascii_uppercase + string.digits, k=5))
    return SimulatedStudent(name, code=code, poor_signal=None, is_old=True)


@pytest.fixture(scope="module")
def gateway(one_broker: Broker) -> Iterator[GatewayProgram]:
    with running_gateway(one_broker) as (program, _):
        yield program


@pytest.fixture(scope="module")
def room(gateway: GatewayProgram) -> Iterator[list[SimulatedStudent]]:
    students = [phone(name) for name in NAMES]
    twins = [each for each in students if each.name == "Maria Eduarda"]
    for twin, code in zip(twins, ("5WWWWW", "5MMMMM"), strict=True):
        twin.code = code  # as wide as a code can be: it tells them apart
    with SimulatedClass(gateway.url, students, period_s=1.0):
        yield students


@pytest.fixture(scope="module")
def url(gateway: GatewayProgram, room: list[SimulatedStudent]) -> str:
    assert room
    return f"http://{LOOPBACK}:{gateway.port}/"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@contextmanager
def page_of(
    browser: Browser, url: str, size: str = "laptop", count: int = len(NAMES), **context: Any
) -> Iterator[Page]:
    width, height = VIEWPORTS[size]
    with opened(browser, url, viewport={"width": width, "height": height}, **context) as page:
        expect(page.locator(".card")).to_have_count(count)
        yield page


def tile(page: Page, name: str | None) -> Locator:
    return page.locator(".card").filter(has=page.get_by_role("button", name=str(name), exact=True))


def heights(page: Page) -> list[tuple[float, float]]:
    """Top and bottom of each tile."""
    boxes = [each.bounding_box() for each in page.locator(".card").all()]
    return [(box["y"], box["y"] + box["height"]) for box in boxes if box]


def test_all_thirty_are_in_view_on_a_laptop(browser, url):
    """At 1366 x 768 no tile is below the screen, with an alert, a lesson and the filters in sight."""
    with page_of(browser, url) as page:
        assert max(bottom for _, bottom in heights(page)) <= VIEWPORTS["laptop"][1]
        assert min(top for top, _ in heights(page)) < 140
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
        expect(page.locator("#search")).to_be_visible()


@pytest.mark.timeout(240)  # four pages at once
@pytest.mark.parametrize("locale", ["pt-BR", "en"])
def test_nothing_is_cut_or_overlaps(browser, url, room, locale):
    """Long names, two of one name and one in trouble among them, in every size and language, while a lesson runs."""
    with ExitStack() as stack:
        pages = {size: stack.enter_context(page_of(browser, url, size, locale=locale)) for size in VIEWPORTS}
        first = pages["laptop"]
        first.click("#start")
        first.fill("#start-dialog [name=text]", LONG_LESSON)
        first.keyboard.press("Enter")
        room[4].is_silent = True
        try:
            for size, page in pages.items():
                expect(page.locator("#session")).to_have_text(LONG_LESSON)
                expect(page.locator('.card[data-presence="offline"]')).to_have_count(1, timeout=FROZEN_MS)
                expect(page.locator("#alarms")).to_be_visible(timeout=FROZEN_MS)
                expect(page.locator("#toast")).to_be_hidden()
                assert layout_faults(page) == [], size
        finally:
            room[4].is_silent = False
            expect(first.locator("body")).not_to_have_attribute("data-link", "down")
            first.click("#stop")
            for page in pages.values():
                expect(page.locator("#session")).not_to_have_text(LONG_LESSON)
                expect(page.locator('.card[data-presence="offline"]')).to_have_count(0)


def test_nothing_is_cut_or_overlaps_with_sixty(browser, url, gateway):
    with SimulatedClass(gateway.url, [phone(name) for name in MORE_NAMES], period_s=1.0):
        for size in VIEWPORTS:
            with page_of(browser, url, size, 2 * len(NAMES)) as page:
                wait_for_layout(page)
                assert layout_faults(page) == [], size
                if size in ("laptop", "projector"):
                    assert max(bottom for _, bottom in heights(page)) <= VIEWPORTS[size][1]


def test_on_a_phone_the_tiles_come_first(browser, url):
    with page_of(browser, url, "phone") as page:
        expect(page.locator('.card[data-presence="online"]')).to_have_count(len(NAMES))
        expect(page.locator("#alarms")).to_be_hidden(timeout=FROZEN_MS)  # what was wrong in another test is over
        expect(page.locator("#session")).to_have_text("nenhuma aula")
        assert heights(page)[0][0] < 100
        assert sum(bottom <= VIEWPORTS["phone"][1] for _, bottom in heights(page)) >= 12


def test_a_tile_says_only_what_differs(browser, url, room):
    """Nothing is said of what all have in common; what is wrong is one word, and the numbers are grey."""
    zeros, no_bands, frozen = room[5:8]
    zeros.attention = zeros.meditation = zeros.band = 0
    no_bands.band = 0
    frozen.values = {"delta": 1000}
    try:
        with page_of(browser, url) as page:
            expect(tile(page, zeros.name).locator(".trouble")).to_have_text("só zeros")
            expect(tile(page, no_bands.name).locator(".trouble")).to_have_text("sem bandas")
            expect(tile(page, frozen.name).locator(".trouble")).to_have_text("congelado", timeout=FROZEN_MS)
            expect(page.locator(".card[data-doubtful]")).to_have_count(3)
            shown = page.locator(".card :is(.open, .code, .value, .trouble)").all_inner_texts()
            assert {text for text in shown if shown.count(text) > 2} <= {"", "60", "50"}
            expect(page.locator("#good")).to_have_text("27 / 30")
            expect(page.locator("#good-what")).to_have_text("sinal válido")
            expect(page.locator("#mean-attention-of")).to_contain_text("média de 27 de 30", timeout=LEAVES_MEAN_MS)
    finally:
        for student in (zeros, no_bands):
            student.attention, student.meditation, student.band = 60, 50, 1000
        frozen.values = {}


def test_red_is_for_recording_alone(browser, url):
    for theme in ("light", "dark"):
        with page_of(browser, url, color_scheme=theme) as page:
            assert reds(page) <= {"rec"}


def test_two_of_one_name_are_told_apart_by_code(browser, url, room):
    twins = [student for student in room if student.name == "Maria Eduarda"]
    with page_of(browser, url) as page:
        both = tile(page, "Maria Eduarda")
        expect(both).to_have_count(2)
        assert set(both.locator(".code").all_inner_texts()) == {student.code for student in twins}
        expect(tile(page, "Ana Souza").locator(".code")).to_have_text("")


def test_a_student_who_comes_back_with_a_new_code_counts_once(browser, url, gateway):
    """The app makes a new code at each start: the old tile goes, and no alert stays."""
    with page_of(browser, url) as page:
        first, again = phone("Wanda Reis"), phone("Wanda Reis")
        with SimulatedClass(gateway.url, [first]):
            expect(tile(page, "Wanda Reis")).to_have_count(1)
        expect(tile(page, "Wanda Reis")).to_have_attribute("data-presence", "offline")
        with SimulatedClass(gateway.url, [again]):
            expect(tile(page, "Wanda Reis")).to_have_attribute("data-presence", "online")
            expect(page.locator("#connected")).to_have_text("31 / 31")
            expect(tile(page, "Wanda Reis")).to_have_count(1)
            expect(tile(page, "Wanda Reis").locator(".code")).to_have_text("")


def test_those_without_signal_quality_count_where_nobody_sends_it_and_the_choice_is_kept(browser, url):
    with page_of(browser, url) as page:
        expect(page.locator("#mean-attention")).to_have_text("60")
        page.locator("#mean summary").click()
        expect(page.locator("#with-unknown")).to_be_checked()
        page.uncheck("#with-unknown")
        expect(page.locator("#mean-attention")).to_have_text("--")
        expect(page.locator("#mean-attention-of")).to_contain_text(
            "sem média: 0 de 30 com valores válidos, são precisos 5"
        )
        page.reload()
        expect(page.locator(".card")).to_have_count(len(NAMES))
        expect(page.locator("#with-unknown")).not_to_be_checked()
        expect(page.locator("#mean-attention")).to_have_text("--")


def test_a_class_of_four_has_no_mean(browser, url, gateway):
    """A mean of a few is nearly the value of each. From five on there is one."""
    four = [replace(phone(f"Aluno {number}"), code="6B") for number in range(4)]
    fifth = replace(phone("Aluno 5"), code="6B")
    with SimulatedClass(gateway.url, four), opened(browser, f"{url}?code=6B") as page:
        expect(page.locator(".card")).to_have_count(4)
        expect(page.locator("#mean-attention-of")).to_contain_text("sem média: 4 de 4")
        expect(page.locator("#mean-attention")).to_have_text("--")
        with SimulatedClass(gateway.url, [fifth]):
            expect(page.locator("#mean-attention")).to_have_text("60")


def test_the_class_selector_shows_what_is_filtered(browser, url, gateway):
    """With ?code= it names that class, and leads back to all; the codes of single students stand below the classes."""
    pair = [replace(phone(f"Aluno {number}"), code="6B") for number in range(2)]
    with SimulatedClass(gateway.url, pair), opened(browser, f"{url}?code=6B") as page:
        expect(page.locator(".card")).to_have_count(2)
        selected = page.locator("#group option:checked")
        expect(selected).to_have_text("6B")
        page.select_option("#group", label="Todas as turmas")
        expect(page.locator(".card")).to_have_count(len(NAMES) + 2)
        expect(selected).to_have_text("Todas as turmas")
        assert "code" not in page.url
        assert page.locator("#group > option").all_inner_texts() == ["Todas as turmas", "6B"]
        expect(page.locator("#group optgroup option")).to_have_count(len(NAMES))
        page.select_option("#group", label="6B")
        expect(page.locator(".card")).to_have_count(2)


def test_one_alert_is_one_alert(browser, url, room):
    """The box says how many there are and since when, and not the word of its button."""
    with page_of(browser, url) as page:
        room[9].is_silent = True
        try:
            expect(page.locator("#alarms summary")).to_have_text("1 aviso", timeout=FROZEN_MS)
            before = heights(page)
            page.locator("#alarms summary").click()
            expect(page.locator("#alarms-title")).to_have_text("Há mais de 10 s")
            expect(page.locator("#alarms h3")).to_have_text("sem dados (1)")
            assert heights(page) == before
            page.keyboard.press("Escape")
            expect(page.locator("#alarms .panel")).to_be_hidden()
            expect(page.locator("#alarms summary")).to_be_focused()
        finally:
            room[9].is_silent = False
            expect(page.locator("#alarms")).to_be_hidden()


def test_a_lesson_of_everybody_is_known_to_a_page_opened_late(browser, url):
    """A lesson takes in all codes, also those that come later; its time runs on the wall too."""
    with page_of(browser, url) as page:
        page.click("#start")
        page.fill("#start-dialog [name=text]", "Ciências")
        page.keyboard.press("Enter")
        expect(page.locator("#session")).to_have_text("Ciências")
        with page_of(browser, url) as late:
            expect(late.locator("#session")).to_have_text("Ciências")
            late.keyboard.press("p")
            expect(late.locator("#projected-elapsed")).to_have_text(re.compile(r"^\d\d:\d\d$"))
            expect(late.locator("#projected-connected")).to_have_text("30")
            expect(late.locator("#projected-good-what")).to_have_text("com sinal válido")
        page.click("#stop")
        expect(page.locator("#session")).to_have_text("nenhuma aula")


def test_a_newcomer_waits_at_the_door_for_one_tap(browser, url, gateway):
    """Whoever waits is not on the page; one tap lets in; who is removed goes, and may come back with another tap."""
    with page_of(browser, url) as page:
        expect(page.locator("#door")).to_be_hidden()
        page.click("#start")
        page.fill("#start-dialog [name=text]", "Química")
        page.keyboard.press("Enter")
        door = page.locator("#door")
        expect(door.locator("summary")).to_have_text("Porta aberta")
        door.locator("summary").click()
        page.get_by_label("Pedir: você deixa cada um entrar").check()
        expect(door.locator("summary")).to_have_text("Porta a pedido")
        page.keyboard.press("Escape")
        late = phone("<b>Nova</b> Aluna")
        with SimulatedClass(gateway.url, [late]):
            expect(door.locator("summary")).to_have_text(re.compile(r"1\s+espera"))
            expect(page.locator(".card")).to_have_count(len(NAMES))
            door.locator("summary").click()
            expect(page.locator("#door-waiting bdi")).to_have_text(f"{late.name} · {late.code}")
            assert layout_faults(page) == []
            page.get_by_role("button", name="Deixar entrar").click()
            expect(tile(page, late.name)).to_have_attribute("data-presence", "online")
            expect(door.locator("summary")).to_have_text("Porta a pedido")
            tile(page, late.name).locator(".open").click()
            page.click("#remove")
            expect(page.locator("#remove-who")).to_contain_text("sai desta aula")
            page.locator("#remove-dialog button.main").click()
            page.click("#back")
            expect(tile(page, late.name)).to_have_attribute("data-presence", "offline")
            door.locator("summary").click()
            page.locator("#door-removed").get_by_role("button").click()
            expect(page.locator("#door-removed li")).to_have_count(0)
        page.click("#stop")
        expect(door).to_be_hidden()


def test_raw_samples_of_a_lesson_are_switched_and_shown_on_all_pages(browser, url):
    """Until the lesson ends; the next one begins without."""
    with page_of(browser, url) as page, page_of(browser, url) as other:
        for lesson in ("Física", "Química"):
            page.click("#start")
            page.fill("#start-dialog [name=text]", lesson)
            page.keyboard.press("Enter")
            expect(page.locator("#session")).to_have_text(lesson)
            page.locator("#door summary").click()
            switch = page.get_by_label("Gravar sinal bruto")
            expect(switch).not_to_be_checked()
            expect(page.locator("#with-raw")).to_be_hidden()
            switch.check()
            for each in (page, other):
                expect(each.locator("#with-raw")).to_have_text("com sinal bruto")
                expect(each.locator("#keep-raw")).to_be_checked()
            assert layout_faults(page) == []
            page.keyboard.press("Escape")
            page.click("#stop")
            for each in (page, other):
                expect(each.locator("#with-raw")).to_be_hidden()
