/**
 * Load over HTTP/1.1 that costs little itself: prepared requests, written whole
 * to kept-alive sockets, and answers of which only status and length are read.
 * A client library costs more CPU a request than the server under test, and on
 * two cores that would be measured instead.
 *
 * `saturate` sends as fast as the answers come. `offer` sends at a given rate
 * whatever the answers do, and counts the time from the moment a request was
 * due, so that a server that stalls is not spared the requests it kept away.
 */
import { type Socket, connect } from 'node:net';
import { type RecordableHistogram, createHistogram } from 'node:perf_hooks';

export type Target = {
  readonly port: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
};

/** What is sent, as the bytes of one request; who made it may keep more with it, and is given it back with the answer. */
export type Sendable = { readonly request: Buffer };

export type Outcome = {
  readonly elapsedMs: number;
  /** How often each status was answered. */
  readonly statuses: ReadonlyMap<number, number>;
  /** Connections that ended before their answer, and requests that nobody took before the time was over. */
  readonly failures: number;
  /** Of those, the requests that nobody took. */
  readonly untaken: number;
  /** Of answered requests, in microseconds. */
  readonly latency: RecordableHistogram;
};

/** What is to be sent next; null when there is no more. May be waited for. */
export type Next<S extends Sendable> = () => S | null | Promise<S | null>;

export type OnAnswer<S extends Sendable> = (status: number, sent: S, detail: AnswerDetail) => void;

export type AnswerDetail = {
  /** When it was to be sent, since the start. */
  readonly dueMs: number;
  /** From then until the answer. */
  readonly tookMs: number;
  /** Why it was refused, as the answer calls it; null when it was not. */
  readonly code: string | null;
  /** How long to wait before the next try, as the answer says; 0 when it does not. */
  readonly retryAfterS: number;
};

/** The bytes of one POST. */
export function requestOf({ path, headers }: Target, body: Buffer): Buffer {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = `POST ${path} HTTP/1.1\r\nhost: bench\r\n${lines.join('')}content-length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

/** Sends until `next` has no more, each connection its next request as soon as it has its answer. */
export async function saturate<S extends Sendable>({
  port,
  connections,
  next,
  onAnswer,
}: {
  port: number;
  connections: number;
  next: Next<S>;
  onAnswer?: OnAnswer<S>;
}): Promise<Outcome> {
  const tally = createTally(onAnswer);
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: connections }, drive));
  return tally.outcome(performance.now() - startedAt);

  async function drive() {
    const line = await openLine(port).catch(() => null);
    if (line === null) return tally.failed();
    const { promise: over, resolve: end, reject: fail } = Promise.withResolvers<void>();
    goOn();
    await over.finally(line.close);

    /** A promise only where it has to wait: one for each request would be a third of what a request costs here. */
    function goOn() {
      const sent = next();
      if (sent instanceof Promise) sent.then(send, fail);
      else send(sent);
    }

    function send(sent: S | null) {
      if (sent === null) return end();
      const sentAt = performance.now();
      line!.ask(sent.request, (answer) => {
        if (answer === null) {
          tally.failed();
          return end();
        }
        tally.answered(answer, sent, { dueMs: sentAt - startedAt, tookMs: performance.now() - sentAt });
        goOn();
      });
    }
  }
}

/**
 * How long requests that were due wait for a connection after the offering has ended, and then those that were sent for
 * their answers.
 */
const LAST_ANSWERS_MS = 10_000;
const TICK_MS = 1;

/**
 * Sends `rateAt(elapsedMs)` requests a second for `durationMs`, on as many connections as it takes up to
 * `maxConnections`. The latency of a request includes the time it had to wait for a free connection.
 */
export async function offer<S extends Sendable>({
  port,
  maxConnections,
  durationMs,
  rateAt,
  next,
  onAnswer,
}: {
  port: number;
  maxConnections: number;
  durationMs: number;
  rateAt: (elapsedMs: number) => number;
  next: () => S;
  onAnswer?: OnAnswer<S>;
}): Promise<Outcome> {
  const tally = createTally(onAnswer);
  const idle: Line[] = [];
  /** When the requests that wait for a connection were due. */
  let due: number[] = [];
  let head = 0;
  let open = 0;
  let underway = 0;
  let owed = 0;
  const startedAt = performance.now();
  let lastTick = startedAt;

  const endsAt = startedAt + durationMs;
  while (lastTick < endsAt) {
    // Also what became due while this process was not given the processor is owed, to the last moment.
    const now = Math.min(performance.now(), endsAt);
    owed += (rateAt(now - startedAt) * (now - lastTick)) / 1_000;
    // Spread over the tick that has passed: requests do not come in bursts of the timer's making.
    const count = Math.floor(owed);
    for (let index = 0; index < count; index++) due.push(lastTick + ((now - lastTick) * (index + 1)) / count);
    owed -= count;
    lastTick = now;
    while (head < due.length && takeOne());
    if (head > 4_096) {
      due = due.slice(head);
      head = 0;
    }
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
  await untilNone(() => underway + due.length - head);
  for (let missing = due.length - head; missing > 0; missing--) tally.untaken();
  head = due.length;
  await untilNone(() => underway);
  for (let missing = underway; missing > 0; missing--) tally.failed();
  for (const line of idle) line.close();
  return tally.outcome(performance.now() - startedAt);

  async function untilNone(waiting: () => number) {
    const until = performance.now() + LAST_ANSWERS_MS;
    while (waiting() > 0 && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  /** Sends what has been due longest; false when every connection is in use. */
  function takeOne(): boolean {
    const line = idle.pop();
    if (!line && open >= maxConnections) return false;
    const dueAt = due[head++]!;
    underway += 1;
    if (line) {
      send(line, dueAt);
      return true;
    }
    open += 1;
    openLine(port).then(
      (opened) => send(opened, dueAt),
      () => lost(),
    );
    return true;
  }

  function send(line: Line, dueAt: number) {
    const sent = next();
    line.ask(sent.request, (answer) => {
      if (answer === null) return lost();
      tally.answered(answer, sent, { dueMs: dueAt - startedAt, tookMs: performance.now() - dueAt });
      underway -= 1;
      idle.push(line);
      if (head < due.length) takeOne();
    });
  }

  function lost() {
    open -= 1;
    underway -= 1;
    tally.failed();
    if (head < due.length) takeOne();
  }
}

/** Median, high percentiles and the worst, in milliseconds. */
export function percentilesOf(latency: RecordableHistogram): { p50: number; p95: number; p99: number; p999: number } {
  const at = (percentile: number) => latency.percentile(percentile) / 1_000;
  return { p50: at(50), p95: at(95), p99: at(99), p999: at(99.9) };
}

/** Kept in microseconds; what took less than one counts as one. */
export function recordMs(histogram: RecordableHistogram, ms: number) {
  histogram.record(Math.max(1, Math.round(ms * 1_000)));
}

function createTally<S extends Sendable>(onAnswer: OnAnswer<S> = () => {}) {
  const statuses = new Map<number, number>();
  const latency = createHistogram();
  let failures = 0;
  let untaken = 0;
  return {
    answered({ status, ...told }: Answer, sent: S, times: Pick<AnswerDetail, 'dueMs' | 'tookMs'>) {
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      recordMs(latency, times.tookMs);
      onAnswer(status, sent, { ...times, ...told });
    },
    failed() {
      failures += 1;
    },
    untaken() {
      failures += 1;
      untaken += 1;
    },
    outcome: (elapsedMs: number): Outcome => ({ elapsedMs, statuses, failures, untaken, latency }),
  };
}

type Answer = { readonly status: number } & Pick<AnswerDetail, 'code' | 'retryAfterS'>;

/** One connection. */
type Line = {
  /** One request at a time. `heard` is told the answer; null when the connection ends before it. */
  ask(request: Buffer, heard: (answer: Answer | null) => void): void;
  close(): void;
};

/** More than any answer that is not a list. What is longer comes in pieces. */
const READ_BYTES = 4 * 1024;

/** Reads into memory of its own: what a stream makes of each answer costs more than looking at it. */
async function openLine(port: number): Promise<Line> {
  let waiting: ((answer: Answer | null) => void) | null = null;
  /** What came of an answer that is not whole yet. */
  let received: Buffer | null = null;
  const socket = await connected(port, (piece, length) => {
    if (received !== null) received = Buffer.concat([received, piece.subarray(0, length)]);
    const answer = received === null ? wholeAnswer(piece, length) : wholeAnswer(received, received.length);
    if (answer !== null) {
      received = null;
      heard(answer);
    } else received ??= Buffer.from(piece.subarray(0, length));
  });
  socket.on('error', () => {});
  socket.on('close', () => heard(null));
  return {
    ask(request, heard) {
      waiting = heard;
      if (socket.destroyed) queueMicrotask(() => heard(null));
      else socket.write(request);
    },
    close: () => void socket.destroy(),
  };

  function heard(answer: Answer | null) {
    const asking = waiting;
    waiting = null;
    asking?.(answer);
  }
}

/** `onRead`: the first bytes of a buffer that is written over afterwards. */
function connected(port: number, onRead: (buffer: Buffer, length: number) => void): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  const callback = (length: number) => {
    onRead(buffer, length);
    return true;
  };
  const socket = connect({ port, host: '127.0.0.1', noDelay: true, onread: { buffer, callback } }, () => {
    socket.off('error', reject);
    resolve(socket);
  });
  socket.once('error', reject);
  return promise;
}

const HEAD_END = Buffer.from('\r\n\r\n');

const ACCEPTED = { code: null, retryAfterS: 0 };

/** What an answer says that has arrived whole, in the first `length` bytes; null while it has not. */
function wholeAnswer(bytes: Buffer, length: number): Answer | null {
  const headEnd = bytes.indexOf(HEAD_END);
  const bodyAt = headEnd + HEAD_END.length;
  if (headEnd < 0 || bodyAt > length) return null;
  const head = bytes.toString('latin1', 0, headEnd);
  const bodyBytes = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
  if (bodyBytes === undefined) throw new Error(`an answer without Content-Length:\n${head}`);
  if (length < bodyAt + Number(bodyBytes)) return null;
  const status = Number(head.slice(9, 12));
  if (status < 300) return { status, ...ACCEPTED };
  const code = /"code":"(\w+)"/.exec(bytes.toString('latin1', bodyAt, length))?.[1] ?? null;
  return { status, code, retryAfterS: Number(/\r\nretry-after: (\d+)/i.exec(head)?.[1] ?? 0) };
}
