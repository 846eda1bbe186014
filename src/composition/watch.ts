/** Looking at the events of one Weir. What it takes is loaded when somebody looks for the first time. */
import type { Clock } from '../runtime/clock.ts';
import type { Flusher } from '../pipeline/flusher.ts';
import type { OpenWatch } from '../watch/messages.ts';
import type { Intake } from './intake.ts';

/** `outlets`: what empties the channel of intake. One look at a time: the last one counts. */
export function watchOf(
  {
    intake,
    outlets,
  }: { readonly intake: Pick<Intake, 'watch' | 'channel'>; readonly outlets: readonly Pick<Flusher, 'held'>[] },
  { clock }: { readonly clock: Clock },
): OpenWatch {
  return async (report) => {
    const { startWatching } = await import('../watch/watching.ts');
    return startWatching({
      point: intake.watch,
      queued: intake.channel.queued,
      held: () => outlets.flatMap((outlet) => outlet.held()),
      clock,
      report,
    });
  };
}
