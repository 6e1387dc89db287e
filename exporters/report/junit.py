"""Checks as JUnit XML, which CI systems show as tests."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

from exporters.proof.checks import Check

# All that XML 1.0 allows in a text, but for carriage returns, which readers turn into newlines.
_FORBIDDEN = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(checks: Sequence[Check], *, suite: str, properties: Mapping[str, str]) -> str:
    """One test case a check, in the order given; equal checks give equal text.

    A check that failed is a failure, one that did not run is skipped. Characters that XML cannot
    hold become U+FFFD.
    """
    counts = Counter(check.status for check in checks)
    totals = {
        "tests": str(len(checks)),
        "failures": str(counts["failed"]),
        "errors": "0",
        "skipped": str(counts["not run"]),
    }
    root = ET.Element("testsuites", totals)
    cases = ET.SubElement(root, "testsuite", {"name": _clean(suite), **totals})
    if properties:
        listed = ET.SubElement(cases, "properties")
        for name, value in sorted(properties.items()):
            ET.SubElement(listed, "property", {"name": _clean(name), "value": _clean(value)})
    for check in checks:
        names = {"classname": _clean(check.file), "name": _clean(check.what)}
        case, detail = ET.SubElement(cases, "testcase", names), _clean(check.detail)
        if check.status == "failed":
            failure = ET.SubElement(case, "failure", {"message": detail.partition("\n")[0]})
            failure.text = detail
        elif check.status == "not run":
            ET.SubElement(case, "skipped", {"message": detail})
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
