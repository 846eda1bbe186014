/** Rows as JSON, out of the texts that Postgres sends. */
import type { Column } from '../../pipeline/read-ports.ts';
import type { Field, Row } from './row-stream.ts';

type Encode = (text: string) => string;

const quoted: Encode = (text) => JSON.stringify(text);
const asIs: Encode = (text) => text;
/** JSON has no NaN and no infinity. */
const real: Encode = (text) => (/^-?\d/.test(text) ? text : 'null');
const truth: Encode = (text) => (text === 't' ? 'true' : 'false');
/** As ClickHouse shows it: in UTC, with milliseconds, or all six digits where the last three say something. */
const instant: Encode = (text) => {
  const [, whole, fraction = ''] = /^(\d{4,}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(\d+))?(?:\+00)?$/.exec(text) ?? [];
  if (whole === undefined) return quoted(text);
  return `"${whole}.${fraction.padEnd(fraction.length > 3 ? 6 : 3, '0')}"`;
};

type Type = { readonly name: string; readonly encode: Encode; readonly id: number; readonly listId: number };

/** By Postgres's numbers, which never change (pg_type.dat): of the type, and of its arrays. */
const TYPES: readonly Type[] = (
  [
    ['bool', 16, 1000, truth],
    ['bytea', 17, 1001, quoted],
    ['int8', 20, 1016, quoted],
    ['int2', 21, 1005, asIs],
    ['int4', 23, 1007, asIs],
    ['text', 25, 1009, quoted],
    ['json', 114, 199, asIs],
    ['float4', 700, 1021, real],
    ['float8', 701, 1022, real],
    ['bpchar', 1042, 1014, quoted],
    ['varchar', 1043, 1015, quoted],
    ['date', 1082, 1182, quoted],
    ['time', 1083, 1183, quoted],
    ['timestamp', 1114, 1115, instant],
    ['timestamptz', 1184, 1185, instant],
    ['interval', 1186, 1187, quoted],
    ['timetz', 1266, 1270, quoted],
    ['bit', 1560, 1561, quoted],
    ['varbit', 1562, 1563, quoted],
    ['numeric', 1700, 1231, quoted],
    ['record', 2249, 2287, quoted],
    ['uuid', 2950, 2951, quoted],
    ['jsonb', 3802, 3807, asIs],
    ['jsonpath', 4072, 4073, quoted],
    ['inet', 869, 1041, quoted],
    ['cidr', 650, 651, quoted],
  ] as const
).map(([name, id, listId, encode]) => ({ name, id, listId, encode }));

const BY_ID: ReadonlyMap<number, { readonly name: string; readonly encode: Encode }> = new Map(
  TYPES.flatMap(({ name, id, listId, encode }) => [
    [id, { name, encode }],
    [listId, { name: `${name}[]`, encode: (text: string) => listOf(text, encode) }],
  ]),
);

/** A whole row of a table, and what else has a type of its own: as Postgres writes it. */
const OTHER = { name: 'record', encode: quoted };

const typeOf = ({ typeId }: Field) => BY_ID.get(typeId) ?? OTHER;

export const columnsOf = (fields: readonly Field[]): Column[] =>
  fields.map((field) => ({ name: field.name, type: typeOf(field).name }));

/** Writes rows of these fields as JSON arrays. */
export function rowWriter(fields: readonly Field[]): (row: Row) => string {
  const encoders = fields.map((field) => typeOf(field).encode);
  return (row) => `[${row.map((text, index) => (text === null ? 'null' : encoders[index]!(text))).join(', ')}]`;
}

/** `{a,"b c",NULL,{…}}`, after bounds such as `[0:1]=` where an array does not begin at 1. */
function listOf(text: string, encode: Encode): string {
  const TOKEN = /[{}]|"((?:[^"\\]|\\.)*)"|([^{},"]+)/gsu;
  const pieces: string[] = [];
  for (const [token, inQuotes, bare] of text.slice(text.indexOf('{')).matchAll(TOKEN)) {
    const needsComma = token !== '}' && pieces.length > 0 && pieces.at(-1) !== '[';
    if (needsComma) pieces.push(', ');
    if (token === '{' || token === '}') pieces.push(token === '{' ? '[' : ']');
    else if (bare !== undefined) pieces.push(bare === 'NULL' ? 'null' : encode(bare));
    else pieces.push(encode((inQuotes ?? '').replaceAll(/\\(.)/gsu, '$1')));
  }
  return pieces.join('');
}
