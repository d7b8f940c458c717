// What a panel shows for given results of its queries, by Grafana's own code (@grafana/data).
//
// Reads lines of JSON from standard input, {panel, results: {A: [{metric, value}]}}; writes a line for each, a list of
// {name, text, color}: of a stat panel's values, or of the cells of a table, one list a row.
"use strict";

const { JSDOM } = require("jsdom");

const page = new JSDOM("<html></html>"); // some modules look at the browser when they are loaded
globalThis.window = page.window;
globalThis.document = page.window.document;
Object.defineProperty(globalThis, "navigator", { value: page.window.navigator, configurable: true });

const grafana = require("@grafana/data");

const theme = grafana.createTheme();
const same = (value) => value;

// The options that every panel has. Grafana's server registers them with editors; only what applies a value matters here.
const OPTIONS = ["unit", "min", "max", "decimals", "displayName", "color", "noValue", "mappings", "links"];
const option = (id, process) => ({ id, path: id, name: id, process, shouldApply: () => true, getItemsCount: () => 0 });
grafana.standardFieldConfigEditorRegistry.setInit(() => [
  ...OPTIONS.map((id) => option(id, grafana.identityOverrideProcessor)),
  option("thresholds", grafana.thresholdsOverrideProcessor),
]);
grafana.standardTransformersRegistry.setInit(() =>
  [grafana.standardTransformers.mergeTransformer, grafana.standardTransformers.organizeFieldsTransformer].map(
    (transformation) => ({ id: transformation.id, name: transformation.name, transformation, editor: () => null })
  )
);

const instant = 1_785_759_900_000;
const time = (count) => ({ name: "Time", type: grafana.FieldType.time, values: Array(count).fill(instant), config: {} });

function legend(target, metric) {
  return (target.legendFormat ?? "").replace(/{{(\w+)}}/g, (_, label) => metric[label] ?? "");
}

// One frame a series, as the data source makes them of an instant query in the form of time series.
function seriesFrames(panel, results) {
  return panel.targets.flatMap((target) =>
    (results[target.refId] ?? []).map(({ metric, value }) =>
      grafana.toDataFrame({
        refId: target.refId,
        fields: [
          time(1),
          {
            name: "Value",
            type: grafana.FieldType.number,
            labels: metric,
            values: [value],
            config: { displayNameFromDS: legend(target, metric) },
          },
        ],
      })
    )
  );
}

// One frame a query, a row a series: the form of a table.
function tableFrames(panel, results) {
  return panel.targets.map((target) => {
    const series = results[target.refId] ?? [];
    const labels = [...new Set(series.flatMap(({ metric }) => Object.keys(metric)))];
    const column = (label) => ({
      name: label,
      type: grafana.FieldType.string,
      values: series.map(({ metric }) => metric[label]),
      config: {},
    });
    return grafana.toDataFrame({
      refId: target.refId,
      fields: [
        time(series.length),
        ...labels.map(column),
        {
          name: `Value #${target.refId}`,
          type: grafana.FieldType.number,
          values: series.map(({ value }) => value),
          config: {},
        },
      ],
    });
  });
}

function configured(panel, frames) {
  const registry = new grafana.FieldConfigOptionsRegistry();
  grafana.standardFieldConfigEditorRegistry.list().forEach((item) => registry.register(item));
  return grafana.applyFieldOverrides({
    data: frames,
    fieldConfig: panel.fieldConfig,
    fieldConfigRegistry: registry,
    replaceVariables: same,
    theme,
    timeZone: "utc",
  });
}

const text = (shown) => [shown.prefix, shown.text, shown.suffix].filter(Boolean).join("");

function statValues(panel, results) {
  return grafana
    .getFieldDisplayValues({
      data: configured(panel, seriesFrames(panel, results)),
      fieldConfig: panel.fieldConfig,
      reduceOptions: panel.options.reduceOptions,
      replaceVariables: same,
      theme,
      timeZone: "utc",
    })
    .map(({ display }) => ({ name: display.title ?? "", text: text(display), color: display.color ?? "" }));
}

async function transformed(panel, frames) {
  return new Promise((resolve, reject) => {
    grafana.transformDataFrame(panel.transformations, frames, { interpolate: same }).subscribe({ next: resolve, error: reject });
  });
}

async function tableRows(panel, results) {
  const [frame] = configured(panel, await transformed(panel, tableFrames(panel, results)));
  const cells = (row) =>
    frame.fields.map((field) => {
      const shown = field.display(field.values[row]);
      return { name: grafana.getFieldDisplayName(field, frame), text: text(shown), color: shown.color ?? "" };
    });
  return [...Array(frame.length).keys()].map(cells);
}

async function main() {
  const lines = require("node:readline").createInterface({ input: process.stdin });
  for await (const line of lines) {
    const { panel, results } = JSON.parse(line);
    const shown = panel.type === "table" ? await tableRows(panel, results) : statValues(panel, results);
    process.stdout.write(JSON.stringify(shown) + "\n");
  }
}

main();
