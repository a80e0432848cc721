#!/usr/bin/env python3
"""Draws traces: of `served`, the trace of a request that was served from the queue, and that of the process that
served it, with the link between them; or the `slowest` ADD's alone.

    deploy/draw-traces.py served|slowest SPANS PICTURE.svg

SPANS is what Rotel printed of the spans it received, or spans as Jaeger's query API has them, one a line, each with its
process.
"""

import json
import sys
from html import escape

WIDTH, NAMES, BAR, ROW, HEAD = 1000, 250, 640, 20, 44
COLOURS = ["#4c78a8", "#e07b39", "#54a24b", "#b279a2", "#9d755d"]


def parse(text):
    """The spans, each a dict."""
    return parse_jaeger(text) if text.startswith("{") else parse_rotel(text)


def parse_jaeger(text):
    return [of_jaeger(json.loads(line)) for line in text.splitlines()]


def of_jaeger(span):
    tags = {tag["key"]: str(tag["value"]) for tag in span["tags"]}
    of_kind = lambda kind: [one for one in span["references"] if one["refType"] == kind]
    start = span["startTime"] * 1000
    return {
        "Trace ID": span["traceID"], "ID": span["spanID"], "Name": span["operationName"],
        "Parent ID": next((one["spanID"] for one in of_kind("CHILD_OF")), ""),
        "Kind": "SPAN_KIND_" + tags.get("span.kind", "").upper(), "attributes": tags,
        "links": [one["traceID"] for one in of_kind("FOLLOWS_FROM")],
        "resource": {tag["key"]: tag["value"] for tag in span["process"]["tags"]},
        "start": start, "end": start + span["duration"] * 1000,
    }


def parse_rotel(text):
    spans, resource, part = [], {}, "resource"
    for line in map(str.strip, text.splitlines()):
        if line.startswith("ResourceSpans #"):
            resource, part = {}, "resource"
        elif line.startswith("Span #"):
            spans.append({"attributes": {}, "links": [], "resource": resource})
            part = "span"
        elif line.startswith("SpanEvent #"):
            part = "event"
        elif line.startswith("SpanLink #"):
            part = "link"
        name, colon, value = line.removeprefix("-> ").partition(":")
        name, value = name.strip(), value.strip()
        if not colon:
            continue
        inner = value[value.find("(") + 1 : -1] if value.endswith(")") else value
        if part == "resource":
            resource[name] = inner
        elif part == "span" and line.startswith("->"):
            spans[-1]["attributes"][name] = inner
        elif part == "span":
            spans[-1][name] = value
        elif part == "link" and name == "Trace ID":
            spans[-1]["links"].append(value)
    for span in spans:
        span["start"], span["end"] = int(span["Start time"]), int(span["End time"])
    return spans


def rows(spans, trace):
    """The spans of a trace in the order of a tree, with their depths."""
    own = sorted((span for span in spans if span["Trace ID"] == trace), key=lambda span: span["start"])
    known = {span["ID"] for span in own}
    found = []

    def visit(span, depth):
        found.append((span, depth))
        for child in own:
            if child["Parent ID"] == span["ID"]:
                visit(child, depth + 1)

    for span in own:
        if span["Parent ID"] not in known:
            visit(span, 0)
    return found


def verbs(spans):
    """Each trace's own span."""
    return {span["Trace ID"]: span for span in spans if span["Kind"] == "SPAN_KIND_SERVER"}


def server(span):
    """Where a request went; empty for other spans."""
    address = [span["attributes"].get(f"server.{part}", "") for part in ("address", "port")]
    return ":".join(address).strip(":")


def lasted(span):
    return span["end"] - span["start"]


def served(spans):
    """The trace that waited longest for the batch that served most, that batch, and its trace."""
    batch = max((span for span in spans if span["Name"] == "batch"), key=lambda span: len(span["links"]))
    if not batch["links"]:
        sys.exit("draw-traces: nobody was served by another: nothing to show")
    own = verbs(spans)
    waiting = max(batch["links"], key=lambda trace: lasted(own[trace]))
    return batch, [(waiting, "waited, and was served"), (batch["Trace ID"], "held the lock, and served")]


def slowest(spans):
    adds = (span for span in verbs(spans).values() if span["Name"] == "ADD")
    return None, [(max(adds, key=lasted)["Trace ID"], "took longest")]


def draw(spans, batch, traces):
    blocks = [rows(spans, trace) for trace, _ in traces]
    every = [span for block in blocks for span, _ in block]
    begin, end = min(span["start"] for span in every), max(span["end"] for span in every)
    nodes = sorted({span["resource"].get("k8s.node.name", "?") for span in every})
    colour = {node: COLOURS[place % len(COLOURS)] for place, node in enumerate(nodes)}
    x = lambda time: NAMES + (time - begin) * BAR / (end - begin)
    parts, at, marks = [], 34, {}

    def text(left, top, content, style=""):
        parts.append(f'<text x="{left:.1f}" y="{top:.1f}" {style}>{escape(content)}</text>')

    for node, place in zip(nodes, range(len(nodes))):
        left = NAMES + place * 110
        parts.append(f'<rect x="{left}" y="8" width="12" height="12" fill="{colour[node]}"/>')
        text(left + 18, 18, node)
    for block, (_, what) in zip(blocks, traces):
        verb = block[0][0]
        attributes = verb["attributes"]
        text(8, at + 20, f'{verb["Name"]} of {attributes["k8s.pod.name"]}: it {what}; '
             f'{attributes["whereabouts.addresses"]}', 'font-weight="bold"')
        text(WIDTH - 8, at + 20, f'trace {verb["Trace ID"]}', 'text-anchor="end" fill="#777"')
        at += HEAD - 14
        for span, depth in block:
            node = span["resource"].get("k8s.node.name", "?")
            left, width = x(span["start"]), max(x(span["end"]) - x(span["start"]), 1.5)
            text(12 + 12 * depth, at + 14, f'{span["Name"]} {server(span)}')
            parts.append(f'<rect x="{NAMES}" y="{at + 18.5}" width="{BAR + 100}" height="0.5" fill="#ddd"/>')
            parts.append(f'<rect x="{left:.1f}" y="{at + 4}" width="{width:.1f}" height="11" rx="2" '
                         f'fill="{colour[node]}"/>')
            text(left + width + 4, at + 14, f'{(span["end"] - span["start"]) / 1e6:.2f} ms', 'fill="#777"')
            if batch and (span["Name"] == "served" or span["ID"] == batch["ID"]):
                marks[span["Name"]] = (left, at + 9.5)
            at += ROW
        at += 14
    if batch:
        (from_x, from_y), (to_x, to_y) = marks["served"], marks["batch"]
        bend = min(from_x, to_x) - 40
        parts.append(f'<path d="M{from_x:.1f},{from_y:.1f} C{bend:.1f},{from_y:.1f} {bend:.1f},{to_y:.1f} '
                     f'{to_x:.1f},{to_y:.1f}" fill="none" stroke="#c33" stroke-width="1.5" stroke-dasharray="4 3"/>')
        text(bend - 4, (from_y + to_y) / 2, "link", 'fill="#c33" text-anchor="end"')
        text(8, at + 8, f'This batch served {len(batch["links"])} pods in one transaction; each is linked with it. '
             f'{(end - begin) / 1e6:.1f} ms from left to right.', 'fill="#777"')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{at + 20}" '
            f'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n'
            + "\n".join(parts) + "\n</svg>\n")


def main():
    which, source, picture = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        spans = parse(file.read())
    with open(picture, "w", encoding="utf-8") as file:
        file.write(draw(spans, *{"served": served, "slowest": slowest}[which](spans)))
    print(f"{len(spans)} spans received; drawn: {picture}")


main()
