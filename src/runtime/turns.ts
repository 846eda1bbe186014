/** Turns at something that only few may do at once; whoever comes first goes first. */
export type Turns = {
  /**
   * Waits for a turn: `full` when too many wait already, `left` when `stop` aborts before. Whoever has `taken` one
   * passes it on.
   */
  take(stop: AbortSignal): Promise<'taken' | 'full' | 'left'>;
  pass(): void;
};

export function createTurns({ maxAtOnce, maxWaiting }: { maxAtOnce: number; maxWaiting: number }): Turns {
  let taken = 0;
  const waiting = new Set<() => void>();

  return { take, pass };

  async function take(stop: AbortSignal): Promise<'taken' | 'full' | 'left'> {
    if (stop.aborted) return 'left';
    if (taken < maxAtOnce) {
      taken += 1;
      return 'taken';
    }
    if (waiting.size >= maxWaiting) return 'full';
    const turn = Promise.withResolvers<'taken' | 'left'>();
    const give = () => turn.resolve('taken');
    waiting.add(give);
    const leave = () => {
      if (waiting.delete(give)) turn.resolve('left');
    };
    stop.addEventListener('abort', leave, { once: true });
    try {
      return await turn.promise;
    } finally {
      stop.removeEventListener('abort', leave);
    }
  }

  function pass() {
    const [next] = waiting;
    if (next === undefined) {
      taken -= 1;
      return;
    }
    // Handed over without becoming free, so that nobody later can slip in.
    waiting.delete(next);
    next();
  }
}
