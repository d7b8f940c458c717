"""What the dashboards are built of: variables, targets, tiles, graphs, and their colours.

The colours are those of Okabe and Ito, which colour-blind people tell apart; nothing is said by colour alone.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

with warnings.catch_warnings():
    # The SDK prefers its next format, which no Grafana reads from a file yet.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import common as common_builders
    from grafana_foundation_sdk.builders import dashboard as builders
    from grafana_foundation_sdk.builders import heatmap, prometheus, stat, table, timeseries
    from grafana_foundation_sdk.models import common, dashboard
    from grafana_foundation_sdk.models import heatmap as heatmap_models
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from tools.dashboards.queries import series

BLUE: Final = "#0072B2"
ORANGE: Final = "#E69F00"
VERMILLION: Final = "#D55E00"
GREY: Final = "#6E6E6E"
SKY: Final = "#56B4E9"
GREEN: Final = "#009E73"
PURPLE: Final = "#CC79A7"
# Of several lines of one graph, in this order.
PALETTE: Final = (BLUE, ORANGE, VERMILLION, SKY, GREEN, PURPLE)

SOURCE: Final = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
# Name and uid of the data sources in grafana/provisioning.
LIVE: Final = ("Live", "callgauge-live")
REPLAY: Final = ("Replay", "callgauge-replay")
COLUMNS: Final = 24  # of Grafana's grid
# What a board says where a figure is absent, and where there is no data at all.
NO_CALLS: Final = "no calls"
NO_DATA: Final = "NO DATA"
ABSENT: Final = -1  # the value of a query whose result says that there is none
CLOSED: Final = -2
TAG: Final = "callgauge"

Property = dashboard.DynamicConfigValue


@dataclass(frozen=True)
class Query:
    """One query of a panel. ``name`` is its legend."""

    expr: str
    name: str = ""
    color: str = ""
    unit: str = ""
    dashed: bool = False
    interval: str = ""


@dataclass(frozen=True)
class Place:
    """Where a panel stands in the grid."""

    x: int
    y: int
    w: int
    h: int

    @property
    def grid(self) -> dashboard.GridPos:
        """The same, for the SDK."""
        return dashboard.GridPos(x=self.x, y=self.y, w=self.w, h=self.h)


def ref(index: int) -> str:
    """Return the name of a panel's n-th query."""
    return chr(ord("A") + index)


def in_states(queries: Sequence[str], names: Sequence[str], colors: Sequence[str]) -> list[Query]:
    """Return the queries of a tile, of which one has a result, with what that result means."""
    return [Query(expr, name, color) for expr, name, color in zip(queries, names, colors, strict=True)]


def _targets(panel: Any, queries: Sequence[Query], *, instant: bool, form: PromQueryFormat) -> None:
    for index, query in enumerate(queries):
        target = prometheus.Dataquery().ref_id(ref(index)).datasource(SOURCE).expr(query.expr).format(form)
        target = target.instant() if instant else target.range()
        if query.name:
            target = target.legend_format(query.name)
        if query.interval:
            target = target.interval(query.interval)
        panel.with_target(target)


def _base(panel: Any, title: str, description: str, place: Place) -> Any:
    return (
        panel.title(title)
        .description(description)
        .datasource(SOURCE)
        .grid_pos(place.grid)
        .height(place.h)
        .span(place.w)
    )


def thresholds(base: str, *steps: tuple[float, str]) -> Any:
    """Return thresholds with the base written out, since the default one is green."""
    return builders.ThresholdsConfig().steps(
        [dashboard.Threshold(value=None, color=base)]
        + [dashboard.Threshold(value=value, color=color) for value, color in steps]
    )


def texts(values: dict[float, tuple[str, str]]) -> dashboard.ValueMapping:
    """Return a mapping of values to a text and a colour."""
    return dashboard.ValueMap(
        options={
            f"{value:g}": dashboard.ValueMappingResult(text=text, color=color, index=index)
            for index, (value, (text, color)) in enumerate(values.items())
        }
    )


def nothing(text: str) -> dashboard.ValueMapping:
    """Return what stands for a figure that is absent: grey, and never a number."""
    return dashboard.SpecialValueMap(
        options=dashboard.DashboardSpecialValueMapOptions(
            match=dashboard.SpecialValueMatch.NULL_AND_NAN,
            result=dashboard.ValueMappingResult(text=text, color=GREY, index=0),
        )
    )


def fixed(color: str) -> Property:
    """Return the property that paints a field."""
    return Property(id_val="color", value={"mode": "fixed", "fixedColor": color})


def tile(
    title: str,
    description: str,
    place: Place,
    queries: Sequence[Query],
    unit: str,
    *,
    decimals: int = 0,
    absent: str = NO_CALLS,
    value_size: int = 0,
    title_size: int = 0,
    named: bool = True,
) -> Any:
    """Return a big number. Of its queries one has a result, whose name and colour say what state that is.

    A query that says "there is none" gives ``ABSENT``, shown as ``absent`` in grey; without any result there is no
    data, and the tile says so. Everything is an instant query: a dead exporter empties the tile at once.
    """
    panel = _base(stat.Panel(), title, description, place)
    _targets(panel, queries, instant=True, form=PromQueryFormat.TIME_SERIES)
    reduce = common_builders.ReduceDataOptions().calcs(["last"]).fields("").values(False)
    panel = (
        panel.unit(unit)
        .decimals(decimals)
        .no_value(NO_DATA)
        .mappings([texts({ABSENT: (absent, GREY)}), nothing(NO_DATA)])
        .thresholds(thresholds(BLUE))
        .color_scheme(builders.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.BACKGROUND_SOLID)
        .text_mode(common.BigValueTextMode.VALUE_AND_NAME if named else common.BigValueTextMode.AUTO)
        .justify_mode(common.BigValueJustifyMode.CENTER)
        .reduce_options(reduce)
    )
    for index, query in enumerate(queries):
        if query.color:
            panel = panel.override_by_query(ref(index), [fixed(query.color)])
    if value_size:
        sizes = common_builders.VizTextDisplayOptions().title_size(title_size).value_size(value_size)
        panel = panel.text(sizes)
    return panel


def graph(
    title: str,
    description: str,
    place: Place,
    queries: Sequence[Query],
    unit: str,
    *,
    bars: bool = False,
    stacked: bool = False,
    top: float | None = None,
) -> Any:
    """Return lines over time, or bars. A gap stays a gap."""
    panel = _base(timeseries.Panel(), title, description, place)
    _targets(panel, queries, instant=False, form=PromQueryFormat.TIME_SERIES)
    legend = (
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs([])
    )
    tooltip = common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
    panel = (
        panel.unit(unit)
        .min(0)
        .thresholds(thresholds(BLUE))
        .color_scheme(builders.FieldColor().mode(dashboard.FieldColorModeId.PALETTE_CLASSIC))
        .draw_style(common.GraphDrawStyle.BARS if bars else common.GraphDrawStyle.LINE)
        .fill_opacity(60 if bars else 10)
        .line_width(1 if bars else 2)
        .show_points(common.VisibilityMode.NEVER)
        .span_nulls(False)
        .legend(legend)
        .tooltip(tooltip)
    )
    if top is not None:
        panel = panel.max(top)
    if stacked:
        mode = common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A")
        panel = panel.stacking(mode)
    for index, query in enumerate(queries):
        properties = [] if "{{" in query.name else [fixed(query.color or PALETTE[index % len(PALETTE)])]
        if query.dashed:
            properties.append(Property("custom.lineStyle", {"fill": "dash", "dash": [8, 8]}))
            properties.append(Property("custom.fillOpacity", 0))
            properties.append(Property("custom.drawStyle", "line"))
        if query.unit:
            properties.append(Property("unit", query.unit))
        if properties:
            panel = panel.override_by_query(ref(index), properties)
    return panel


def heat_map(title: str, description: str, place: Place, query: Query) -> Any:
    """Return a heat map of a histogram's buckets, darker for more."""
    panel = _base(heatmap.Panel(), title, description, place)
    _targets(panel, [query], instant=False, form=PromQueryFormat.HEATMAP)
    colors = (
        heatmap.HeatmapColorOptions()
        .mode(heatmap_models.HeatmapColorMode.SCHEME)
        .scheme("Viridis")
        .scale(heatmap_models.HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)
        .fill("dark-orange")
        .reverse(False)
        .steps(32)
    )
    axis = heatmap.YAxisConfig().unit("s").axis_placement(common.AxisPlacement.LEFT)
    return (
        panel.calculate(False)
        .unit("short")
        .thresholds(thresholds(BLUE))
        .color(colors)
        .y_axis(axis)
        .cell_values(heatmap.CellValues().unit("short"))
        .cell_gap(1)
        .show_legend()
    )


@dataclass(frozen=True)
class Column:
    """A column of a table: its query has one element a row."""

    title: str
    expr: str
    unit: str
    decimals: int = 0
    absent: str = NO_CALLS
    states: tuple[
        tuple[float, str, str], ...
    ] = ()  # value, text, colour: shown on the cell instead of the value
    width: int = 0


def rows_table(
    title: str,
    description: str,
    place: Place,
    label: str,
    label_title: str,
    columns: Sequence[Column],
    sort: tuple[str, bool],
    *,
    large: bool = False,
) -> Any:
    """Return a table with a row for each value of a label; ``sort`` is a column's title, and whether downwards."""
    panel = _base(table.Panel(), title, description, place)
    queries = [Query(column.expr) for column in columns]
    _targets(panel, queries, instant=True, form=PromQueryFormat.TABLE)
    names = {f"Value #{ref(index)}": column.title for index, column in enumerate(columns)}
    order = {label: 0, **{name: index + 1 for index, name in enumerate(names)}}
    panel = (
        panel.unit("short")
        .no_value(NO_DATA)
        .thresholds(thresholds("text"))
        .with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            dashboard.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True},
                    "indexByName": order,
                    "renameByName": {label: label_title, **names},
                },
            )
        )
        .show_header(True)
        .cell_height(common.TableCellHeight.LG if large else common.TableCellHeight.SM)
        .sort_by([common_builders.TableSortByFieldState().display_name(sort[0]).desc(sort[1])])
    )
    for column in columns:
        panel = panel.override_by_name(column.title, _cell(column))
    return panel


def _cell(column: Column) -> list[Property]:
    mappings: list[dashboard.ValueMapping] = [nothing(column.absent)]
    properties = [Property("unit", column.unit), Property("decimals", column.decimals)]
    if column.states:
        mappings.append(texts({value: (text, color) for value, text, color in column.states}))
        properties.append(Property("custom.cellOptions", {"type": "color-background", "mode": "basic"}))
    if column.width:
        properties.append(Property("custom.width", column.width))
    return [*properties, Property("mappings", mappings)]


def source_variable(first: tuple[str, str]) -> Any:
    """Return ``$datasource``: the live Prometheus, or one with replayed history; ``first`` is chosen at first."""
    name, uid = first
    return (
        builders.DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
        .multi(False)
        .include_all(False)
        .current(dashboard.VariableOption(selected=True, text=name, value=uid))
    )


def _label_variable(name: str, label: str, metric: str, of: str) -> Any:
    query = f"label_values({series(metric)}, {of})"
    return (
        builders.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": query, "refId": f"Variable-{name}", "qryType": 5})
        .definition(query)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.NATURAL_ASC)
    )


def queue_variable(*, one: bool = False) -> Any:
    """Return ``$queue``: any number of queues, at first all, those that come later included; or exactly one."""
    variable = _label_variable("queue", "Queue", "callcenter_contacts_waiting", "queue")
    if one:
        return variable.multi(False).include_all(False)
    everything = dashboard.VariableOption(selected=True, text=["All"], value=["$__all"])
    return variable.multi(True).include_all(True).all_value(".+").current(everything)


def window_variable() -> Any:
    """Return ``$window``: one of those that the worker exports."""
    first = dashboard.VariableOption(selected=True, text="30m", value="30m")
    variable = _label_variable("window", "Window", "callcenter_window_queued", "window")
    return variable.multi(False).include_all(False).current(first)


def board(
    uid: str,
    title: str,
    description: str,
    variables: Sequence[Any],
    panels: Sequence[Any],
    *,
    source: tuple[str, str] = LIVE,
) -> Any:
    """Return a dashboard that nobody changes by hand, with links to the others."""
    links = (
        builders.DashboardLink("callgauge")
        .type(dashboard.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .include_vars(True)
        .keep_time(True)
        .icon("external link")
        .tooltip("")
        .url("")
        .as_dropdown(False)
        .target_blank(False)
    )
    made = (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .variables([source_variable(source), *variables])
        .link(links)
    )
    for number, panel in enumerate(panels, start=1):
        made = made.with_panel(panel.id(number))
    return made
