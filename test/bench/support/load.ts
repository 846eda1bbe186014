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

export type Outcome = {
  readonly elapsedMs: number;
  /** How often each status was answered. */
  readonly statuses: ReadonlyMap<number, number>;
  /** Connections that ended before their answer, and requests that nobody took before the time was over. */
  readonly failures: number;
  /** Of answered requests, in microseconds. */
  readonly latency: RecordableHistogram;
};

/** The next request, whole; null when there are no more. May be waited for. */
export type NextRequest = () => Buffer | null | Promise<Buffer | null>;

export type OnAnswer = (status: number, request: Buffer, more: AnswerDetail) => void;

export type AnswerDetail = {
  /** When it was to be sent, since the start. */
  readonly dueMs: number;
  /** From then until the answer. */
  readonly tookMs: number;
  /** Why it was refused, as the answer calls it; null when it was not. */
  readonly code: string | null;
};

/** The bytes of one POST. */
export function requestOf({ path, headers }: Target, body: Buffer): Buffer {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = `POST ${path} HTTP/1.1\r\nhost: bench\r\n${lines.join('')}content-length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

/** Sends until `next` has no more, each connection its next request as soon as it has its answer. */
export async function saturate({
  port,
  connections,
  next,
  onAnswer,
}: {
  port: number;
  connections: number;
  next: NextRequest;
  onAnswer?: OnAnswer;
}): Promise<Outcome> {
  const tally = createTally(onAnswer);
  const startedAt = performance.now();
  const drivers = Array.from({ length: connections }, async () => {
    const line = await openLine(port);
    try {
      for (let request = await next(); request; request = await next()) {
        const sentAt = performance.now();
        const answer = await line.ask(request);
        tally.answered(answer, request, { dueMs: sentAt - startedAt, tookMs: performance.now() - sentAt });
      }
    } catch {
      tally.failed();
    } finally {
      line.close();
    }
  });
  await Promise.all(drivers);
  return tally.outcome(performance.now() - startedAt);
}

/** How long a request may wait for its answer after the offering has ended. */
const LAST_ANSWERS_MS = 10_000;
const TICK_MS = 1;

/**
 * Sends `rateAt(elapsedMs)` requests a second for `durationMs`, on as many connections as it takes up to
 * `maxConnections`. The latency of a request includes the time it had to wait for a free connection.
 */
export async function offer({
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
  next: () => Buffer;
  onAnswer?: OnAnswer;
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
  const until = performance.now() + LAST_ANSWERS_MS;
  while (unanswered() > 0 && performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  for (let missing = unanswered(); missing > 0; missing--) tally.failed();
  for (const line of idle) line.close();
  return tally.outcome(performance.now() - startedAt);

  function unanswered(): number {
    return underway + due.length - head;
  }

  /** Sends what has been due longest; false when every connection is in use. */
  function takeOne(): boolean {
    const line = idle.pop();
    if (!line && open >= maxConnections) return false;
    if (!line) open += 1;
    underway += 1;
    void send(line ?? null, due[head++]!);
    return true;
  }

  async function send(known: Line | null, dueAt: number) {
    try {
      const line = known ?? (await openLine(port));
      const request = next();
      const answer = await line.ask(request);
      tally.answered(answer, request, { dueMs: dueAt - startedAt, tookMs: performance.now() - dueAt });
      idle.push(line);
    } catch {
      open -= 1;
      tally.failed();
    }
    underway -= 1;
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

function createTally(onAnswer: OnAnswer = () => {}) {
  const statuses = new Map<number, number>();
  const latency = createHistogram();
  let failures = 0;
  return {
    answered({ status, code }: Answer, request: Buffer, { dueMs, tookMs }: Omit<AnswerDetail, 'code'>) {
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      recordMs(latency, tookMs);
      onAnswer(status, request, { dueMs, tookMs, code });
    },
    failed() {
      failures += 1;
    },
    outcome: (elapsedMs: number): Outcome => ({ elapsedMs, statuses, failures, latency }),
  };
}

type Answer = { readonly status: number; readonly code: string | null };

/** One connection. */
type Line = {
  /** One request at a time. Rejects when the connection ends before the answer. */
  ask(request: Buffer): Promise<Answer>;
  close(): void;
};

async function openLine(port: number): Promise<Line> {
  const socket = await connected(port);
  let waiting: PromiseWithResolvers<Answer> | null = null;
  let received: Buffer | null = null;
  socket.on('data', (chunk: Buffer) => {
    received = received ? Buffer.concat([received, chunk]) : chunk;
    const answer = wholeAnswer(received);
    if (answer === null) return;
    received = null;
    const answered = waiting;
    waiting = null;
    answered?.resolve(answer);
  });
  socket.on('error', () => {});
  socket.on('close', () => waiting?.reject(new Error('the connection ended before the answer')));
  return {
    ask(request) {
      waiting = Promise.withResolvers();
      if (socket.destroyed) waiting.reject(new Error('the connection has ended'));
      else socket.write(request);
      return waiting.promise;
    },
    close: () => void socket.destroy(),
  };
}

function connected(port: number): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => {
    socket.off('error', reject);
    resolve(socket);
  });
  socket.once('error', reject);
  return promise;
}

const HEAD_END = Buffer.from('\r\n\r\n');

/** What an answer says that has arrived whole; null while it has not. */
function wholeAnswer(answer: Buffer): Answer | null {
  const headEnd = answer.indexOf(HEAD_END);
  if (headEnd < 0) return null;
  const head = answer.toString('latin1', 0, headEnd);
  const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
  if (length === undefined) throw new Error(`an answer without Content-Length:\n${head}`);
  const bodyAt = headEnd + HEAD_END.length;
  if (answer.length < bodyAt + Number(length)) return null;
  const status = Number(head.slice(9, 12));
  const code = status < 300 ? null : (/"code":"(\w+)"/.exec(answer.toString('latin1', bodyAt))?.[1] ?? null);
  return { status, code };
}
