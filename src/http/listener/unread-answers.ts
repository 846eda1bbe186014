/**
 * Finds connections whose client does not read its answers, which would otherwise stay in memory for as long as it
 * likes.
 */
import type { Socket } from 'node:net';
import type { Clock } from '../../runtime/clock.ts';

export type UnreadAnswers = {
  /** Whether the client has read nothing of the waiting bytes for too long. Call it at intervals. */
  isStuck(socket: Socket): boolean;
};

/** The same as nginx's `send_timeout`. */
const PATIENCE_MS = 60_000;

export function watchUnreadAnswers({ clock }: { clock: Pick<Clock, 'elapsed'> }): UnreadAnswers {
  /** For connections with waiting bytes: what their clients had read when that last changed, and when it did. */
  const waiting = new WeakMap<Socket, { readonly takenBytes: number; readonly since: number }>();

  return {
    isStuck(socket) {
      if (socket.writableLength === 0) {
        waiting.delete(socket);
        return false;
      }
      const takenBytes = socket.bytesWritten - socket.writableLength;
      const before = waiting.get(socket);
      const now = clock.elapsed();
      if (before?.takenBytes === takenBytes) return now - before.since >= PATIENCE_MS;
      waiting.set(socket, { takenBytes, since: now });
      return false;
    },
  };
}
