import type { Cli } from './cli.ts';

const EVERY_MS = 1_000;

/** Says on stderr how far a long work is, at most once a second; short work stays silent. */
export function createProgress({ io, clock }: Pick<Cli, 'io' | 'clock'>): (say: () => string) => void {
  let saidAt = clock.elapsed();
  return (say) => {
    if (clock.elapsed() - saidAt < EVERY_MS) return;
    saidAt = clock.elapsed();
    io.stderr(`${say()}\n`);
  };
}
