/** Another project, which sends little and waits for `stored` each time: what the others cost it. */
import { createHistogram } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { createProjects } from '../../../src/postgres/accounts/projects.ts';
import { createTokens } from '../../../src/postgres/accounts/tokens.ts';
import type { BenchedWeir, Grounds } from './grounds.ts';
import { percentilesOf, recordMs } from './load.ts';

export type Neighbour = { readonly projectId: string; readonly token: string; readonly secret: string };

const PROBE_EVERY_MS = 100;

export async function newNeighbour({ stores }: Grounds): Promise<Neighbour> {
  const { id } = await createProjects(stores.postgres.db).create({
    name: 'neighbour',
    retentionSeconds: null,
    allowedOrigins: [],
  });
  const tokens = createTokens(stores.postgres.db);
  const tokenOf = async (kind: 'public' | 'secret') =>
    (await tokens.create({ projectId: id, kind, name: 'neighbour', imported: null }))!.plaintext;
  return { projectId: id, token: await tokenOf('public'), secret: await tokenOf('secret') };
}

/** How long it waits for `stored` while `work` goes on: p99 in milliseconds, and how many answers said something else. */
export async function whileWaiting(weir: BenchedWeir, { token }: Neighbour, work: () => Promise<void>) {
  const latency = createHistogram();
  const over = new AbortController();
  let odd = 0;
  const probing = (async () => {
    const asked: Promise<void>[] = [];
    while (!over.signal.aborted) {
      asked.push(probe());
      await sleep(PROBE_EVERY_MS);
    }
    await Promise.all(asked);
  })();
  await work();
  over.abort();
  await probing;
  return { p99: percentilesOf(latency).p99, odd };

  async function probe() {
    const startedAt = performance.now();
    const events = [{ event: 'probe', user_id: 'u2', timestamp: new Date().toISOString() }];
    if ((await post(weir, token, events, '?ack=stored', 'stored')) !== 202) odd++;
    recordMs(latency, performance.now() - startedAt);
  }
}

/** The status, or 0 when the answer does not say the level asked for. */
export async function post(
  weir: BenchedWeir,
  token: string,
  events: object[],
  query: string,
  level?: string,
): Promise<number> {
  const answer = await fetch(`${weir.url}/api/v1/ingest/events${query}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({ events }),
  });
  await answer.arrayBuffer();
  return level === undefined || answer.headers.get('weir-ack') === level ? answer.status : 0;
}
