import { printable } from '../operations/wording.ts';

export type Column = { readonly name: string; readonly isNumeric: boolean };

/** Cells in aligned columns, two spaces apart. A cell wider than its column pushes its own line out; nothing is cut. */
export function createTable(columns: readonly Column[], sample: readonly (readonly string[])[]) {
  const widths = columns.map(({ name }, index) =>
    sample.reduce((widest, row) => Math.max(widest, printable(row[index] ?? '').length), name.length),
  );
  const heading = columns.map(({ name }) => name);

  return { header: () => line(heading), line };

  function line(cells: readonly string[]): string {
    const padded = columns.map(({ isNumeric }, index) => {
      const cell = printable(cells[index] ?? '');
      return isNumeric ? cell.padStart(widths[index]!) : cell.padEnd(widths[index]!);
    });
    return `${padded.join('  ').trimEnd()}\n`;
  }
}

/** Formats a small table of texts at once. */
export function textTable(names: readonly string[], rows: readonly (readonly string[])[]): string {
  const table = createTable(
    names.map((name) => ({ name, isNumeric: false })),
    rows,
  );
  return [table.header(), ...rows.map((row) => table.line(row))].join('');
}
