import { expect, test } from 'vitest';
import { SCENARIOS } from './bench/scenarios.ts';
import { RESULTS_FILE, parseArguments } from './bench/support/arguments.ts';

const SOME = [
  { name: 'decode', about: 'How fast bodies become rows.' },
  { name: 'singles', about: 'One event a request.' },
];

function parse(...args: string[]) {
  let stdout = '';
  let stderr = '';
  const io = { stdout: (text: string) => void (stdout += text), stderr: (text: string) => void (stderr += text) };
  const parsed = parseArguments(args, SOME, io);
  return { parsed, stdout, stderr };
}

test('without arguments every scenario runs in full and is recorded', () => {
  expect(parse().parsed).toEqual({
    names: ['decode', 'singles'],
    isQuick: false,
    isLarge: false,
    seed: 1,
    isJson: false,
    isCheck: false,
    out: RESULTS_FILE,
  });
});

test('named scenarios run in their own order, once, and are not recorded', () => {
  expect(parse('singles', 'decode', 'singles', '--quick').parsed).toMatchObject({
    names: ['decode', 'singles'],
    isQuick: true,
    out: null,
  });
});

test('named scenarios are recorded where that is asked for', () => {
  expect(parse('singles', '--out', 'there.json').parsed).toMatchObject({ names: ['singles'], out: 'there.json' });
});

test('a check records nothing', () => {
  expect(parse('--quick', '--check').parsed).toMatchObject({ isCheck: true, isQuick: true, out: null });
  const { parsed, stderr } = parse('--check', '--out', 'there.json');
  expect(parsed).toEqual({ exitCode: 2 });
  expect(stderr).toContain('--check records nothing');
});

test('seed and JSON are taken', () => {
  expect(parse('--seed', '17', '--json').parsed).toMatchObject({ seed: 17, isJson: true });
});

test.each([
  ['an unknown scenario', ['decod'], 'There are: decode, singles.'],
  ['an unknown flag', ['--quik'], "unknown option '--quik'"],
  ['a seed that is none', ['--seed', 'x'], 'whole number'],
  ['a negative seed', ['--seed', '-1'], 'whole number'],
  ['no seed', ['--seed'], 'argument missing'],
])('%s is an error that says what is accepted', (_, args, message) => {
  const { parsed, stderr } = parse(...args);
  expect(parsed).toEqual({ exitCode: 2 });
  expect(stderr).toContain(message);
  expect(stderr).toContain('--help');
});

test('help explains every scenario', () => {
  let stdout = '';
  const io = { stdout: (text: string) => void (stdout += text), stderr: () => {} };
  expect(parseArguments(['--help'], SCENARIOS, io)).toEqual({ exitCode: 0 });
  const words = stdout.replaceAll(/\s+/g, ' ');
  for (const { name, about } of SCENARIOS) expect(words).toContain(`${name} ${about}`);
});
