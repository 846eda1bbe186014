/** One event and its way. */
import type { FoundEvent } from '../../watch/answers.ts';
import { Status, type Tone } from '../parts/feedback.tsx';
import { linkTo } from '../parts/route.ts';
import { instant } from '../parts/words.ts';

const PLACES: Readonly<Record<FoundEvent['place'], { tone: Tone; said: string }>> = {
  stored: { tone: 'good', said: 'stored' },
  'dead-letter': { tone: 'warn', said: 'not taken: it is a dead letter' },
  pending: { tone: 'calm', said: 'pending: accepted, and on its way' },
  replicated: { tone: 'calm', said: 'in the topic, on its way' },
  rejected: { tone: 'bad', said: 'rejected' },
  gone: { tone: 'bad', said: 'accepted, and in no place that was looked into' },
};

/** Whether its place does not change by itself. */
export const isSettled = ({ place }: FoundEvent): boolean => place === 'stored' || place === 'rejected';

export function Found({ event }: { event: FoundEvent }) {
  const { tone, said } = PLACES[event.place];
  const steps: [string, number | null][] = [
    ['accepted', event.place === 'rejected' ? null : event.acceptedAt],
    ['rejected', event.place === 'rejected' ? event.acceptedAt : null],
    ['in the journal', event.journaledAt],
    ['in a batch', event.batchedAt],
    ['not taken', event.letter?.createdAt ?? null],
    ['stored', event.storedAt],
  ];
  return (
    <article class="panel" aria-label={`Event ${event.id ?? ''}`}>
      <p>
        <Status tone={tone}>{said}</Status> {event.event !== null && <b>{event.event}</b>} <code>{event.id}</code>
      </p>
      <ol class="way">
        {steps
          .filter(([, at]) => at !== null)
          .map(([step, at]) => (
            <li key={step}>
              {step} <span class="quiet">{instant(at)} UTC</span>
            </li>
          ))}
      </ol>
      <dl class="facts">
        <Fact name="Project" value={event.projectId} />
        <Fact name="User" value={event.distinctId} />
        <Fact name="Door" value={event.source} />
        <Fact name="Request" value={event.requestId} />
        <Fact name="Batch" value={event.batchId} />
        <Fact name="Why" value={event.letter?.lastError ?? event.rejection?.reason ?? null} />
      </dl>
      {event.letter && (
        <a class="button" href={linkTo(['letters', 'letter', event.letter.id])}>
          Open its dead letter
        </a>
      )}
      {event.rejection && (
        <a class="button" href={linkTo(['rejected', event.rejection.id])}>
          Open the rejected event
        </a>
      )}
    </article>
  );
}

function Fact({ name, value }: { name: string; value: string | null }) {
  if (value === null) return null;
  return (
    <>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </>
  );
}
