/**
 * `npm run bench` runs every measurement, `npm run bench -- publish --json` one of them. Each prints its baseline
 * from the same run: absolute numbers of one machine mean nothing, ratios do.
 */
import { parseArgs } from "node:util";

type Figures = Readonly<Record<string, number>>;
type Bench = (options: { readonly seconds: number }) => Promise<Figures>;

const BENCHES: Readonly<Record<string, () => Promise<{ readonly run: Bench }>>> = {
  publish: () => import("./publish.ts"),
  jetstream: () => import("./jetstream.ts"),
  seal: () => import("./seal.ts"),
  policy: () => import("./policy.ts"),
  connections: () => import("./connections.ts"),
  streams: () => import("./streams.ts"),
  "fan-out": () => import("./fan-out.ts"),
  trace: () => import("./trace.ts"),
  callout: () => import("./callout.ts"),
  logout: () => import("./logout.ts"),
  native: () => import("./native.ts"),
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    seconds: { type: "string", default: "5" },
    help: { type: "boolean", default: false },
  },
});

const unknown = positionals.filter((name) => !(name in BENCHES));
const seconds = Number(values.seconds);
if (values.help || unknown.length > 0 || !(seconds > 0 && seconds <= 60)) {
  const names = Object.keys(BENCHES).join(", ");
  if (unknown.length > 0) console.error(`No such measurement: ${unknown.join(", ")}`);
  console.error(`Usage: npm run bench -- [${names}] [--seconds 1-60, of each part; default 5] [--json]`);
  process.exit(values.help ? 0 : 2);
}

for (const [name, load] of Object.entries(BENCHES)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  console.error(`${name}: measuring …`);
  const { run } = await load();
  const figures = await run({ seconds });
  if (values.json) console.log(JSON.stringify({ name, ...figures }));
  else print(name, figures);
}

function print(name: string, figures: Figures): void {
  const width = Math.max(...Object.keys(figures).map(({ length }) => length));
  console.log(name);
  for (const [figure, value] of Object.entries(figures)) {
    const text = Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(3);
    console.log(`  ${figure.padEnd(width)}  ${text}`);
  }
}
