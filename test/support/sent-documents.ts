/** What a row holds of the documents that were sent, and what ClickHouse is to read of them. */
import { expect } from 'vitest';
import { membersOf } from '../../src/event/extras.ts';

/** The rule for documents that ClickHouse cannot read, said once more. */
export const readableOf = (raw: string): string =>
  raw.replaceAll(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, (token) =>
    token[0] === '"' ? wholePairs(token) : isNumberReadable(token) ? token : `"${token}"`,
  );

const wholePairs = (text: string) =>
  text.replaceAll(/\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u[dD][89a-fA-F]..|\\./g, (escape) =>
    escape.length === 6 ? '\\ufffd' : escape,
  );

function isNumberReadable(text: string): boolean {
  if (!/^-?\d+$/.test(text)) return Number.isFinite(Number(text));
  const value = BigInt(text);
  return value >= -(2n ** 63n) && value < 2n ** 64n;
}

/** The documents of a row as sent, raw; the readable forms beside them are checked. */
export function sentIn(row: string): { properties: string; extras: string } {
  const members = [...membersOf(Buffer.from(row).toString('latin1'))];
  const raw = new Map(members.map(({ key, value }) => [key.slice(1, -1), Buffer.from(value, 'latin1').toString()]));
  const sentOf = (name: string) => {
    const read = raw.get(name)!;
    const sent = raw.get(`${name}_sent`) ?? read;
    expect(read).toBe(readableOf(sent));
    expect(raw.has(`${name}_sent`)).toBe(read !== sent);
    return sent;
  };
  return { properties: sentOf('properties'), extras: sentOf('extras') };
}
