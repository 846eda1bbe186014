import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import { failureOf } from '../pipeline/outcome.ts';
import type { EmbeddedStore } from './store-process.ts';

/** Restarts an embedded store, on the same port, whenever it dies before `stop` is called. */
export type KeptStore = { readonly url: string; stop(): Promise<void> };

const RESTART_MS = 1_000;

/**
 * `start` is called once now (the caller handles its failure) and again after every unexpected end, then with a signal
 * that gives up the start.
 */
export async function keepRunning(
  name: string,
  start: (port?: number, signal?: AbortSignal) => Promise<EmbeddedStore>,
  { clock, log }: { clock: Clock; log: Log },
): Promise<KeptStore> {
  const stopping = new AbortController();
  let store = await start();
  const watched = watch();

  return {
    url: store.url,
    async stop() {
      stopping.abort();
      await store.stop();
      await watched;
      // A restart may have been under way.
      await store.stop();
    },
  };

  async function watch() {
    for (;;) {
      const { code, signal } = await store.exited;
      if (stopping.signal.aborted) return;
      log.error({ store: name, code, signal }, 'embedded store died; restarting it');
      await restart();
      if (stopping.signal.aborted) return;
    }
  }

  async function restart() {
    while (!stopping.signal.aborted) {
      const error = await failureOf(start(store.port, stopping.signal).then((started) => (store = started)));
      if (error === null || stopping.signal.aborted) return;
      log.error({ store: name, err: error }, 'embedded store failed to start; retrying');
      await clock.sleep(RESTART_MS, stopping.signal);
    }
  }
}
