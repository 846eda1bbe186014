/** The operator API over stores of a test: its routes, asked as the console's app asks them. */
import { Hono } from 'hono';
import { parseConfig } from '../../src/config/config.ts';
import { SESSION_ROUTES } from '../../src/console/described-session.ts';
import type { ConsoleEnv, Operator } from '../../src/console/env.ts';
import type { Job } from '../../src/console/operator/answers.ts';
import { openOperator } from '../../src/console/operator/open-operator.ts';
import { WATCHING } from '../../src/console/operator/watching.ts';
import { createLog } from '../../src/log/log.ts';
import { clickHouseAccess } from '../../src/config/config.ts';
import { systemClock } from '../../src/runtime/clock.ts';

export type Answered<T = Record<string, unknown>> = {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly json: T;
};

/** A job that is over; its result is an object, or null. */
export type Ended = Omit<Job, 'result'> & { readonly result: Record<string, unknown> };

/** Routes of the console's other parts, which are described with these. */
export const OTHERS = [...SESSION_ROUTES, ...WATCHING];

const ADA: Operator = { name: 'ada', role: 'operator', showsEvents: true };

/** `env`: the settings of the service, with its stores. */
export function startOperatorApi(
  env: Record<string, string>,
  { serviceUrl = 'http://127.0.0.1:9', onAnswer = () => {} }: Options = {},
) {
  const config = parseConfig(env, () => {
    throw Object.assign(new Error('no file'), { code: 'ENOENT' });
  });
  const { CLICKHOUSE_URL: url } = env;
  const clickhouse =
    url === undefined
      ? null
      : { ...clickHouseAccess(new URL(url), { username: 'default', password: '' }), url, key: null };
  const access = { databaseUrl: env['DATABASE_URL']!, clickhouse };
  const api = openOperator(
    { config, access, serviceUrl, version: '0.0.0', others: OTHERS },
    { clock: systemClock, log: createLog('silent') },
  );
  const app = new Hono<ConsoleEnv>();
  let operator = ADA;
  app.use(async (c, next) => {
    c.set('operator', operator);
    c.set('requestId', 'r1');
    await next();
  });
  app.route('/', api.routes);

  return { ask, as, ended, close: api.close, routes: api.routes };

  /** As somebody else than Ada, who may do and see everything. */
  function as(other: Partial<Operator>) {
    return {
      ask: async <T = Record<string, unknown>>(method: string, path: string, body?: unknown, headers = {}) => {
        const before = operator;
        operator = { ...ADA, ...other };
        try {
          return await ask<T>(method, path, body, headers);
        } finally {
          operator = before;
        }
      },
    };
  }

  async function ask<T = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answered<T>> {
    const answer = await app.request(path, {
      method,
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      headers: { ...(body !== undefined && { 'Content-Type': 'application/json' }), ...headers },
    });
    const text = await answer.text();
    const isJson = answer.headers.get('content-type')?.startsWith('application/json') ?? false;
    const answered = {
      status: answer.status,
      headers: answer.headers,
      text,
      json: (isJson ? JSON.parse(text) : null) as T,
    };
    onAnswer(method, path, answered as Answered);
    return answered;
  }

  /** The job that an answer began, when it has ended; `onProgress` sees it in between. */
  async function ended(begun: Answered, onProgress: (job: Job) => void = () => {}): Promise<Ended> {
    if (begun.status !== 202) throw new Error(`no job: ${begun.status} ${begun.text}`);
    const { id } = begun.json['job'] as Job;
    for (;;) {
      const { json } = await ask<Job>('GET', `/jobs/${id}`);
      onProgress(json);
      if (json.state !== 'running') return json as Ended;
      await systemClock.sleep(20);
    }
  }
}

type Options = {
  readonly serviceUrl?: string;
  readonly onAnswer?: (method: string, path: string, answer: Answered) => void;
};
