"""The main job, as a person does it: words in, picture out, with everything that can happen on the way."""

from __future__ import annotations

import json
import re

import pytest
from conftest import start_studio
from generate_page import LARGE, LONG, GeneratePage
from playwright.sync_api import Page, Route, expect

from studio.assets import asset
from studio.imaging.png import REQUEST_KEY, read_png_text


def test_typed_prompt_shows_previews_before_the_end_and_then_the_picture(generate: GeneratePage) -> None:
    generate.paint_long("an oil painting of a mountain lake at sunset")
    generate.expect_result()
    before = [shown for shown in generate.diary() if shown["running"]]
    assert len({shown["preview"] for shown in before} - {""}) >= 2, "it moves on"
    assert any(re.match(rf"Step \d+ of {LONG}$", shown["step"]) for shown in before)
    generate.eventually(lambda: generate.picture.evaluate("image => image.complete && image.naturalWidth"), 256)
    assert generate.fact("Steps").startswith(f"{LONG}, ")
    expect(generate.page.locator(".wb-words-of")).to_have_text("an oil painting of a mountain lake at sunset")


def test_ctrl_enter_paints_and_the_button_says_what_it_will_do(generate: GeneratePage) -> None:
    generate.set_count(1)
    expect(generate.paint_button).to_have_text("Paint 1 picture")
    generate.set_count(2)
    expect(generate.paint_button).to_have_text("Paint 2 pictures")
    generate.set_steps(4)
    generate.prompt.fill("rolling hills at dawn")
    generate.press(generate.prompt, "Control+Enter")
    generate.expect_result()
    assert "Add to the queue" in {shown["button"] for shown in generate.diary() if shown["running"]}
    expect(generate.paint_button).to_have_text("Paint 2 pictures")
    expect(generate.page.locator(".wb-slots .wb-slot img")).to_have_count(2)


def test_reload_during_a_run_finds_it_again(generate: GeneratePage) -> None:
    generate.paint_long("a castle on a hill at dusk", count=8)
    expect(generate.preview).to_be_visible()
    generate.page.reload()
    generate.wait_until_ready()
    expect(generate.preview).to_be_visible()
    expect(generate.page.locator(".wb-work .wb-hud")).to_have_text(re.compile(r"^Picture \d of 8$"))
    expect(generate.prompt).to_have_value("a castle on a hill at dusk")
    expect(generate.page.locator("#wb-size input")).to_have_value(LARGE)
    generate.page.get_by_role("button", name="Stop all").click()
    generate.expect_result()


def test_stop_keeps_the_picture_as_it_stood(generate: GeneratePage) -> None:
    before = generate.newest()
    generate.paint_long("desert dunes at midday")
    expect(generate.preview).to_be_visible()
    generate.page.get_by_role("button", name="Stop, keep this").click()
    generate.expect_result()
    expect(
        generate.page.get_by_text(re.compile(rf"^Stopped at step \d+ of {LONG}\. The picture as it stood is kept\.$"))
    ).to_be_visible()
    pictures = generate.session()["pictures"]
    assert before is None or pictures[1]["id"] == before
    assert 0 < pictures[0]["stopped_at"] < LONG


def test_second_run_waits_its_turn_and_can_be_removed(generate: GeneratePage) -> None:
    generate.paint_long("the sea at night", count=8)
    generate.expect_running()
    generate.paint("a forest in fog", steps=LONG)
    waiting = generate.page.locator(".wb-queue li")
    expect(waiting).to_have_count(1)
    expect(waiting).to_contain_text("a forest in fog")
    waiting.get_by_role("button", name="Remove").click()
    expect(waiting).to_have_count(0)
    generate.page.get_by_role("button", name="Stop all").click()
    generate.expect_result()


def test_downloaded_png_brings_its_settings_back_and_paints_the_same_bytes(generate: GeneratePage) -> None:
    generate.set_seed(1038)
    generate.paint("a watercolor painting of a village in the morning", steps=5)
    generate.expect_result()
    name, content = generate.download()
    assert re.fullmatch(r"[a-z0-9-]+1038\.png", name)
    assert REQUEST_KEY in read_png_text(content)
    generate.prompt.fill("something else")
    generate.set_steps(9)
    generate.drop(content, name)
    expect(generate.prompt).to_have_value("a watercolor painting of a village in the morning")
    expect(generate.page.locator("#wb-seed input")).to_have_value("1038")
    expect(generate.page.locator("#wb-steps input[type=number]")).to_have_value("5")
    expect(generate.paint_button).to_have_text("Paint 1 picture")
    earlier = generate.newest()
    generate.press(generate.paint_button)
    generate.expect_result()
    assert generate.newest() != earlier
    assert generate.picture_bytes() == content


def test_a_picture_from_elsewhere_is_refused_in_words(generate: GeneratePage, expected_failures: list[str]) -> None:
    expected_failures.append("422")
    generate.drop(b"GIF89a no picture of ours", "cat.png")
    expect(generate.page.get_by_role("alert")).to_contain_text("PNG")


def test_example_card_paints_at_its_seed(generate: GeneratePage) -> None:
    generate.show_examples()
    cards = generate.page.locator(".wb-example")
    expect(cards).to_have_count(6)
    words = cards.first.locator(".words").inner_text()
    generate.press(cards.first)
    generate.expect_result()
    expect(generate.page.locator(".wb-words-of")).to_have_text(re.compile(re.escape(words), re.IGNORECASE))
    example = json.loads(asset("examples", "examples.json").read_text(encoding="utf-8"))[0]
    assert generate.fact("Seed") == str(example["seed"])
    expect(generate.prompt).to_have_value(example["prompt"])


def test_unknown_word_is_named_and_its_nearest_word_replaces_it(generate: GeneratePage) -> None:
    generate.prompt.fill("a mountain lake with a dragon")
    hint = generate.page.locator("#wb-words")
    expect(hint).to_contain_text("Painter does not know dragon. Nearest: ")
    nearest = hint.get_by_role("button").first
    phrase = nearest.inner_text()
    nearest.click()
    expect(generate.prompt).to_have_value(f"a mountain lake with a {phrase}")
    expect(hint).not_to_contain_text("dragon")


def test_without_words_the_seed_chooses_and_the_page_says_so(generate: GeneratePage) -> None:
    generate.paint("", steps=2)
    expect(generate.page.locator("#wb-words")).to_contain_text(
        "No words yet. Painter will choose a landscape by the seed."
    )
    generate.expect_result()
    expect(generate.page.locator(".wb-words-of")).to_have_text("No words: the seed chose what is there.")


def test_chips_build_a_prompt_and_follow_what_is_typed(generate: GeneratePage) -> None:
    from studio.painter.vocabulary import CHIPS

    style, other_style, time = CHIPS["style"][0], CHIPS["style"][1], CHIPS["time"][0]
    generate.press_chip("Style", style)
    generate.press_chip("Time", time)
    generate.press_chip("Style", other_style)
    expect(generate.chip("Style", style)).not_to_be_checked()
    expect(generate.prompt).not_to_have_value(re.compile(rf"\b{re.escape(style)}\b"))
    expect(generate.prompt).to_have_value(re.compile(re.escape(time)))
    generate.prompt.fill("")
    expect(generate.chip("Style", other_style)).not_to_be_checked()


@pytest.mark.parametrize("pause", ["a task", "50 ms"])
def test_nothing_is_lost_however_fast_chips_are_pressed_and_words_typed(generate: GeneratePage, pause: str) -> None:
    from studio.painter.vocabulary import CHIPS

    wanted = [CHIPS["style"][0], CHIPS["time"][0], CHIPS["weather"][0]]
    for tab, phrase in zip(("Style", "Time", "Weather"), wanted, strict=True):
        generate.chip(tab, phrase)  # a category is drawn when it is first opened
    generate.page.evaluate(
        """async ([wanted, pause]) => {
            const chips = wanted.map((phrase) => document.querySelector(`#wb-chips input[name="${phrase}"]`));
            const waits = {
                "a task": () => new Promise((done) => {
                    const channel = new MessageChannel();
                    channel.port1.onmessage = done;
                    channel.port2.postMessage(0);
                }),
                "50 ms": () => new Promise((done) => setTimeout(done, 50)),
            };
            const type = (word) => {
                const box = document.querySelector("#wb-prompt textarea");
                box.focus();
                box.setSelectionRange(box.value.length, box.value.length);
                document.execCommand("insertText", false, word);
            };
            chips[0].click();
            await waits[pause]();
            type(" with a heron");
            await waits[pause]();
            chips[1].click();
            await waits[pause]();
            chips[2].click();
            await waits[pause]();
            type(" and reeds");
        }""",
        [wanted, pause],
    )
    for words in (*wanted, "heron", "reeds"):
        expect(generate.prompt).to_have_value(re.compile(rf"\b{re.escape(words)}\b"))
    pressed = generate.page.locator("#wb-chips input:checked")
    generate.eventually(lambda: set(pressed.evaluate_all("boxes => boxes.map((box) => box.name)")), set(wanted))


def test_what_is_typed_while_the_page_still_loads_stays(generate: GeneratePage) -> None:
    """Before a reload there were words, and our scripts come late: the new words are newer."""
    generate.prompt.fill("the words of yesterday")
    generate.set_steps(7)
    held: list[Route] = []
    generate.page.route("**/studio/assets/form.js", lambda route: held.append(route), times=1)
    generate.page.reload()
    generate.prompt.fill("the words of today")
    generate.eventually(lambda: len(held), 1)
    held[0].continue_()
    generate.wait_until_ready()
    expect(generate.page.locator("#wb-steps input[type=number]")).to_have_value("7")
    expect(generate.prompt).to_have_value("the words of today")


def test_a_press_on_paint_while_the_page_still_loads_counts(generate: GeneratePage) -> None:
    held: list[Route] = []
    before = generate.newest()
    generate.set_steps(2)
    generate.set_count(1)
    generate.page.route("**/studio/session", lambda route: held.append(route), times=1)
    generate.page.reload()
    generate.eventually(lambda: len(held), 1)
    generate.paint_button.click()
    held[0].continue_()
    generate.eventually(lambda: generate.newest() != before, True)
    assert generate.session()["pictures"][0]["request"]["num_inference_steps"] == 2


def test_wrong_size_is_explained_beside_its_field(generate: GeneratePage, expected_failures: list[str]) -> None:
    expected_failures.append("422")
    size = generate.page.locator("#wb-size input")
    size.fill("250 x 250")
    size.press("Tab")
    generate.paint_button.click()
    words = generate.page.locator("#wb-size .wb-error")
    expect(words).to_have_text("250 is not a multiple of 16. Use 240 or 256?")
    expect(size).to_have_attribute("aria-invalid", "true")
    size.fill("128 x 128")
    size.press("Tab")
    expect(words).to_have_count(0)
    generate.paint("hills", steps=2)
    generate.expect_result()


@pytest.mark.parametrize("seed", ["-1", "1180591620717411303424"])
def test_wrong_seed_is_explained_beside_its_field(
    generate: GeneratePage, expected_failures: list[str], seed: str
) -> None:
    expected_failures.append("422")
    generate.page.locator("#wb-seed input").fill(seed)
    generate.paint_button.click()
    expect(generate.page.locator("#wb-seed .wb-error")).to_contain_text("4294967295")


def test_too_many_words_are_explained_beside_the_prompt(generate: GeneratePage, expected_failures: list[str]) -> None:
    expected_failures.append("422")
    generate.prompt.fill("lake " * 20_000)
    generate.paint_button.click()
    expect(generate.page.locator("#wb-prompt .wb-error")).to_contain_text("At most 4,000 can be read.")


def test_arrows_look_through_and_a_click_enlarges(generate: GeneratePage) -> None:
    generate.paint("a river valley", steps=2, count=2)
    generate.expect_result()
    expect(generate.page.locator(".wb-look")).to_contain_text("Picture 1 of 2")
    generate.page.locator(".wb-slot").first.focus()
    generate.page.keyboard.press("ArrowRight")
    expect(generate.page.locator(".wb-look")).to_contain_text("Picture 2 of 2")
    generate.page.locator("button.wb-frame").click()
    viewer = generate.page.get_by_role("dialog", name="Picture, enlarged")
    expect(viewer).to_be_visible()
    generate.page.keyboard.press("ArrowLeft")
    expect(viewer.locator(".wb-hud")).to_contain_text("1 of 2")
    generate.page.keyboard.press("Escape")
    expect(viewer).not_to_be_visible()
    expect(generate.page.locator(".wb-look")).to_contain_text("Picture 1 of 2")


def test_settings_of_a_picture_come_back_into_the_form(generate: GeneratePage) -> None:
    generate.paint("a lighthouse on a rocky coast", steps=3)
    generate.expect_result()
    seed = generate.fact("Seed")
    generate.prompt.fill("")
    generate.page.get_by_role("button", name="Copy its settings to the form").click()
    expect(generate.prompt).to_have_value("a lighthouse on a rocky coast")
    expect(generate.page.locator("#wb-seed input")).to_have_value(seed)
    expect(generate.page.get_by_role("checkbox", name="New seed each time")).not_to_be_checked()


def test_dice_give_a_new_seed_each_time_and_a_typed_seed_stays(generate: GeneratePage) -> None:
    for _ in range(2):
        generate.paint("the sea", steps=1)
        generate.expect_result()
    newer, older = (picture["request"] for picture in generate.session()["pictures"][:2])
    assert newer["prompt"] == older["prompt"] == "the sea"
    assert newer["seed"] != older["seed"]
    generate.set_seed(42)
    expect(generate.page.get_by_role("checkbox", name="New seed each time")).not_to_be_checked()
    generate.press(generate.paint_button)
    generate.expect_result()
    assert generate.session()["pictures"][0]["request"]["seed"] == 42


def test_page_says_when_the_studio_is_gone_and_finds_it_again(
    page: Page, tmp_path_factory: pytest.TempPathFactory, expected_failures: list[str]
) -> None:
    expected_failures += [
        "ERR_CONNECTION_REFUSED",
        "ERR_INCOMPLETE_CHUNKED_ENCODING",
        "ERR_EMPTY_RESPONSE",
        "ERR_CONNECTION_RESET",
    ]
    folder = tmp_path_factory.mktemp("gone")
    studio = start_studio(folder)
    try:
        generate = GeneratePage(page, studio.url)
        generate.open()
        studio.stop()
        generate.paint_button.click()
        gone = page.get_by_role("alert")
        expect(gone).to_have_text(
            "The studio is not answering. It is started with python app.py. This page reconnects by itself."
        )
        studio = start_studio(folder, studio.port)
        expect(gone).to_have_count(0)
        generate.paint("hills", steps=2)
        generate.expect_result()
    finally:
        studio.stop()
