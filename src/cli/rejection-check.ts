/** What `weir doctor` says of the events that a running Weir rejects, as its health page lists them. */
import { ok, warn, type Check } from './checks.ts';
import { counted, grouped } from './format.ts';
import { printable } from './table.ts';

/** How many reasons a line names. */
const REASONS = 3;

/** `rejecting`: that member of `/health`. An older Weir has none. */
export function checkRejections(name: string, rejecting: unknown, { areKept }: { areKept: boolean }): Check[] {
  if (!Array.isArray(rejecting)) return [];
  if (rejecting.length === 0) return [ok(name, 'none within the last hour')];
  const look = areKept
    ? 'weir rejected ls shows them; once the client or the mapping is mended, weir rejected replay stores what can be stored.'
    : 'Set INGEST_KEEP_REJECTED=1000 to keep the next ones, and look at them with weir rejected ls.';
  const remedy = `Clients send what cannot be stored, and most of them tell nobody. ${look}`;
  return rejecting.map((door) => warn(name, describe(door as Partial<Rejecting>), remedy));
}

type Rejecting = { door: string; rejected: number; reasons: Record<string, number>; since: string };

function describe({ door, rejected, reasons = {}, since }: Partial<Rejecting>): string {
  const often = Object.entries(reasons)
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, REASONS)
    .map(([reason, count]) => `${reason} ${grouped(count)}`);
  return printable(`${door}: ${counted(Number(rejected), 'event')} since ${since} (${often.join(', ')})`);
}
