/** When rows arrived. The arrival ends every row, behind all text from clients. */

const ARRIVAL = /"received_at":"(\d{4}-\d\d)-[0-9TZ:.]{10,24}"(?:,"expires_at":"[0-9TZ:.-]{20,30}")?\}\n/g;

/** The months in which rows arrived, `2026-11`, ascending; null when some row does not tell. NDJSON as byte text. */
export function monthsOf(ndjson: string): readonly string[] | null {
  const months = new Set<string>();
  let told = 0;
  for (const [, month] of ndjson.matchAll(ARRIVAL)) {
    told += 1;
    months.add(month!);
  }
  return told === lineCount(ndjson) ? [...months].sort() : null;
}

function lineCount(text: string): number {
  let count = 0;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) count += 1;
  return count;
}

/** The month `by` months later. */
export function monthAfter(month: string, by: number): string {
  const [year = 0, number = 0] = month.split('-').map(Number);
  const months = year * 12 + number - 1 + by;
  return `${String(Math.floor(months / 12)).padStart(4, '0')}-${String((months % 12) + 1).padStart(2, '0')}`;
}

/** Its first moment, as SQL. */
export const startOf = (month: string): string => `'${month}-01T00:00:00Z'`;
