/** Looking at the events of all workers: orders go to every one, and what each tells goes to whoever looks. */
import type {
  OpenWatch,
  PendingAnswer,
  PendingQuestion,
  StreamOrder,
  WatchEnd,
  WatchReport,
} from '../watch/messages.ts';
import type { WorkerSlot } from './worker-slot.ts';

export type SharedWatch = {
  /** One look at a time: the last one counts. */
  readonly open: OpenWatch;
  /** Call it with what a worker tells. */
  receive(worker: number, report: WatchReport): void;
};

/** Longer than a worker takes to read through all that may be pending. */
const PENDING_WITHIN_MS = 5_000;

/** The supervisor's part. */
export function createSharedWatch(slots: () => readonly Pick<WorkerSlot, 'tell' | 'ask'>[]): SharedWatch {
  let viewer: ((report: WatchReport) => void) | null = null;

  return {
    open(report) {
      viewer = report;
      return Promise.resolve({ order, find, close: () => close(report) });
    },
    receive: (worker, report) => viewer?.({ ...report, worker }),
  };

  function order(streams: readonly StreamOrder[]) {
    const all = slots();
    for (const [index, slot] of all.entries()) {
      const shares = streams.map((one) => ({ ...one, credits: shareOf(one.credits, index, all.length) }));
      slot.tell({ kind: 'watch', streams: shares });
    }
  }

  async function find(question: PendingQuestion): Promise<PendingAnswer> {
    const answers = await Promise.all(slots().map((slot) => slot.ask('pending', question, PENDING_WITHIN_MS)));
    const known = answers.filter((answer) => answer !== null);
    const since = known.flatMap(({ requestsSince }) => requestsSince ?? []);
    return {
      events: known.flatMap(({ events }) => events),
      requests: known.flatMap(({ requests }) => requests),
      requestsSince: since.length === 0 ? null : Math.max(...since),
      isCutShort: known.some(({ isCutShort }) => isCutShort),
      silent: answers.length - known.length,
    };
  }

  function close(of: (report: WatchReport) => void) {
    if (viewer !== of) return;
    viewer = null;
    for (const slot of slots()) slot.tell({ kind: 'watch', streams: null });
  }
}

const shareOf = (credits: number, index: number, of: number) => Math.floor((credits + index) / of);

/** Looks at events when it is told to, by whoever is at the other end of a channel between processes. */
export function createViewer(openWatch: OpenWatch, report: (report: WatchReport) => void) {
  let open: Promise<WatchEnd> | null = null;

  return {
    async order(streams: readonly StreamOrder[] | null): Promise<void> {
      if (streams === null) {
        const closing = open;
        open = null;
        (await closing)?.close();
        return;
      }
      open ??= openWatch(report);
      (await open).order(streams);
    },
    async find(question: PendingQuestion): Promise<PendingAnswer> {
      open ??= openWatch(report);
      return (await open).find(question);
    },
  };
}
