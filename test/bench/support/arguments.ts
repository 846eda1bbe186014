/** What `npm run bench` was asked for. */
import { Argument, Command, CommanderError, InvalidArgumentError } from 'commander';
import type { Scenario } from './scenario.ts';

/** Where the figures are recorded, from the repository's root. */
export const RESULTS_FILE = 'bench/results.json';

export type Wanted = {
  /** In the order they run. */
  readonly names: readonly string[];
  readonly isQuick: boolean;
  /** With ten times the data as well, where a scenario has that. */
  readonly isLarge: boolean;
  readonly seed: number;
  readonly isJson: boolean;
  /** Whether to compare with what is recorded. */
  readonly isCheck: boolean;
  /** The file to record in; null to record nothing. */
  readonly out: string | null;
};

/** Help was shown (0), or the call made no sense (2). Everything is said already. */
export type Ended = { readonly exitCode: 0 | 2 };

type Flags = { quick?: true; large?: true; check?: true; json?: true; seed: number; out?: string };
type Io = { readonly stdout: (text: string) => void; readonly stderr: (text: string) => void };

const DEFAULT_SEED = 1;

export function parseArguments(
  args: readonly string[],
  scenarios: readonly Pick<Scenario, 'name' | 'about'>[],
  io: Io,
): Wanted | Ended {
  let wanted: Wanted | null = null;
  const known = scenarios.map(({ name }) => name);
  const program = new Command('npm run bench --')
    .description('Measures Weir against baselines of the same run, on stores of its own.')
    .addArgument(new Argument('[scenario...]', 'only these; all when none is named').argParser(oneMoreOf(known)))
    .option('--quick', 'fewer and shorter rounds: some ten minutes instead of the better part of an hour')
    .option('--large', 'reading: with a hundred million events as well, which takes some 10 GB and half an hour')
    .option(
      '--check',
      `compare the guarded ratios with ${RESULTS_FILE}, record nothing; exit code 1 when one has fallen`,
    )
    .option('--json', 'print the figures as JSON')
    .option('--seed <number>', 'of the events that are sent', wholeNumber, DEFAULT_SEED)
    .option('--out <file>', `record there (${RESULTS_FILE} when every scenario runs)`)
    .helpOption('-h, --help', 'show this')
    .addHelpText('after', `\nScenarios:\n${scenarios.map(described).join('\n')}\n`)
    .showHelpAfterError('(--help shows what is accepted)')
    .configureOutput({ writeOut: io.stdout, writeErr: io.stderr })
    .exitOverride()
    .action((named: readonly string[], { quick, large, check, json, seed, out }: Flags) => {
      if (check && out !== undefined) program.error('error: --check records nothing: leave out --out');
      if (quick && large) program.error('error: --quick and --large exclude each other');
      const isAll = named.length === 0;
      wanted = {
        names: isAll ? known : known.filter((name) => named.includes(name)),
        isQuick: quick ?? false,
        isLarge: large ?? false,
        seed,
        isJson: json ?? false,
        isCheck: check ?? false,
        out: out ?? (isAll && !check ? RESULTS_FILE : null),
      };
    });
  try {
    program.parse(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return { exitCode: error.exitCode === 0 ? 0 : 2 };
  }
  if (wanted === null) throw new Error('the action did not run');
  return wanted;
}

const oneMoreOf = (known: readonly string[]) => (name: string, before: readonly string[] | undefined) => {
  if (!known.includes(name)) throw new InvalidArgumentError(`There are: ${known.join(', ')}.`);
  return [...(before ?? []), name];
};

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number of at most nine digits.');
  return Number(text);
}

const LINE = 88;
const INDENT = 12;

/** The name, and beside it what the scenario measures. */
function described({ name, about }: Pick<Scenario, 'name' | 'about'>): string {
  const lines = [''];
  for (const word of about.split(' ')) {
    const last = lines.at(-1)!;
    if (last === '') lines[lines.length - 1] = word;
    else if (last.length + 1 + word.length <= LINE) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return `  ${name.padEnd(INDENT - 2)}${lines.join(`\n${' '.repeat(INDENT)}`)}`;
}
