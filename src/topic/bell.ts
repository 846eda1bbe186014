/** Tells whoever waits that something changed; what, they look at themselves. */
export type Bell = {
  ring(): void;
  /** Resolves when it rings next. */
  next(): Promise<void>;
};

export function createBell(): Bell {
  let waiting = Promise.withResolvers<void>();

  return {
    ring() {
      waiting.resolve();
      waiting = Promise.withResolvers();
    },
    next: () => waiting.promise,
  };
}

/**
 * What the work comes to, or null when the signal aborts first. Not a race with a promise that lives as long as the
 * signal: that would keep the outcome of every race.
 */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T | null> {
  if (signal.aborted) return null;
  const cut = Promise.withResolvers<null>();
  const stop = () => cut.resolve(null);
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([work, cut.promise]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
