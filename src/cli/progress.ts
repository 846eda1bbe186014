import type { Progress } from '../operations/progress.ts';
import type { Cli } from './cli.ts';
import { counted } from '../operations/wording.ts';

const EVERY_MS = 1_000;

/** Reports on stderr how far a long operation has come, at most once a second; a short one stays silent. */
export function createProgress({ io, clock }: Pick<Cli, 'io' | 'clock'>): (say: () => string) => void {
  let saidAt = clock.elapsed();
  return (say) => {
    if (clock.elapsed() - saidAt < EVERY_MS) return;
    saidAt = clock.elapsed();
    io.stderr(`${say()}\n`);
  };
}

const WAITING_MS = 5_000;

/** Reports on stderr every few seconds that `what` is still running, for a single slow query. */
export async function withProgress<T>(
  { io, clock }: Pick<Cli, 'io' | 'clock'>,
  what: string,
  work: Promise<T>,
): Promise<T> {
  const over = new AbortController();
  const startedAt = clock.elapsed();
  const tick = async () => {
    for (;;) {
      await clock.sleep(WAITING_MS, over.signal);
      if (over.signal.aborted) return;
      io.stderr(`${what}: ${Math.round((clock.elapsed() - startedAt) / 1_000)} s so far\n`);
    }
  };
  void tick(); // Ends with the work.
  try {
    return await work;
  } finally {
    over.abort();
  }
}

/** The progress of an action on dead letters, on stderr; `said` completes `12 letters …`. */
export function deadLetterProgress(cli: Pick<Cli, 'io' | 'clock'>, said = 'so far'): Progress {
  const say = createProgress(cli);
  return {
    during: (what, work) => withProgress(cli, what, work),
    done: ({ letters }) => say(() => `${counted(letters, 'letter')} ${said}`),
  };
}
