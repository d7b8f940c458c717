"""Charts as SVG, by Vega-Lite, which `vl-convert` runs without a browser. Black on white, told apart without colour.

Names of queues are no part of a chart: they stand beside it, as text of the page.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from stream.core import kpi
from stream.report.figures import Waits

_INK: Final = "#1a1a1a"
_PALE: Final = "#b5b5b5"
_DARK_FROM: Final = 0.55  # from this share of the scale on, text on it is white
_GREYS: Final = ("#ffffff", "#4d4d4d")
_DAYS_WITH_POINTS_MAX: Final = 62  # more would touch each other
_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_CONFIG: Final = {
    "aria": False,
    "font": "Liberation Sans, Arial, sans-serif",
    "view": {"stroke": None},
    "axis": {"labelFontSize": 9, "titleFontSize": 9, "titleFontWeight": "normal", "gridColor": "#e4e4e4"},
}


def draw(spec: Mapping[str, Any]) -> str:
    """Return the SVG of a Vega-Lite specification. Nothing is fetched."""
    import vl_convert  # noqa: PLC0415 - optional, and large

    whole = {"config": _CONFIG, "background": "white", "autosize": {"type": "fit", "contains": "padding"}}
    return vl_convert.vegalite_to_svg({**whole, **spec}, vl_version="5.20", allowed_base_urls=[])


def days(found: Sequence[tuple[str, Mapping[int, int]]], objective: float | None, width: int) -> str:
    """Draw the service level of each day as a line, abandonment as bars, the objective as a dashed line."""
    values = [
        {"day": day, "level": kpi.SERVICE_LEVEL.of(counts), "gone": kpi.ABANDONMENT.of(counts)}
        for day, counts in found
    ]
    percent = {"type": "quantitative", "scale": {"domain": [0, 1]}, "axis": {"format": "%", "tickCount": 5}}
    day = {
        "field": "day",
        "type": "ordinal",
        "title": None,
        "axis": {"labelExpr": "slice(datum.value, 8)", "labelOverlap": "greedy", "labelAngle": 0},
    }
    line = {"type": "line", "color": _INK, "strokeWidth": 1.5, "invalid": "break-paths-show-domains"}
    if len(values) <= _DAYS_WITH_POINTS_MAX:
        line["point"] = {"color": _INK, "size": 14}
    layers: list[dict[str, Any]] = [
        {"mark": {"type": "bar", "color": _PALE}, "encoding": {"x": day, "y": _of("gone", percent)}},
        {"mark": line, "encoding": {"x": day, "y": _of("level", percent)}},
    ]
    if objective is not None:
        rule = {"type": "rule", "color": _INK, "strokeDash": [4, 3]}
        layers.append({"mark": rule, "encoding": {"y": {"datum": objective, **percent, "title": None}}})
    return draw({"width": width, "height": 120, "data": {"values": values}, "layer": layers})


def _of(name: str, channel: Mapping[str, Any]) -> dict[str, Any]:
    return {"field": name, "title": None, **channel}


def hours(found: Mapping[tuple[int, int], Mapping[int, int]], *, service_level: bool) -> str:
    """Draw hour by weekday, darker for more contacts that entered, or for a lower service level; the number inside."""
    values = []
    most = max((kpi.QUEUED.of(counts) for counts in found.values()), default=0) or 1
    for (weekday, hour), counts in sorted(found.items()):
        level, queued = kpi.SERVICE_LEVEL.of(counts), kpi.QUEUED.of(counts)
        if service_level and level is not None:
            text, dark = str(_whole_percent(counts)), 1 - level
        elif not service_level and queued:
            text, dark = str(queued), queued / most
        else:
            continue
        values.append({"day": _WEEKDAYS[weekday], "hour": hour, "text": text, "shade": dark})
    present = [hour for _, hour in found]
    place = {
        "x": {
            "field": "hour",
            "type": "ordinal",
            "title": None,
            "scale": {"domain": list(range(min(present), max(present) + 1))},
            "axis": {"labelAngle": 0, "orient": "top"},
        },
        "y": {"field": "day", "type": "ordinal", "title": None, "scale": {"domain": list(_WEEKDAYS)}},
    }
    shade = {
        "field": "shade",
        "type": "quantitative",
        "legend": None,
        "scale": {"domain": [0, 1], "range": list(_GREYS)},
    }
    white = {"test": f"datum.shade > {_DARK_FROM}", "value": "white"}
    layers = [
        {"mark": {"type": "rect", "stroke": _PALE}, "encoding": {"color": shade}},
        {
            "mark": {"type": "text", "fontSize": 8},
            "encoding": {"text": {"field": "text"}, "color": {"condition": white, "value": _INK}},
        },
    ]
    data = {"values": values}
    return draw({"width": 690, "height": 190, "data": data, "encoding": place, "layer": layers})


def _whole_percent(counts: Mapping[int, int]) -> int:
    return kpi.SERVICE_LEVEL_MET.of(counts) * 100 // kpi.SERVICE_LEVEL_BASE.of(counts)


def waits(found: Sequence[Waits]) -> str:
    """Draw how many were answered, and how many gave up, after how long."""
    names = wait_names(found)
    values = [
        {"wait": name, "what": what, "count": count}
        for name, one in zip(names, found, strict=True)
        for what, count in (("answered", one.answered), ("abandoned", one.abandoned))
    ]
    what = {
        "field": "what",
        "type": "nominal",
        "title": None,
        "scale": {"domain": ["answered", "abandoned"], "range": ["#4d4d4d", "#d9d9d9"]},
        "legend": {"orient": "top-right"},
    }
    encoding = {
        "x": {
            "field": "wait",
            "type": "ordinal",
            "title": "wait in seconds",
            "sort": None,
            "axis": {"labelAngle": 0},
        },
        "xOffset": {"field": "what", "sort": ["answered", "abandoned"]},
        "y": {"field": "count", "type": "quantitative", "title": "contacts", "axis": {"tickMinStep": 1}},
        "color": what,
    }
    mark = {"type": "bar", "stroke": _INK, "strokeWidth": 0.5}
    return draw({"width": 690, "height": 190, "data": {"values": values}, "mark": mark, "encoding": encoding})


def wait_names(found: Sequence[Waits]) -> list[str]:
    """Return the name of each bucket, in seconds."""
    names = []
    before = 0
    for one in found:
        names.append(f"over {before}" if one.bound_s is None else f"{before}\u2013{one.bound_s}")
        before = one.bound_s or before
    return names
