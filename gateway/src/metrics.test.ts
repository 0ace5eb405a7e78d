import assert from "node:assert/strict";
import { test } from "node:test";
import { createMetrics, SERIES_MAX } from "./metrics.ts";

test("createMetrics() renders counters, gauges and histograms as Prometheus reads them", () => {
  const metrics = createMetrics();
  const decisions = metrics.counter({
    name: "countersign_decisions_total",
    help: "Decisions\nby outcome.",
    labels: ["lane", "outcome"],
  });
  decisions.of("http", "allowed").add();
  decisions.of("http", "allowed").add(2);
  decisions.of("sse", 'ref"us\\ed\n').add();
  metrics.counter({ name: "countersign_faults_total", help: "Faults." });
  metrics.gauge({ name: "countersign_connections", help: "Open now." }, () => 7);
  const seconds = metrics.histogram({
    name: "countersign_publish_seconds",
    help: "Time.",
    buckets: [0.01, 0.1],
  });
  for (const value of [0.005, 0.01, 0.05, 3]) seconds.of().observe(value);
  assert.equal(
    metrics.render(),
    `# HELP countersign_decisions_total Decisions\\nby outcome.
# TYPE countersign_decisions_total counter
countersign_decisions_total{lane="http",outcome="allowed"} 3
countersign_decisions_total{lane="sse",outcome="ref\\"us\\\\ed\\n"} 1
# HELP countersign_faults_total Faults.
# TYPE countersign_faults_total counter
countersign_faults_total 0
# HELP countersign_connections Open now.
# TYPE countersign_connections gauge
countersign_connections 7
# HELP countersign_publish_seconds Time.
# TYPE countersign_publish_seconds histogram
countersign_publish_seconds_bucket{le="0.01"} 2
countersign_publish_seconds_bucket{le="0.1"} 3
countersign_publish_seconds_bucket{le="+Inf"} 4
countersign_publish_seconds_sum 3.065
countersign_publish_seconds_count 4
`,
  );
});

test("createMetrics() renders the labels of a histogram before its buckets", () => {
  const metrics = createMetrics();
  const seconds = metrics.histogram({
    name: "countersign_x_seconds",
    help: "x",
    labels: ["lane"],
    buckets: [1],
  });
  seconds.of("http").observe(2);
  assert.match(metrics.render(), /countersign_x_seconds_bucket\{lane="http",le="1"\} 0\n/);
  assert.match(metrics.render(), /countersign_x_seconds_sum\{lane="http"\} 2\n/);
});

test("createMetrics() bounds the series of a label that callers choose, and counts the rest together", () => {
  const metrics = createMetrics();
  const counter = metrics.counter({ name: "countersign_x_total", help: "x", labels: ["user"] });
  for (let i = 0; i < 10_000; i += 1) counter.of(`user-${i}`).add();
  counter.of("x".repeat(10_000)).add();
  const lines = metrics
    .render()
    .split("\n")
    .filter((line) => line.startsWith("countersign_x_total{"));
  assert.equal(lines.length, SERIES_MAX + 1);
  assert.equal(lines.at(-1), `countersign_x_total{user="other"} ${10_001 - SERIES_MAX}`);
});

test("createMetrics() cuts an over-long label value", () => {
  const metrics = createMetrics();
  metrics
    .counter({ name: "countersign_x_total", help: "x", labels: ["user"] })
    .of("x".repeat(10_000))
    .add();
  assert.ok(metrics.render().length < 300);
});

test("createMetrics() never lets a counter fall", () => {
  const metrics = createMetrics();
  const counter = metrics.counter({ name: "countersign_x_total", help: "x" }).of();
  counter.add(2);
  counter.add(-1);
  counter.add(Number.NaN);
  assert.match(metrics.render(), /^countersign_x_total 2$/m);
});

for (const [what, make] of [
  ["a name of another program", () => createMetrics().counter({ name: "x_total", help: "x" })],
  ["a label le", () => createMetrics().counter({ name: "countersign_x", help: "x", labels: ["le"] })],
  [
    "a label that is none",
    () => createMetrics().counter({ name: "countersign_x", help: "x", labels: ['a"'] }),
  ],
  ["falling buckets", () => createMetrics().histogram({ name: "countersign_x", help: "x", buckets: [2, 1] })],
  [
    "a name twice",
    () => {
      const metrics = createMetrics();
      metrics.gauge({ name: "countersign_x", help: "x" }, () => 1);
      metrics.gauge({ name: "countersign_x", help: "x" }, () => 1);
    },
  ],
] as const) {
  test(`createMetrics() refuses ${what}`, () => {
    assert.throws(make, { code: "CONFIG_INVALID" });
  });
}
