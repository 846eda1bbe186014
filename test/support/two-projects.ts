/** Two projects in one ClickHouse, and what one of them sees of it. */
import type { ClickHouseClient } from '@clickhouse/client';
import { systemClock } from '../../src/runtime/clock.ts';
import { createProjectReader } from '../../src/clickhouse/reading/project-reader.ts';

export const DATABASE = 'analytics';
export const ATTACKER = '55555555-5555-4555-8555-555555555555';
/** One sorts before the attacker and one after: index marks of both are next to the attacker's rows. */
export const VICTIMS = ['00000000-0000-4000-8000-00000000dead', '99999999-9999-4999-8999-99999999dead'] as const;
/** Part of everything that a victim stores. */
export const SECRET = 'victim';

export type Row = { project: string; id: number; event: string; user: string; at?: string };

/** An event as stored. Everything that tells whose it is, its ids and labels, begins with `user`. */
export function rowOf({ project, id, event, user, at = '2026-05-04 12:00:00.000' }: Row) {
  return {
    project_id: project,
    event_id: eventId(project, id),
    event,
    anonymous_id: `${user}-anon`,
    user_id: user,
    timestamp: at,
    session_id: `${user}-session`,
    properties: JSON.stringify({ note: user, late: user }),
    extras: JSON.stringify({
      service: `${user}-service`,
      channel: user,
      env: user,
      level: user,
      trace_id: user,
      request_id: user,
      job_id: user,
      campaign_id: user,
      tags: [user],
    }),
    source: 'native',
    received_at: at,
  };
}

export const eventId = (project: string, id: number) => `${project.slice(0, 24)}${String(id).padStart(12, '0')}`;

/** Queries as the attacker. */
export function createAsking(client: ClickHouseClient) {
  const reader = createProjectReader(
    { client, clock: systemClock, stopping: new AbortController().signal },
    { database: DATABASE },
  );
  let asked = 0;
  return { ask, askAll };

  /** What an attacker sees: the rows in a fixed order, or the refusal. */
  async function ask(sql: string): Promise<string> {
    const queryId = `two-projects-${process.pid}-${asked++}`;
    const answer = await reader.query(ATTACKER, sql, { queryId, signal: new AbortController().signal });
    if (answer.kind !== 'answer') return JSON.stringify(answer);
    const rows: string[] = [];
    for await (const group of answer.rows) rows.push(...group);
    return JSON.stringify({ columns: answer.columns, rows: rows.sort() });
  }

  async function askAll(questions: readonly string[]): Promise<Map<string, string>> {
    const answers = new Map<string, string>();
    const waiting = [...questions];
    const askInTurn = async () => {
      for (let sql = waiting.pop(); sql !== undefined; sql = waiting.pop()) answers.set(sql, await ask(sql));
    };
    await Promise.all(Array.from({ length: 4 }, askInTurn));
    return answers;
  }
}
