"""The flow: its numbers are those of the lists that it leads to, and its drawing holds all of them."""

import re
from datetime import timedelta
from html import unescape

from hypothesis import given
from hypothesis import strategies as st

from hermes_web.features.flow.drawing import NARROW, WIDE, Layout, draw
from hermes_web.features.flow.queries import Way, Ways, ways
from hermes_web.features.queues.queries import queue_details

NAMES = st.sampled_from(["a", "b", "c"])
COUNTS = st.integers(1, 100_000)
INTO_RULES = st.builds(Way, NAMES, st.sampled_from(["rule:x", "rule:", "unmatched"]), st.just("busy"), COUNTS)
INTO_TARGETS = st.builds(Way, st.sampled_from(["rule:x", "rule:"]), NAMES, st.sampled_from(["good", "bad"]), COUNTS)


@given(st.lists(INTO_RULES, max_size=6), st.lists(INTO_TARGETS, max_size=6), st.sampled_from([WIDE, NARROW]))
def test_every_way_is_a_ribbon_and_every_place_a_box_on_the_drawing(
    into_rules: list[Way], into_targets: list[Way], layout: Layout
) -> None:
    drawing = draw(Ways(into_rules, into_targets), layout)
    if drawing is None:
        assert not into_rules
        assert not into_targets
        return
    assert len(drawing.ribbons) == len(into_rules) + len(into_targets)
    assert {box.x for box in drawing.boxes} <= set(layout.columns)
    assert max(box.y + box.height for box in drawing.boxes) <= drawing.height
    assert all(0 <= box.text_x <= layout.width and 0 < box.text_y <= drawing.height for box in drawing.boxes)
    if layout.above:
        boxes = {(box.x, box.y + box.height) for box in drawing.boxes}
        tops = [(box.x, box.text_y - 12) for box in drawing.boxes]
        assert all(x != other or top >= low or low > top + 18 for x, top in tops for other, low in boxes), "on a box"


async def test_a_number_of_the_flow_is_the_length_of_the_list_that_it_leads_to(web, viewer, make_ledger) -> None:
    make_ledger()
    found = await web.database.run(ways, timedelta(days=1))
    assert {(way.start, way.end, way.series) for way in found.into_rules} == {
        ("MR01", "rule:brain", 2),
        ("MR01", "unmatched", 1),
    }
    assert {(way.start, way.end, way.tone, way.failed) for way in found.into_targets} == {
        ("rule:brain", "pacs", "bad", 1),
        ("rule:brain", "archive", "busy", 0),
    }
    page = (await viewer.get("/flow?within=24h")).text
    links = re.findall(r'<td data-label="Series" class="num"><a href="(/series[^"]+)">(\d+)</a>', page)
    assert len(links) == 4
    for link, number in links:
        listed = (await viewer.get(unescape(link))).text
        assert listed.count('name="ids"') == int(number), link
    assert (await viewer.get("/flow?within=soon")).status_code == 400


async def test_a_queue_says_what_waits_since_when_and_what_was_delivered(web, viewer, make_ledger) -> None:
    make_ledger()
    found = await web.database.run(queue_details)
    assert (found["archive"].states, found["archive"].priorities, found["archive"].waiting) == (
        {"queued": 1},
        {"normal": 1},
        1,
    )
    assert found["archive"].oldest is not None
    assert found["archive"].octets == 1_575_000
    assert (found["pacs"].states, found["pacs"].waiting, found["pacs"].oldest) == ({"failed": 1}, 0, None)
    assert sum(found["pacs"].throughput) == 1
    page = (await viewer.get("/queues")).text
    assert page.index(">archive<") < page.index(">pacs<")
    for link, number in re.findall(r'href="(/deliveries\?[^"]+)"[^>]*>(\d+)</a>', page):
        listed = (await viewer.get(unescape(link))).text
        assert listed.count('name="ids"') == int(number), link
