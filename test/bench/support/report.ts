/** Figures as a person reads them. */
import { createTable } from '../../../src/cli/table.ts';
import type { Guarded } from './guard.ts';
import type { Section } from './results.ts';
import type { Figure } from './scenario.ts';

export function figuresTable(scenarios: Section['scenarios']): string {
  const rows = Object.entries(scenarios).flatMap(([scenario, figures]) =>
    figures.map((figure) => [
      scenario,
      figure.name,
      written(figure.value),
      figure.unit,
      figure.spread ? figure.spread.map(written).join('–') : '',
      barOf(figure),
    ]),
  );
  return tableOf(
    [
      { name: 'scenario' },
      { name: 'figure' },
      { name: 'median', isNumeric: true },
      { name: 'unit' },
      { name: 'rounds', isNumeric: true },
      { name: 'bar' },
    ],
    rows,
  );
}

export function guardTable(guarded: readonly Guarded[]): string {
  const rows = guarded.map(({ scenario, name, recorded, measured, verdict }) => [
    scenario,
    name,
    recorded === null ? '' : written(recorded),
    measured.map(written).join(', '),
    verdict,
  ]);
  const columns = [
    { name: 'scenario' },
    { name: 'guarded ratio' },
    { name: 'recorded', isNumeric: true },
    { name: 'measured', isNumeric: true },
    { name: 'verdict' },
  ];
  return tableOf(columns, rows);
}

/** Whether the figure is as good as it has to be. True without a bar. */
export function isMet({ value, bar }: Figure): boolean {
  if (bar === undefined) return true;
  return 'atLeast' in bar ? value >= bar.atLeast : value <= bar.atMost;
}

function barOf(figure: Figure): string {
  const { bar } = figure;
  if (bar === undefined) return '';
  return `${'atLeast' in bar ? `≥ ${bar.atLeast}` : `≤ ${bar.atMost}`} ${isMet(figure) ? 'met' : 'MISSED'}`;
}

const written = (value: number) => value.toLocaleString('en', { maximumSignificantDigits: 4 }).replaceAll(',', ' ');

function tableOf(
  columns: readonly { name: string; isNumeric?: boolean }[],
  rows: readonly (readonly string[])[],
): string {
  const table = createTable(
    columns.map(({ name, isNumeric = false }) => ({ name, isNumeric })),
    rows,
  );
  return [table.header(), ...rows.map((row) => table.line(row))].join('');
}
