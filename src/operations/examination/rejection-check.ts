/** What `weir doctor` says of the events that a running Weir rejects, as its health page lists them. */
import { ok, warn, type Check } from './checks.ts';
import { counted, grouped, printable } from '../wording.ts';

/** How many reasons a line names. */
const REASONS = 3;

const REMEDY =
  'Clients send what cannot be stored, and most of them tell nobody. weir rejected ls shows what Weir keeps of it (INGEST_KEEP_REJECTED=1000 keeps the next ones); once the client or the mapping is mended, weir rejected replay stores what can be stored.';

/** `rejecting`: that member of `/health`. An older Weir has none. */
export function checkRejections(name: string, rejecting: unknown): Check[] {
  if (!Array.isArray(rejecting)) return [];
  if (rejecting.length === 0) return [ok(name, 'none within the last hour')];
  return rejecting.map((door) => warn(name, describe(door as Partial<Rejecting>), REMEDY));
}

type Rejecting = { door: string; rejected: number; reasons: Record<string, number>; since: string };

function describe({ door, rejected, reasons = {}, since }: Partial<Rejecting>): string {
  const often = Object.entries(reasons)
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, REASONS)
    .map(([reason, count]) => `${reason} ${grouped(count)}`);
  return printable(`${door}: ${counted(Number(rejected), 'event')} since ${since} (${often.join(', ')})`);
}
