import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import type { ProjectId } from '../../event/event.ts';
import type { Refusal } from '../answers/refusals.ts';

/** Counts one request of the project; the refusal when it has used up its allowance. */
export type RateLimit = (projectId: ProjectId) => Promise<Refusal<'rate_limited'> | null>;

/** Allows each project `requests` in every window of `perMs`, counted in this process. */
export function createRateLimit({ requests, perMs }: { requests: number; perMs: number }): RateLimit {
  const limiter = new RateLimiterMemory({ points: requests, duration: perMs / 1_000 });

  return async (projectId) => {
    try {
      await limiter.consume(projectId);
      return null;
    } catch (refused) {
      if (!(refused instanceof RateLimiterRes)) throw refused;
      const retryAfterS = Math.max(1, Math.ceil(refused.msBeforeNext / 1_000));
      return { refused: 'rate_limited', retryAfterS, message: 'this project sends more requests than it may' };
    }
  };
}
