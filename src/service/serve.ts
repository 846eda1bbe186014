/**
 * The process around a running Weir: the claim on the data directory, the embedded stores, the banner, signals and the
 * exit code.
 */
import closeWithGrace from 'close-with-grace';
import { announce } from './announce.ts';
import type { Io } from '../runtime/io.ts';
import { systemClock } from '../runtime/clock.ts';
import { CRASHES, ENDING_SIGNALS, SAME_SIGNAL_WITHIN_MS } from '../runtime/signals.ts';
import { collectStartupGarbage } from '../runtime/startup-garbage.ts';
import type { Config } from '../config/config.ts';
import type { ConsoleProcess } from '../console/fork.ts';
import { CannotListen, findFreePort } from '../http/listener/server.ts';
import type { Output } from '../log/output.ts';
import { type Log, createLog, openStandardError, openStandardOutput, relayTo } from '../log/log.ts';
import { checkConsolePort, openConsole, urlOf } from './open-console.ts';
import { type Embedded, startMissingStores } from './missing-stores.ts';
import { claimDirectory } from './claim-directory.ts';
import { type EventStoreChoice, chooseEventStore, rememberEventStore } from './event-store.ts';
import { AlreadyRunning, type RuntimeClaim, readRuntime } from './runtime-file.ts';
import { type Service, startService } from './start-service.ts';
import { JournalUnusable } from '../composition/durability.ts';
import { waitForPredecessors } from '../workers/worker-directories.ts';
import { WorkerCannotStart } from '../workers/supervisor.ts';

/** Time beyond the grace for the events: closing connections and ending embedded stores. */
const FOR_STORES_MS = 20_000;
/** Time beyond the same grace for workers that lost their supervisor. */
const FOR_PREDECESSORS_MS = 5_000;

/** Time for the last log lines when their reader is slow or absent. */
const FOR_LAST_LINES_MS = 500;

/** Signals of supervisors and orchestrators; for a person at the terminal (SIGINT) no client needs a warning first. */
const ORCHESTRATORS = 'SIGTERM';

/** What has begun so far and must be ended. */
type Begun = {
  runtime: RuntimeClaim | null;
  embedded: Embedded | null;
  service: Service | null;
  console: ConsoleProcess | null;
};

/**
 * Runs until a signal or a fatal error ends the process; returns only when it could not start, with the exit code. The
 * process exits 0 when every accepted event has a durable home. A signal during the start ends what has begun by then.
 */
export async function serve(
  config: Config,
  { io, releaseSignals }: { readonly io: Io; readonly releaseSignals: () => void },
): Promise<number> {
  const output = openStandardError(systemClock);
  const log = createLog(config.logLevel, output);
  surviveBrokenOutput(output, log);
  const begun: Begun = { runtime: null, embedded: null, service: null, console: null };
  const stopping = new AbortController();
  const starting = start({ config, begun, output, log, io, signal: stopping.signal });
  const signals = stopOnSignals({ begun, starting, stopping, config, log });
  releaseSignals();
  try {
    await starting;
    return await new Promise<never>(() => {});
  } catch (error) {
    signals.uninstall();
    output.finish(FOR_LAST_LINES_MS);
    if (!(error instanceof Error) || !isExplained(error)) throw error;
    io.stderr(`${error.message}\n`);
    return 1;
  }
}

/** Resolves when the service runs, or early when `signal` aborts. When it rejects, nothing is left running. */
async function start({
  config,
  begun,
  output,
  log,
  io,
  signal,
}: {
  config: Config;
  begun: Begun;
  output: ReturnType<typeof openStandardError>;
  log: Log;
  io: Io;
  signal: AbortSignal;
}): Promise<void> {
  try {
    const wait = { ...waitingFor(config, log), signal };
    if (readRuntime(config.dataDir).kind !== 'running') await waitForPredecessors(config.dataDir, wait);
    const port = await findFreePort(config);
    await checkConsolePort(config.console);
    if (signal.aborted) return;
    const runtime = claimDirectory(config, process.pid, log);
    begun.runtime = runtime;
    // One that only takes events in has no use for a store of them.
    const eventStore = config.role === 'ingest' ? null : await decideEventStore(config, { log, io });
    const embedded = await startMissingStores(config, eventStore, { log, io, signal });
    begun.embedded = embedded;
    if (embedded === null || signal.aborted) return;
    const relay = output.isShared ? relayTo(output) : null;
    const service = await startService({ config, port, access: embedded.access, relay, log, signal });
    begun.service = service;
    if (signal.aborted) return;
    // Not awaited: a demo may wait for the stores. A failure is a bug, unless the service ended first.
    const url = urlOf(config, service.port);
    begun.console = await openConsole({ config, access: embedded.access, service, url, relay, log });
    collectStartupGarbage(systemClock);
    const print = openStandardOutput(systemClock).write;
    void announce({ service, url, openedConsole: begun.console, embedded, runtime, config, log, print }).catch(
      (error: unknown) => {
        if (!signal.aborted) throw error;
      },
    );
  } catch (error) {
    await Promise.all((begun.embedded?.stores ?? []).map((store) => store.stop()));
    begun.runtime?.release();
    throw error;
  }
}

/** Says so where the choice is a surprise, and remembers it in the data directory. */
async function decideEventStore(config: Config, { log, io }: { log: Log; io: Io }): Promise<EventStoreChoice> {
  const { store, said } = await chooseEventStore(config, async () => {
    const { whyNoEmbeddedClickHouse } = await import('../embedded/clickhouse.ts');
    return whyNoEmbeddedClickHouse();
  });
  if (said !== null && config.production) log.warn({ said }, 'events are stored elsewhere than before');
  else if (said !== null) io.stderr(`${said}\n`);
  try {
    rememberEventStore(config.dataDir, store);
  } catch (error) {
    // Where nothing can be remembered, the settings decide at every start.
    log.debug({ err: error }, 'the store of the events is not remembered');
  }
  return store;
}

/** Keeps the service running when its output has no reader, and writes the last log lines at exit. */
function surviveBrokenOutput(output: Output, log: Log): void {
  process.stdout.removeAllListeners('error').on('error', ({ code }: NodeJS.ErrnoException) => {
    log.warn({ code }, 'standard output cannot be written');
  });
  process.on('exit', () => output.finish(FOR_LAST_LINES_MS));
}

const waitingFor = ({ drainDelayMs, shutdownGraceMs }: Config, log: Log) => ({
  clock: systemClock,
  log,
  withinMs: drainDelayMs + shutdownGraceMs + FOR_PREDECESSORS_MS,
});

/** Failures whose message already says what to do; a stack would only hide it. */
function isExplained(error: Error): boolean {
  return (
    error instanceof CannotListen ||
    error instanceof AlreadyRunning ||
    error instanceof JournalUnusable ||
    error instanceof WorkerCannotStart ||
    error.name === 'EmbeddedStoreError'
  );
}

/**
 * Ends the service in order at a signal or an error that nobody caught. A signal that follows at once is the same one;
 * a later one ends the service at once.
 */
function stopOnSignals({
  begun,
  starting,
  stopping,
  config,
  log,
}: {
  begun: Begun;
  starting: Promise<void>;
  stopping: AbortController;
  config: Config;
  log: Log;
}): { uninstall(): void } {
  /** Why the service ends, since when; null while it does not. */
  let ending: { readonly signal: NodeJS.Signals | null; readonly since: number } | null = null;
  const ended = closeWithGrace(
    {
      delay: config.drainDelayMs + config.shutdownGraceMs + FOR_STORES_MS,
      logger: { error: (err: unknown) => log.error({ err }, 'shutdown failed') },
      // Its listeners are replaced at the first signal, and without one for a moment a signal kills the process.
      skip: [...ENDING_SIGNALS, ...CRASHES],
      onTimeout: () => saveAndLeave('shutdown took too long'),
      onSecondError: () => saveAndLeave('second error while shutting down'),
    },
    async ({ err }) => {
      ending ??= { signal: null, since: systemClock.elapsed() };
      const { signal } = ending;
      if (err) log.fatal({ err }, 'unexpected error: shutting down');
      else log.info({ signal }, 'signal received');
      // No client sends requests to a service that has not run yet.
      const isAnnounced = signal === ORCHESTRATORS && begun.service !== null;
      stopping.abort();
      await starting;
      const [stopped] = await Promise.all([begun.service?.stop({ isAnnounced }), begun.console?.stop()]);
      const { lost, unclean } = stopped ?? { lost: 0, unclean: 0 };
      await Promise.all((begun.embedded?.stores ?? []).map((store) => store.stop()));
      begun.runtime?.release();
      log.info({ lost }, 'stopped');
      // close-with-grace exits 1 on a failed close and 0 otherwise.
      if (unclean > 0) throw new Error(`${unclean} workers did not stop cleanly`);
      if (lost > 0) throw new Error(`${lost} events have no durable home`);
    },
  );
  for (const signal of ENDING_SIGNALS) process.on(signal, answer);
  return {
    uninstall() {
      ended.uninstall();
      for (const signal of ENDING_SIGNALS) process.off(signal, answer);
    },
  };

  function answer(signal: NodeJS.Signals) {
    const now = systemClock.elapsed();
    if (ending === null) {
      ending = { signal, since: now };
      ended.close();
    } else if (ending.signal === null || now - ending.since >= SAME_SIGNAL_WITHIN_MS) {
      saveAndLeave('second signal: exiting at once');
      process.exit(1);
    }
  }

  function saveAndLeave(why: string) {
    if (begun.service) begun.service.leave(why);
    else log.fatal({}, why);
    begun.runtime?.release();
  }
}
