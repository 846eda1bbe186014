import type { Context } from 'hono';
import type { ServerResponse } from 'node:http';
import type { ConsoleEnv } from '../env.ts';

/** Ends the connection of a request at once, so that what was sent is not taken for everything. */
export function cutOff(c: Context<ConsoleEnv>): void {
  // Absent where no socket is beneath the request.
  const { outgoing } = (c.env ?? {}) as { outgoing?: ServerResponse };
  outgoing?.destroy();
}
