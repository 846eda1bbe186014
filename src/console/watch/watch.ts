/** The part of the console that watches the service, put together. */
import type { Hono } from 'hono';
import type { Clock } from '../../runtime/clock.ts';
import type { ConsoleEnv } from '../env.ts';
import { createSampler } from './sampler.ts';
import { createServicePages } from './service.ts';
import { watchRoutes } from './watch-routes.ts';

export type WatchParts = {
  readonly service: {
    /** Its base, as the console reaches it. */
    readonly url: string;
    /** null where its page of metrics asks for no token. */
    readonly metricsToken: string | null;
  };
  readonly clock: Clock;
};

export type Watch = {
  /** Relative to the operator API, for requests that are signed in. */
  readonly routes: Hono<ConsoleEnv>;
  /** Works until `signal` aborts. Never rejects. */
  run(signal: AbortSignal): Promise<void>;
};

export function createWatch({ service, clock }: WatchParts): Watch {
  const sampler = createSampler({ pages: createServicePages(service), clock });
  return { routes: watchRoutes({ sampler }), run: sampler.run };
}
