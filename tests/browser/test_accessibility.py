"""The page by keyboard, on a phone, in the dark; and what axe-core has to say about it."""

from __future__ import annotations

import json
import uuid

import pytest
from playwright.sync_api import expect

from support.axe import violations

EVERYTHING = "watch cancel enqueue"
LOOKS = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "has_touch": True},
    "reduced motion": {"reduced_motion": "reduce"},
    "forced colours": {"forced_colors": "active"},
}


@pytest.fixture
def owner():
    return uuid.uuid4().hex


@pytest.fixture
def link(stack, owner):
    return f"{stack.url}/#token={stack.token(owner=owner, scope=EVERYTHING)}"


def enqueue_all_kinds(stack, owner):
    """Enqueue jobs that succeed, fail and go on; return the one that goes on."""
    for task, args in (("support.add", [1, 2]), ("support.fail", []), ("support.talk", [30])):
        job = stack.bridge.enqueue(task, args, owner=owner)
        list(stack.bridge.watch(job.id))
    return stack.bridge.enqueue("support.work", [60.0], owner=owner)


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_no_violation(browser, stack, owner, link, look):
    job = enqueue_all_kinds(stack, owner)
    context = browser.new_context(**LOOKS[look])
    try:
        page = context.new_page()
        page.goto(link)
        expect(page.locator("#running .job")).to_have_count(1)
        expect(page.locator("#ended .job")).to_have_count(3)
        page.locator("#ended .log summary").first.click()
        expect(page.get_by_role("log").first).to_be_visible()
        assert violations(page) == []
        if look == "phone":
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.get_by_role("link", name="History").click()
        expect(page.locator(".found")).to_have_count(4)
        assert violations(page) == []
        page.locator(".found .name", has_text="talk").click()
        expect(page.locator("#log-box")).to_be_visible()
        assert violations(page) == []
        if look == "phone":
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
    finally:
        context.close()
        stack.bridge.cancel(job.id)


def test_axe_finds_no_violation_without_a_token(page, stack):
    page.goto(stack.url)
    expect(page.locator("#no-token")).to_be_visible()
    assert violations(page) == []


def test_a_job_is_started_searched_and_cancelled_by_keyboard_alone(page, link):
    page.goto(link)
    expect(page.locator("#connection")).to_have_text("Live")

    def tab_to(condition):
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate(
                f"(() => {{ const at = document.activeElement; return {condition}; }})()"
            ):
                return
        raise AssertionError(f"no Tab led to {condition}")

    tab_to("at.name === 'kind'")
    page.keyboard.press("ArrowUp")  # from the first kind to the last
    tab_to("at.name === 'name'")
    page.keyboard.type("support.work")
    tab_to("at.name === 'args'")
    page.keyboard.type(json.dumps([60.0]))
    page.keyboard.press("Enter")
    card = page.locator(".job")
    expect(card).to_have_attribute("data-state", "running")
    tab_to("at.closest('.log') && at.tagName === 'SUMMARY'")
    page.keyboard.press("Enter")
    expect(page.get_by_role("log")).to_be_visible()
    tab_to("at.type === 'search' && at.closest('.log')")
    page.keyboard.type("nothing has this")
    expect(page.locator(".nothing")).to_be_visible()
    for _ in range(60):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.classList.contains('cancel')"):
            break
    page.keyboard.press("Enter")
    expect(card).to_have_attribute("data-state", "cancelled")


def test_nothing_moves_for_those_who_asked_for_less_motion(browser, stack, owner, link):
    job = stack.bridge.enqueue("support.work", [60.0], owner=owner)
    context = browser.new_context(reduced_motion="reduce")
    try:
        page = context.new_page()
        page.goto(link)
        expect(page.get_by_role("progressbar", name="work")).to_be_visible()
        style = "fill => getComputedStyle(fill).transitionDuration"
        assert page.locator(".fill").first.evaluate(style) == "0s"
    finally:
        context.close()
        stack.bridge.cancel(job.id)
