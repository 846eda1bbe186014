/**
 * `npm run bench`: every benchmark in turn. Figures of one run are compared with
 * each other as ratios; absolute ones depend on the machine and on what else it
 * is doing. `--json` for scripts, a name as argument for one of them.
 */
import { run as counts } from './counts.bench.ts';
import { run as decode } from './decode.bench.ts';
import { run as ingest } from './ingest.bench.ts';

const BENCHES = { decode, ingest, counts };

const wanted = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const asJson = process.argv.includes('--json');
for (const [name, run] of Object.entries(BENCHES)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  for (const figure of await run()) {
    const line = `${figure.name.padEnd(44)} ${String(figure.value).padStart(12)} ${figure.unit}\n`;
    process.stdout.write(asJson ? `${JSON.stringify({ bench: name, ...figure })}\n` : line);
  }
}
