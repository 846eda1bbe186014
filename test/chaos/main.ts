/**
 * npm run chaos -- --help
 *
 * Hurts a real Weir between real stores for a while and checks that every
 * acknowledged event is where it should be, once. Exits 1 when one is not.
 */
import { parseArgs } from 'node:util';
import { buildServiceIfOlder } from '../../build.ts';
import { runChaos, type ChaosReport } from './run.ts';

const HELP = `npm run chaos -- [options]

Hurts a real Weir between real stores, and checks that every acknowledged event is where it should be, once.

  --minutes N        how long (1)
  --rate N           events a second (300)
  --seed N           repeats the faults of a run (another each time)
  --only PATTERN     only faults whose name matches
  --store NAME       clickhouse (default) or postgres
  --channel NAME     local (default) or kafka, which needs Java (CONTRIBUTING.md)
  --json             the report as JSON
  --keep-logs        keeps what Weir and the stores have logged

Exits 0 when every promise was kept, 1 otherwise.
`;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    rate: { type: 'string', default: '300' },
    only: { type: 'string' },
    store: { type: 'string', default: 'clickhouse' },
    channel: { type: 'string', default: 'local' },
    json: { type: 'boolean', default: false },
    'keep-logs': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  process.stdout.write(HELP);
  process.exit(0);
}

const say = (line: string) => process.stderr.write(`${new Date().toISOString().slice(11, 19)}  ${line}\n`);
// The stores and Weirs end with this process, however it ends.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

if (!['clickhouse', 'postgres'].includes(values.store)) throw new Error('--store: clickhouse or postgres');
if (!['local', 'kafka'].includes(values.channel)) throw new Error('--channel: local or kafka');
if (!(await buildServiceIfOlder())) throw new Error('npm ci brings what builds the service');
say(`seed ${values.seed}`);
const report = await runChaos({
  seconds: Number(values.minutes) * 60,
  seed: Number(values.seed),
  eventsPerSecond: Number(values.rate),
  // Whoever reads a topic first waits until the session of one that was killed is over, which takes ten seconds.
  readyWithinMs: values.channel === 'kafka' ? 20_000 : 10_000,
  store: values.store as 'clickhouse' | 'postgres',
  channel: values.channel as 'local' | 'kafka',
  only: values.only ?? null,
  keepLogs: values['keep-logs'],
  onProgress: say,
});
// Everything is stopped; a connection that a fault left half open must not keep the process.
process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : describe(report), () =>
  process.exit(report.broken.length > 0 ? 1 : 0),
);

function describe(report: ChaosReport): string {
  const lines = Object.entries(report).map(([name, value]) => {
    if (!Array.isArray(value)) return `${name.padEnd(22)} ${typeof value === 'object' ? JSON.stringify(value) : value}`;
    const some = value.slice(0, 5).map((entry) => (typeof entry === 'object' ? JSON.stringify(entry) : entry));
    return `${name.padEnd(22)} ${value.length}${some.length > 0 ? `  ${some.join(' ')}` : ''}`;
  });
  const verdict = report.broken.length === 0 ? 'every promise was kept' : `BROKEN: ${report.broken.join(' · ')}`;
  return `${lines.join('\n')}\n${verdict} (seed ${report.seed})\n`;
}
