"""Additional configuration of a machine: pieces of libvirt's XML, read without believing them."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, ParseError, fromstring

from mgmt_server.errors import Failed

QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
LONGEST, DEEPEST = 20_000, 20
# what the cloud itself says of a machine
OWN = frozenset({"name", "uuid", "memory", "currentMemory", "vcpu", "metadata", "os", "sysinfo", "emulator"})


def elements(text: str) -> list[Element]:
    """The elements of a piece. Raises Failed for what is no plain XML, or is the cloud's own to say."""
    if len(text) > LONGEST:
        raise Failed(f"it has {len(text)} characters, of {LONGEST} at most")
    if "<!" in text or "<?" in text:  # no document type means no entities: nothing is expanded, nothing is fetched
        raise Failed("it may have elements, attributes and text alone: no <! and no <?")
    try:
        found = fromstring(f'<extra xmlns:qemu="{QEMU}">{text}</extra>')  # noqa: S314  see above
    except ParseError as error:
        raise Failed(f"it is no XML: {error}") from error
    if not len(found) or (found.text or "").strip() or any((e.tail or "").strip() for e in found):
        raise Failed("it has to be elements, with nothing between them")
    _check_depth(found)
    for element in found:
        wrong = OWN & {element.tag, *(child.tag for child in element if element.tag == "devices")}
        if wrong:
            raise Failed(f"<{min(wrong)}> is the cloud's own to say")
    return list(found)


def _check_depth(root: Element) -> None:
    level = [root]
    for _ in range(DEEPEST):
        level = [child for element in level for child in element]
        if not level:
            return
    raise Failed(f"its elements lie more than {DEEPEST} deep in each other")


def names(element: Element) -> set[str]:
    """What an element and all in it are called, those of QEMU's own name space as qemu:NAME."""
    found = {e.tag for e in element.iter()}
    return {f"qemu:{n.rpartition('}')[2]}" if n.startswith(f"{{{QEMU}}}") else re.sub(r"\s", "", n) for n in found}


def merge(root: Element, piece: str) -> None:
    """Put a piece into a machine's XML: what is there already keeps its attributes and gets more inside."""
    for element in elements(piece):
        there = root.find(element.tag)
        if there is None:
            root.append(element)
            continue
        for name, value in element.attrib.items():
            if name not in there.attrib:
                there.set(name, value)
        for child in element:
            there.append(child)
