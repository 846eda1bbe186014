/** The part of the console that watches the service, put together. */
import type { Hono } from 'hono';
import { type FindEventsDeps, findEvents } from '../../operations/find-events.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { PendingAnswer, PendingQuestion, StreamOrder, WatchReport } from '../../watch/messages.ts';
import type { ConsoleEnv } from '../env.ts';
import { createLiveHub } from './live-hub.ts';
import { createSampler } from './sampler.ts';
import { createServicePages } from './service.ts';
import { watchRoutes } from './watch-routes.ts';

export type WatchParts = {
  readonly service: {
    /** Its base, as the console reaches it. */
    readonly url: string;
    /** null where its page of metrics asks for no token. */
    readonly metricsToken: string | null;
    /** Tells it which events viewers want to see. */
    readonly order: (streams: readonly StreamOrder[]) => void;
    /** Asks it what is pending; null where it does not answer. */
    readonly findPending: (question: PendingQuestion) => Promise<PendingAnswer | null>;
  };
  readonly stores: Pick<FindEventsDeps, 'db' | 'events'>;
  /** Whether a topic stands between intake and store. */
  readonly hasTopic: boolean;
  readonly clock: Clock;
};

export type Watch = {
  /** Relative to the operator API, for requests that are signed in. */
  readonly routes: Hono<ConsoleEnv>;
  /** Call it with what the service tells of events. */
  receive(report: WatchReport): void;
  /** Works until `signal` aborts. Never rejects. */
  run(signal: AbortSignal): Promise<void>;
};

export function createWatch({ service, stores, hasTopic, clock }: WatchParts): Watch {
  const sampler = createSampler({ pages: createServicePages(service), clock });
  const hub = createLiveHub({ clock, order: service.order, rates: sampler.rates });
  const find = {
    findPending: service.findPending,
    findEvents: (question: Parameters<typeof findEvents>[1]) => findEvents({ ...stores, clock }, question),
    wayOf: hub.wayOf,
    hasTopic,
  };
  return {
    routes: watchRoutes({ sampler, hub, find }),
    receive: hub.receive,
    run: async (signal) => void (await Promise.all([sampler.run(signal), hub.run(signal)])),
  };
}
