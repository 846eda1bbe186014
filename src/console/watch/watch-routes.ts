/** The paths that watch the service: what it does now, events as they are accepted, where one is. */
import { type Context, Hono } from 'hono';
import type { ConsoleEnv } from '../env.ts';
import { refuse } from '../refusals.ts';
import type { FindDeps } from './find.ts';
import { eventsFind } from './find-route.ts';
import type { LiveHub } from './live-hub.ts';
import { live } from './live-route.ts';
import type { Sampler } from './sampler.ts';

export type WatchDeps = {
  readonly sampler: Pick<Sampler, 'now' | 'series'>;
  readonly hub: Pick<LiveHub, 'open'>;
  readonly find: FindDeps;
};

const MAX_SECONDS = 3_600;

/** Relative to the operator API. */
export function watchRoutes({ sampler, hub, find }: WatchDeps): Hono<ConsoleEnv> {
  return new Hono<ConsoleEnv>()
    .get('/live', live(hub))
    .get('/events/find', eventsFind(find))
    .get('/now', async (c) => c.json(await sampler.now()))
    .get('/now/series', (c) => {
      const seconds = numberIn(c, 'seconds', MAX_SECONDS);
      const after = numberIn(c, 'after', null);
      if (seconds === undefined || seconds === null || seconds < 1 || after === undefined) {
        return refuse(c, {
          refused: 'invalid_request',
          message: `seconds must be 1 to ${MAX_SECONDS}, and after a time in epoch milliseconds`,
        });
      }
      return c.json(sampler.series(Math.min(seconds, MAX_SECONDS), after));
    });
}

/** undefined where the parameter is there and no number of at least 0. */
function numberIn<Default>(c: Context<ConsoleEnv>, name: string, byDefault: Default): number | Default | undefined {
  const given = c.req.query(name);
  if (given === undefined) return byDefault;
  return /^\d{1,15}$/.test(given) ? Number(given) : undefined;
}
