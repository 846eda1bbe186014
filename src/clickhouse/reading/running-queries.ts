/**
 * The questions that ClickHouse may be working on. Some of its functions work
 * on one row for minutes, and until they are through nothing ends them: not the
 * time limit, not the connection's end, not KILL. So whoever counts what runs
 * asks here when a question is really over.
 */
import { type ClickHouseClient, ClickHouseError } from '@clickhouse/client';
import type { Clock } from '../../runtime/clock.ts';

export type RunningQueries = {
  /** Sends the question. Its answer says that it is over where it is an error of ClickHouse; otherwise its end does. */
  send<Answer>(queryId: string, asking: () => Promise<Answer>): Promise<Answer>;
  /** ClickHouse has given the whole answer. */
  ended(queryId: string): void;
  /** The connection is closed, the answer incomplete. */
  cutOff(queryId: string): void;
  /** Asks ClickHouse to stop, as long as it takes; resolves when the question is over. Never rejects. */
  stop(queryId: string): Promise<void>;
};

type Question = {
  /** While ClickHouse still owes an answer it may be parsing, and not know the question by its id yet. */
  state: 'unanswered' | 'answering' | 'cut off';
};

const FIRST_WAIT_MS = 50;
const MAX_WAIT_MS = 1_000;
/** A question is no longer counted after its state could not be read for so long. */
const MAX_BLIND_MS = 120_000;
/** No server is there, so no query runs there. */
const NOBODY: ReadonlySet<unknown> = new Set(['ECONNREFUSED', 'ENOTFOUND']);

/** `stopping`: Weir shuts down, and waits no longer. */
export function createRunningQueries({
  client,
  clock,
  stopping,
}: {
  client: ClickHouseClient;
  clock: Clock;
  stopping: AbortSignal;
}): RunningQueries {
  const running = new Map<string, Question>();
  return { send, ended, cutOff, stop };

  async function send<Answer>(queryId: string, asking: () => Promise<Answer>): Promise<Answer> {
    const question: Question = { state: 'unanswered' };
    running.set(queryId, question);
    try {
      const answer = await asking();
      question.state = 'answering';
      return answer;
    } catch (error) {
      if (error instanceof ClickHouseError || isNobody(error)) ended(queryId);
      else question.state = 'cut off';
      throw error;
    }
  }

  function ended(queryId: string) {
    running.delete(queryId);
  }

  function cutOff(queryId: string) {
    const question = running.get(queryId);
    if (question) question.state = 'cut off';
  }

  async function stop(queryId: string): Promise<void> {
    let seenAt = clock.elapsed();
    for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, MAX_WAIT_MS)) {
      const question = running.get(queryId);
      if (!question) return;
      await kill(queryId);
      if (question.state !== 'unanswered') {
        const found = await stateOf(queryId);
        if (found !== 'unknown') seenAt = clock.elapsed();
        if (found === 'gone' || clock.elapsed() - seenAt >= MAX_BLIND_MS) return ended(queryId);
      }
      if (stopping.aborted) return;
      await clock.sleep(waitMs, stopping);
    }
  }

  async function kill(query_id: string) {
    const killing = client.command({
      query: 'KILL QUERY WHERE query_id = {query_id:String} ASYNC',
      query_params: { query_id },
    });
    // Without the right to it, or without a ClickHouse, there is nothing to do but to look.
    await killing.catch(() => {});
  }

  async function stateOf(query_id: string): Promise<'there' | 'gone' | 'unknown'> {
    try {
      const answer = await client.query({
        query: 'SELECT count() FROM system.processes WHERE query_id = {query_id:String}',
        query_params: { query_id },
        format: 'JSONCompactEachRow',
      });
      const [row] = await answer.json<[string]>();
      return Number(row?.[0]) > 0 ? 'there' : 'gone';
    } catch (error) {
      return isNobody(error) ? 'gone' : 'unknown';
    }
  }
}

const isNobody = (error: unknown) => error instanceof Error && NOBODY.has((error as { code?: unknown }).code);
