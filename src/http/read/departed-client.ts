import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../../runtime/clock.ts';

/** What is written to a closed connection comes back, and the next write then fails. */
const PROBE_MS = 500;

/**
 * Has the answer emit `close` when its client leaves before it begins. A connection that was closed looks like one whose
 * client only sends nothing more and waits for its answer. Writing tells them apart: an interim answer, which means
 * nothing to whoever is still there. HTTP/1.0 knows none, so there a client is taken to wait.
 */
export function watchForDeparture(
  { incoming, outgoing }: { incoming: IncomingMessage; outgoing: ServerResponse },
  clock: Clock,
): void {
  if (incoming.httpVersion !== '1.1') return;
  const { socket } = incoming;
  const over = new AbortController();
  const ask = () => void probe();
  outgoing.once('close', () => {
    over.abort();
    socket.off('end', ask);
  });
  if (socket.readableEnded) ask();
  else socket.once('end', ask);

  async function probe() {
    while (!over.signal.aborted && !outgoing.headersSent) {
      outgoing.writeContinue();
      await clock.sleep(PROBE_MS, over.signal);
    }
  }
}
