/** What `weir doctor` says of where the tables are: on one server, or on several that share them. */
import type { Layout } from '../../clickhouse/connection/layout.ts';
import type { DescribedLayout } from '../../clickhouse/operations/described-layout.ts';
import { type Check, fail, ok, warn } from './checks.ts';
import { counted, grouped } from '../wording.ts';

const HOUR_MS = 3_600_000;
const SEE = 'See "Several ClickHouse servers" in docs/OPERATIONS.md.';

export function checkLayout(name: string, described: DescribedLayout): Check[] {
  const { layout, isApart, memory, servers, problems } = described;
  if (problems.length > 0 || layout === null) return problems.map((problem) => fail(name, problem, SEE));
  const remembered = ok(`${name} memory`, memoryOf(memory));
  if (isApart) {
    const detail =
      'those of one server, in a database of the engine Replicated: its other servers have none of the rows';
    return [warn(name, detail, SEE), remembered];
  }
  if (layout.kind === 'unnamed') {
    const remedy = 'Set CLICKHOUSE_CLUSTER to the name of their cluster: a later version needs it for its migrations.';
    return [warn(name, 'replicated, and nothing says on which servers', remedy), remembered];
  }
  const detail = kept(layout, servers);
  if (servers !== null && servers.answering < servers.named) {
    const remedy = 'Bring the others back: until then no other server has what only they have.';
    return [
      warn(name, `${detail}; ${grouped(servers.answering)} of ${grouped(servers.named)} answer`, remedy),
      remembered,
    ];
  }
  return [ok(name, detail), remembered];
}

function kept(layout: Layout, servers: DescribedLayout['servers']): string {
  const on = servers === null ? '' : ` on ${counted(servers.named, 'server')}`;
  switch (layout.kind) {
    case 'cluster':
      return `replicated${on} of the cluster ${layout.cluster}`;
    case 'replicated database':
      return `replicated${on} by the database ${layout.cluster}`;
    case 'cloud':
      return 'those of ClickHouse Cloud, which its servers share';
    case 'single':
      return 'on one server';
    case 'unnamed':
      return 'replicated';
  }
}

/** Beyond half of it Weir asks which events are stored, before it sends a batch again. */
function memoryOf({ inserts, forMs }: DescribedLayout['memory']): string {
  const age = forMs === Infinity ? '' : `, of the last ${grouped(Math.round(forMs / HOUR_MS))} hours`;
  return inserts === 0
    ? 'repeated inserts are not recognised; Weir asks for the events instead'
    : `the last ${grouped(inserts)} inserts are recognised when they are repeated${age}`;
}
