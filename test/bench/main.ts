/** `npm run bench`: see `--help`, and docs/BENCHMARKS.md for how to read what it prints. */
import { SCENARIOS } from './scenarios.ts';
import { type Ended, RESULTS_FILE, type Wanted, parseArguments } from './support/arguments.ts';
import { guard, isBad } from './support/guard.ts';
import { figuresTable, guardTable, isMet } from './support/report.ts';
import { type Section, machineNow, readResults, versionsNow, withSection, writeResults } from './support/results.ts';
import type { Figure } from './support/scenario.ts';

// The stores and Weirs end with this process, however it ends.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

const startedAt = performance.now();
const wanted = parseArguments(process.argv.slice(2), SCENARIOS, {
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
});
const exitCode = isEnded(wanted) ? wanted.exitCode : await (wanted.isCheck ? check(wanted) : measure(wanted));
// Everything is stopped; a connection left half open must not keep the process.
process.stdout.write('', () => process.exit(exitCode));

function isEnded(parsed: Wanted | Ended): parsed is Ended {
  return 'exitCode' in parsed;
}

/** Prints the figures and records them, unless a scenario failed. */
async function measure({ names, isQuick, isLarge, seed, isJson, out }: Wanted): Promise<0 | 1> {
  const scenarios: Record<string, readonly Figure[]> = {};
  for (const name of names) {
    const figures = await run(name, { isQuick, isLarge, seed });
    if (figures) scenarios[name] = figures;
  }
  const section: Section = {
    date: new Date().toISOString(),
    mode: isQuick ? 'quick' : 'full',
    seed,
    seconds: Math.round(elapsedS()),
    versions: await versionsNow(),
    machine: machineNow(),
    scenarios,
  };
  process.stdout.write(isJson ? `${JSON.stringify(section)}\n` : summaryOf(section));
  const failed = names.filter((name) => !(name in scenarios));
  if (failed.length > 0) say(`failed: ${failed.join(', ')}${out === null ? '' : '; nothing is recorded'}`);
  else if (out !== null) {
    writeResults(out, withSection(readResults(out), section, { isAll: names.length === SCENARIOS.length }));
    say(`recorded in ${out}`);
  }
  return failed.length > 0 ? 1 : 0;
}

/** Compares with what is recorded; 1 when a ratio has fallen or a scenario cannot be run. */
async function check({ names, isQuick, isLarge, seed, isJson }: Wanted): Promise<0 | 1> {
  const mode = isQuick ? 'quick' : 'full';
  const recorded = readResults(RESULTS_FILE)[mode]?.scenarios;
  if (recorded === undefined) {
    say(
      `${RESULTS_FILE} has no ${mode} figures to compare with; npm run bench -- ${isQuick ? '--quick ' : ''}records them`,
    );
    return 1;
  }
  const compared = names.filter((name) => recorded[name]?.some((figure) => figure.guard !== undefined));
  const left = names.filter((name) => !compared.includes(name));
  if (left.length > 0) say(`nothing to compare with, and not measured: ${left.join(', ')}`);
  const guarded = await guard(compared, recorded, (name) => run(name, { isQuick, isLarge, seed }));
  process.stdout.write(isJson ? `${JSON.stringify(guarded)}\n` : guardTable(guarded));
  const bad = guarded.filter(isBad).length;
  say(bad === 0 ? 'no guarded ratio has fallen' : `not as recorded: ${bad} of ${guarded.length}`);
  return bad === 0 ? 0 : 1;
}

/** The figures of one scenario; null when it failed, which is said. */
async function run(name: string, wanted: Pick<Wanted, 'isQuick' | 'isLarge' | 'seed'>) {
  const scenario = SCENARIOS.find((known) => known.name === name)!;
  say(name);
  try {
    return await scenario.run({ ...wanted, say: (progress) => say(`${name}: ${progress}`) });
  } catch (error) {
    say(`${name} FAILED: ${error instanceof Error ? error.stack : String(error)}`);
    return null;
  }
}

function summaryOf({ scenarios, mode, seconds, seed, versions, machine }: Section): string {
  const missed = Object.values(scenarios)
    .flat()
    .filter((figure) => !isMet(figure)).length;
  return [
    figuresTable(scenarios),
    `\n${mode}, ${seconds} s, seed ${seed}; ${missed === 0 ? 'no bar missed' : `bars missed: ${missed}`}\n`,
    `Weir ${versions.weir}, Node ${versions.node}, ClickHouse ${versions.clickhouse}, Postgres ${versions.postgres}\n`,
    `${machine.cores} × ${machine.cpu}, ${machine.memoryGiB} GiB, ${machine.os}\n`,
  ].join('');
}

function say(line: string) {
  const seconds = Math.floor(elapsedS());
  const minutes = String(Math.floor(seconds / 60)).padStart(2, '0');
  process.stderr.write(`${minutes}:${String(seconds % 60).padStart(2, '0')}  ${line}\n`);
}

function elapsedS(): number {
  return (performance.now() - startedAt) / 1_000;
}
