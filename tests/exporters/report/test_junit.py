"""Checks as JUnit XML: counts, what fails and what is skipped, and texts that XML cannot hold."""

import xml.etree.ElementTree as ET

from exporters.proof.checks import Check
from exporters.report.junit import to_junit

CHECKS = (
    Check(file="a/model.onnx", what="structure", status="passed", detail="12 operations"),
    Check(
        file="a/model.onnx", what="golden windows", status="failed", detail="3 of 40\nworst: jaw"
    ),
    Check(file="b/model.x", what="golden windows, Y", status="not run", detail="only on <Y> & Z"),
)


def test_one_case_a_check() -> None:
    root = ET.fromstring(to_junit(CHECKS, suite="demo", properties={"python": "3", "cpu": "x"}))
    (suite,) = root
    assert (root.tag, suite.tag, suite.get("name")) == ("testsuites", "testsuite", "demo")
    for element in (root, suite):
        counts = [element.get(name) for name in ("tests", "failures", "errors", "skipped")]
        assert counts == ["3", "1", "0", "1"]
    properties = [(entry.get("name"), entry.get("value")) for entry in suite.iter("property")]
    assert properties == [("cpu", "x"), ("python", "3")]
    cases = list(suite.iter("testcase"))
    assert [(case.get("classname"), case.get("name")) for case in cases] == [
        (check.file, check.what) for check in CHECKS
    ]
    passed, failed, skipped = cases
    assert list(passed) == []
    (failure,) = failed
    assert (failure.tag, failure.get("message")) == ("failure", "3 of 40")
    assert failure.text == "3 of 40\nworst: jaw"
    (skip,) = skipped
    assert (skip.tag, skip.get("message"), skip.text) == ("skipped", "only on <Y> & Z", None)


def test_equal_checks_give_equal_text() -> None:
    one, other = {"a": "1", "b": "2"}, {"b": "2", "a": "1"}
    texts = {to_junit(CHECKS, suite="demo", properties=facts) for facts in (one, other)}
    assert len(texts) == 1


def test_nothing_to_tell() -> None:
    (suite,) = ET.fromstring(to_junit((), suite="empty", properties={}))
    assert (suite.get("tests"), list(suite)) == ("0", [])


def test_every_character_becomes_valid_xml() -> None:
    # Beside each character its neighbour, so that one that is dropped or merged would show.
    points = [*range(0x300), 0xD7FF, 0xD800, 0xDFFF, 0xE000, 0xFFFD, 0xFFFE, 0xFFFF, 0x10FFFF]
    text = "".join(f"{chr(point)}." for point in points)
    check = Check(file=text, what=text, status="failed", detail=text)
    written = to_junit([check], suite=text, properties={text: text})
    case = ET.fromstring(written.encode()).find(".//testcase")
    assert case is not None
    failure = case.find("failure")
    assert failure is not None
    assert failure.text is not None
    assert len(failure.text) == len(text)
    changed = [
        point for point, found in zip(points, failure.text[::2], strict=True) if chr(point) != found
    ]
    controls = [point for point in range(0x20) if point not in (0x9, 0xA)]
    assert changed == [*controls, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF]
