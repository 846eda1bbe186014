/** Every benchmark, in the order they run. */
import { scenario as abandoned } from './abandoned.bench.ts';
import { scenario as batches } from './batches.bench.ts';
import { scenario as consoleLooks } from './console.bench.ts';
import { scenario as counts } from './counts.bench.ts';
import { scenario as decode } from './decode.bench.ts';
import { scenario as drain } from './drain.bench.ts';
import { scenario as inserts } from './inserts.bench.ts';
import { scenario as backlog } from './backlog.bench.ts';
import { scenario as kafka } from './kafka.bench.ts';
import { scenario as ndjson } from './ndjson.bench.ts';
import { scenario as outage } from './outage.bench.ts';
import { scenario as promoted } from './promoted.bench.ts';
import { scenario as reading } from './reading.bench.ts';
import { scenario as sdk } from './sdk.bench.ts';
import { scenario as singles } from './singles.bench.ts';
import { scenario as staged } from './staged.bench.ts';
import { scenario as overload } from './overload.bench.ts';
import { scenario as postgres } from './postgres.bench.ts';
import { scenario as storm } from './storm.bench.ts';
import { scenario as workers } from './workers.bench.ts';
import type { Scenario } from './support/scenario.ts';

export const SCENARIOS: readonly Scenario[] = [
  decode,
  sdk,
  singles,
  batches,
  staged,
  ndjson,
  inserts,
  drain,
  overload,
  workers,
  outage,
  storm,
  abandoned,
  counts,
  reading,
  promoted,
  postgres,
  kafka,
  consoleLooks,
  backlog,
];
