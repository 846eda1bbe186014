/** Reads a metrics page as strictly as Prometheus and its linter do, and reports what is wrong with it. */

export type Series = { readonly name: string; readonly labels: ReadonlyMap<string, string>; readonly value: number };
export type Family = { readonly name: string; readonly help: string; readonly type: string; readonly series: Series[] };

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/y;
const VALUE = /^(?:[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|[+-]Inf|NaN)$/;
const OF_A_HISTOGRAM = /_(bucket|sum|count)$/;

/** The families of the page, and every line that breaks the format. */
export function parsePage(text: string): { families: Map<string, Family>; problems: string[] } {
  const families = new Map<string, Family>();
  const problems: string[] = [];
  const seen = new Set<string>();
  let help: { name: string; text: string } | null = null;
  let current: Family | null = null;
  if (!text.endsWith('\n')) problems.push('the last line has no end');
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const comment = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
    if (comment?.[1] === 'HELP') {
      help = { name: comment[2]!, text: comment[3]! };
    } else if (comment) {
      const [, , name, type] = comment as unknown as [string, string, string, string];
      if (help?.name !== name) problems.push(`${name}: TYPE without HELP before it`);
      if (families.has(name)) problems.push(`${name}: there twice`);
      if (!NAME.test(name)) problems.push(`${name}: no name`);
      if (!['counter', 'gauge', 'histogram', 'summary'].includes(type)) problems.push(`${name}: no type ${type}`);
      current = { name, help: help?.text ?? '', type, series: [] };
      families.set(name, current);
    } else {
      const series = readSeries(line);
      if (series === null) problems.push(`no series: ${line}`);
      else if (current === null || familyOf(series.name, current) !== current.name) problems.push(`stray: ${line}`);
      else {
        const id = `${series.name} ${[...series.labels]
          .map(([name, value]) => `${name}=${value}`)
          .sort()
          .join(' ')}`;
        if (seen.has(id)) problems.push(`there twice: ${line}`);
        seen.add(id);
        current.series.push(series);
      }
    }
  }
  return { families, problems: [...problems, ...[...families.values()].flatMap(lint)] };
}

const familyOf = (name: string, { type }: Family) => (type === 'histogram' ? name.replace(OF_A_HISTOGRAM, '') : name);

function readSeries(line: string): Series | null {
  const [, name, inside = '', value] = /^([^{\s]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
  if (name === undefined || value === undefined || !NAME.test(name) || !VALUE.test(value)) return null;
  const labels = new Map<string, string>();
  let at = 0;
  for (LABEL.lastIndex = 0; at < inside.length; at = LABEL.lastIndex) {
    const label = LABEL.exec(inside);
    if (label === null || labels.has(label[1]!)) return null;
    labels.set(label[1]!, label[2]!);
  }
  return { name, labels, value: Number(value.replace('Inf', 'Infinity')) };
}

/** The naming conventions, and the rules for histograms. */
function lint({ name, help, type, series }: Family): string[] {
  const problems: string[] = [];
  const says = (isWrong: boolean, problem: string) => isWrong && problems.push(`${name}: ${problem}`);
  says(help.length < 10, 'its help says nothing');
  says(type === 'counter' && !name.endsWith('_total'), 'a counter ends in _total');
  says(type !== 'counter' && name.endsWith('_total'), 'only a counter ends in _total');
  says(/_(milliseconds|ms|minutes|kilobytes|kb)$/.test(name), 'units are seconds and bytes');
  says(type !== 'histogram' && OF_A_HISTOGRAM.test(name), 'the end of its name is that of a histogram');
  says(/[A-Z]/.test(name), 'names are lowercase');
  for (const { value } of series) says(type === 'counter' && !(value >= 0), 'a counter is never negative');
  if (type !== 'histogram') return problems;
  const withoutBound = ({ labels }: Series) =>
    [...labels]
      .filter(([label]) => label !== 'le')
      .map(([label, value]) => `${label}=${value}`)
      .sort()
      .join(' ');
  for (const [of, parts] of Map.groupBy(series, withoutBound)) {
    const buckets = parts.filter((part) => part.name === `${name}_bucket`);
    const counts = buckets.map(({ value }) => value);
    const bounds = buckets.map(({ labels }) => Number(labels.get('le')?.replace('Inf', 'Infinity')));
    const total = parts.find((part) => part.name === `${name}_count`)?.value;
    says(!isAscending(bounds) || bounds.at(-1) !== Infinity, `its bounds are not in order (${of})`);
    says(!isAscending(counts), `its buckets do not add up (${of})`);
    says(counts.at(-1) !== total, `its last bucket is not its count (${of})`);
    says(!parts.some((part) => part.name === `${name}_sum`), `it has no sum (${of})`);
  }
  return problems;
}

const isAscending = (values: readonly number[]) => values.every((value, at) => at === 0 || value >= values[at - 1]!);
