/**
 * The rows of the table of events in chunks: each within one partition, and a
 * range of (project, event, hour), in the order of the sorting key. An hour of one
 * event is never divided, so that copies of an event lie in the same chunk under
 * the old key and the new.
 */

/** Up to where a walk has come: within a partition, before `untilMs`. `key` is null at the end of the partition. */
export type Cursor = { readonly partition: string; readonly key: KeyPosition | null };

export type KeyPosition = {
  readonly project: string;
  /** In hexadecimal: a name may hold bytes that no text has. */
  readonly eventHex: string;
  /** The end of an hour; rows before it are meant. */
  readonly untilMs: number;
};

/** The rows of a partition behind `after` and up to `upTo`; null is the partition's own end. */
export type Chunk = {
  readonly partition: string;
  readonly after: KeyPosition | null;
  readonly upTo: KeyPosition | null;
};

export type Condition = { readonly sql: string; readonly params: Readonly<Record<string, unknown>> };

const HOUR_MS = 3_600_000;

/** The end of the hour that an instant lies in. */
export const endOfHour = (ms: number): number => (Math.floor(ms / HOUR_MS) + 1) * HOUR_MS;

/**
 * The rows of a chunk, as a condition. Written out column by column: of a comparison of tuples ClickHouse would not
 * see that it is a range of the primary key.
 */
export function conditionOf({ partition, after, upTo }: Chunk): Condition {
  const parts = ['_partition_id = {partition:String}'];
  if (after !== null) parts.push(beyond('>', '>=', 'after'));
  if (upTo !== null) parts.push(beyond('<', '<', 'upTo'));
  return {
    sql: parts.join(' AND '),
    params: { partition, ...paramsOf('after', after), ...paramsOf('upTo', upTo) },
  };
}

function beyond(side: '>' | '<', ofTime: '>=' | '<', name: string): string {
  const time = `fromUnixTimestamp64Milli({${name}Ms:Int64}, 'UTC')`;
  const [project, event] = [`{${name}Project:UUID}`, `unhex({${name}Event:String})`];
  return `(project_id ${side} ${project} OR (project_id = ${project} AND (event ${side} ${event} OR (event = ${event} AND timestamp ${ofTime} ${time}))))`;
}

const paramsOf = (name: string, key: KeyPosition | null) =>
  key === null
    ? {}
    : { [`${name}Project`]: key.project, [`${name}Event`]: key.eventHex, [`${name}Ms`]: String(key.untilMs) };

/** A chunk is what is done again after a kill, and what others wait for. */
export const CHUNK_LIMITS = { minRows: 20_000, maxRows: 1_000_000, tooFastMs: 2_500, tooSlowMs: 10_000 } as const;

/** The size of the next chunk, by how long the last one took. */
export function nextSize(rows: number, elapsedMs: number): number {
  const limits = CHUNK_LIMITS;
  if (elapsedMs < limits.tooFastMs) return Math.min(rows * 2, limits.maxRows);
  return elapsedMs > limits.tooSlowMs ? Math.max(Math.floor(rows / 2), limits.minRows) : rows;
}

/** Where a walk goes on: in the partition of the cursor behind it, and in those that come after it. */
export function partitionsLeft(partitions: readonly string[], cursor: Cursor | null): readonly Chunk[] {
  return [...partitions]
    .sort()
    .filter((id) => cursor === null || id > cursor.partition || (id === cursor.partition && cursor.key !== null))
    .map((partition) => ({ partition, after: partition === cursor?.partition ? cursor.key : null, upTo: null }));
}
