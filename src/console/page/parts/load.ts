/** What a page shows of the API, as it arrives. */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { ApiError } from './api.ts';
import { repeat } from './clock.ts';

export type Loaded<T> = {
  /** The last good answer; null until there is one. */
  readonly value: T | null;
  /** Why there was no newer one. */
  readonly error: ApiError | null;
  /** Asks again. */
  reload(): void;
};

/**
 * Asks when `key` changes; `everyMs` asks again and again, while somebody looks. An answer that comes after the key has
 * changed is nobody's.
 */
export function useLoaded<T>(
  key: string,
  load: (signal: AbortSignal) => Promise<T>,
  { everyMs = null }: { everyMs?: number | null } = {},
): Loaded<T> {
  const [state, setState] = useState<{ key: string; value: T | null; error: ApiError | null }>(nothing(key));
  const [turn, setTurn] = useState(0);
  const asked = useRef(load);
  asked.current = load;

  useEffect(() => {
    const one = async (signal: AbortSignal) => {
      try {
        const value = await asked.current(signal);
        if (!signal.aborted) setState({ key, value, error: null });
      } catch (error) {
        if (!signal.aborted)
          setState((last) => ({ key, value: last.key === key ? last.value : null, error: error as ApiError }));
      }
    };
    if (everyMs !== null) return repeat(everyMs, one);
    const ended = new AbortController();
    void one(ended.signal);
    return () => ended.abort();
  }, [key, turn, everyMs]);

  const { value, error } = state.key === key ? state : nothing(key);
  return { value, error, reload: () => setTurn((last) => last + 1) };
}

const nothing = (key: string) => ({ key, value: null, error: null });
