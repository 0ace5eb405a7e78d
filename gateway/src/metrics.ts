import { GatewayError } from "./errors.ts";

/** Counts what happens, for Prometheus to fetch. Parts report through callbacks; only the composition holds this. */
export interface Metrics {
  counter(options: MetricOptions): Labelled<Counter>;
  /** Read when it is fetched, so that nothing has to keep it current. */
  gauge(options: Omit<MetricOptions, "labels">, read: () => number): void;
  histogram(options: MetricOptions & { readonly buckets: readonly number[] }): Labelled<Histogram>;
  /** Prometheus text format 0.0.4, in the order of creation. */
  render(): string;
}

export interface MetricOptions {
  /** `countersign_…`, lower case, unit and `_total` last as Prometheus has it: `countersign_publish_bytes_total`. */
  readonly name: string;
  readonly help: string;
  /** At most four. */
  readonly labels?: readonly string[];
}

export interface Counter {
  /** @param by  not negative; default 1 */
  add(by?: number): void;
}

export interface Histogram {
  observe(value: number): void;
}

export interface Labelled<Series> {
  /**
   * The series of these label values, in the order of `labels`. Hold it where it is hot. Beyond
   * `SERIES_MAX` different ones they share a series whose values are all `other`: a label that a caller can
   * choose must not fill the memory, here or in Prometheus.
   */
  of(...values: readonly string[]): Series;
}

export const SERIES_MAX = 100;
const LABELS_MAX = 4;
const BUCKETS_MAX = 32;
/** One label value; longer ones are cut. */
const VALUE_CHARACTERS_MAX = 128;

export function createMetrics(): Metrics {
  const families = new Map<string, () => string>();

  function add({ name, help }: MetricOptions, type: string, render: () => string): void {
    if (!/^countersign_[a-z0-9_]+$/.test(name) || families.has(name)) {
      throw invalid(name, "expected a name of its own like countersign_publish_total");
    }
    const head = `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n`;
    families.set(name, () => head + render());
  }

  return {
    counter(options) {
      const series = createSeries(options, () => {
        let total = 0;
        return {
          add: (by = 1) => {
            if (by >= 0) total += by;
          },
          render: (labels: string) => `${options.name}${braced(labels)} ${total}\n`,
        };
      });
      add(options, "counter", series.render);
      return series;
    },
    gauge(options, read) {
      add(options, "gauge", () => `${options.name} ${read()}\n`);
    },
    histogram(options) {
      const { buckets, name } = options;
      if (
        buckets.length > BUCKETS_MAX ||
        !buckets.every((le, i) => le > (buckets[i - 1] ?? Number.NEGATIVE_INFINITY))
      ) {
        throw invalid(name, `expected at most ${BUCKETS_MAX} rising buckets`);
      }
      const series = createSeries(options, () => createHistogram(name, buckets));
      add(options, "histogram", series.render);
      return series;
    },
    render: () => Array.from(families.values(), (render) => render()).join(""),
  };
}

interface Rendered {
  /** @param labels  `a="b",c="d"`, or empty */
  render(labels: string): string;
}

function createHistogram(name: string, buckets: readonly number[]): Histogram & Rendered {
  const counts = new Float64Array(buckets.length);
  let count = 0;
  let sum = 0;
  return {
    observe(value) {
      const index = buckets.findIndex((le) => value <= le);
      if (index >= 0) counts[index] = (counts[index] ?? 0) + 1;
      count += 1;
      sum += value;
    },
    render(labels) {
      const comma = labels === "" ? "" : ",";
      let below = 0;
      const lines = buckets.map((le, index) => {
        below += counts[index] ?? 0;
        return `${name}_bucket{${labels}${comma}le="${le}"} ${below}\n`;
      });
      const tail = braced(labels);
      return `${lines.join("")}${name}_bucket{${labels}${comma}le="+Inf"} ${count}\n${name}_sum${tail} ${sum}\n${name}_count${tail} ${count}\n`;
    },
  };
}

function createSeries<Series extends Rendered>(
  { name, labels = [] }: MetricOptions,
  create: () => Series,
): Labelled<Series> & { readonly render: () => string } {
  if (
    labels.length > LABELS_MAX ||
    !labels.every((label) => /^[a-z][a-z0-9_]*$/.test(label) && label !== "le")
  ) {
    throw invalid(name, `expected at most ${LABELS_MAX} labels of [a-z0-9_], none of them le`);
  }
  /** By rendered labels. */
  const all = new Map<string, Series>();

  function seriesOf(values: readonly string[]): Series {
    const key = labels.map((label, index) => `${label}="${escapeValue(values[index] ?? "")}"`).join(",");
    const known = all.get(key);
    if (known) return known;
    const others = labels.map(() => "other");
    if (all.size >= SERIES_MAX && values.some((value) => value !== "other")) return seriesOf(others);
    const created = create();
    all.set(key, created);
    return created;
  }

  // Without labels there is one series, from the start: a counter that is absent until it counts looks broken.
  if (labels.length === 0) seriesOf([]);
  return {
    of: (...values) => seriesOf(values),
    render: () => Array.from(all, ([key, series]) => series.render(key)).join(""),
  };
}

function braced(labels: string): string {
  return labels === "" ? "" : `{${labels}}`;
}

const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", '"': '\\"' };

function escapeValue(value: string): string {
  return value
    .slice(0, VALUE_CHARACTERS_MAX)
    .toWellFormed()
    .replace(/[\\\n"]/g, (found) => ESCAPES[found] ?? found);
}

function escapeHelp(help: string): string {
  return help.replace(/[\\\n]/g, (found) => ESCAPES[found] ?? found);
}

function invalid(name: string, expected: string): GatewayError {
  return new GatewayError("CONFIG_INVALID", `Cannot make the metric ${JSON.stringify(name)}: ${expected}`);
}
