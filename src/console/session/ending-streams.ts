/** Answers that go on for hours end with the session that asked for them. */
import type { Clock } from '../../runtime/clock.ts';

/** How long a stream may outlive its session. */
const CHECK_MS = 30_000;

/** The same answer, cut once `isLive` says no. A reader that is slow is waited for, as before. */
export function endingWith(
  answer: Response,
  { isLive, clock }: { isLive: () => Promise<boolean>; clock: Pick<Clock, 'sleep'> },
): Response {
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
  const ended = new AbortController();
  const body = new ReadableStream<Uint8Array>(
    {
      start: (controller) => void watch(controller),
      async pull(controller) {
        const { done, value } = await reader.read();
        if (!done) return controller.enqueue(value);
        if (hasEnded()) return;
        ended.abort();
        controller.close();
      },
      cancel(reason) {
        ended.abort();
        return reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, answer);

  /** It may have while something was waited for: closing it twice would throw. */
  function hasEnded(): boolean {
    return ended.signal.aborted;
  }

  /** Never rejects. */
  async function watch(controller: ReadableStreamDefaultController<Uint8Array>) {
    while (!hasEnded()) {
      await clock.sleep(CHECK_MS, ended.signal);
      if (hasEnded() || (await isLive()) || hasEnded()) continue;
      ended.abort();
      controller.close();
      await reader.cancel().catch(() => {});
    }
  }
}

/** Whether the answer is one that goes on. */
export const goesOn = (answer: Response): boolean =>
  answer.body !== null && (answer.headers.get('Content-Type')?.startsWith('text/event-stream') ?? false);
