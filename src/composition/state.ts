/** State that all parts of the pipeline share: why requests are refused, what became of every event, and progress. */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import { type Breaker, type BreakerState, createBreaker } from '../pipeline/breaker.ts';
import { type Flags, createFlags } from '../pipeline/flags.ts';
import { type Ledger, createLedger } from '../pipeline/ledger.ts';
import { type ProgressWatch, createProgress } from '../pipeline/progress.ts';
import { createRejections, type Rejections } from '../pipeline/rejections.ts';

export type PipelineState = {
  readonly flags: Flags;
  readonly ledger: Ledger;
  readonly progress: ProgressWatch;
  readonly breaker: Breaker;
  readonly rejections: Rejections;
};

export function createPipelineState(
  { intake }: { intake: 'open' | 'disabled' | 'elsewhere' },
  { clock, log, random }: { clock: Clock; log: Log; random: () => number },
): PipelineState {
  const flags = createFlags({ intake }, (facts) => {
    log.info({ intake: facts.intake, unhomed: facts.unhomed }, 'flags changed');
  });
  const breaker = createBreaker({ clock, random, onChange: logChanges(log) });
  const rejections = createRejections(clock);
  return { flags, ledger: createLedger(), progress: createProgress({ clock }), breaker, rejections };
}

/** Logs when inserts are suspended, why, and when they resume; not every probe in between that failed. */
function logChanges(log: Log): (state: BreakerState) => void {
  let saidReason: BreakerState['reason'] = null;
  return ({ kind, reason }) => {
    const isNews = kind === 'closed' || (kind === 'open' && reason !== saidReason);
    if (isNews) saidReason = reason;
    log[isNews ? levelOf(kind, reason) : 'debug']({ breaker: kind, reason }, 'breaker changed');
  };
}

/** An open breaker is a warning; one that opened for schema or rights needs a person. */
function levelOf(kind: BreakerState['kind'], reason: BreakerState['reason']): 'info' | 'warn' | 'error' {
  if (kind === 'closed') return 'info';
  return reason === 'operator' ? 'error' : 'warn';
}
