/** The sum that closes: where everything is that was accepted. */
import type { Ledger } from '../../operator/answers.ts';
import { get } from '../parts/api.ts';
import { Problem, Status, Waiting } from '../parts/feedback.tsx';
import { useLoaded } from '../parts/load.ts';
import { grouped } from '../parts/words.ts';
import { Checks, wrongAmong } from './checks.tsx';

export function LedgerPanel() {
  const { value, error, reload } = useLoaded('ledger', (signal) => get<Ledger>('/ledger', {}, { signal }));
  return (
    <section class="panel" aria-label="Ledger">
      <h2>Where every accepted event is</h2>
      <Problem error={error} />
      {value === null && error === null && <Waiting what="Counting …" />}
      {value?.processes.map((counts) => (
        <Sum key={counts.url} counts={counts} />
      ))}
      {value && <Kept stores={value.stores} />}
      {value && <Checks checks={wrongAmong(value.checks)} />}
      <div class="buttons">
        <button type="button" onClick={reload}>
          Count again
        </button>
      </div>
    </section>
  );
}

/** What a process accepted since its start, and where that went. */
function Sum({ counts }: { counts: Ledger['processes'][number] }) {
  const { accepted, taken, stored, deadLettered, replicated, handedOver, pending } = counts;
  const hasTopic = taken + replicated + handedOver > 0;
  const isClosed = accepted + taken === stored + deadLettered + replicated + handedOver + pending;
  const places: [string, number][] = [
    ['stored', stored],
    ['dead-lettered', deadLettered],
    ...(hasTopic
      ? [['replicated', replicated] as [string, number], ['handed over', handedOver] as [string, number]]
      : []),
    ['pending', pending],
  ];
  return (
    <p class="sum">
      <span>
        <b>{grouped(accepted)}</b> accepted
      </span>
      {hasTopic && (
        <span>
          + <b>{grouped(taken)}</b> taken
        </span>
      )}
      {places.map(([name, count], place) => (
        <span key={name}>
          {place === 0 ? '=' : '+'} <b>{grouped(count)}</b> {name}
        </span>
      ))}
      <Status tone={isClosed ? 'good' : 'bad'}>{isClosed ? 'closes' : 'does not close'}</Status>
    </p>
  );
}

function Kept({ stores: { store, events, letters, balance } }: { stores: Ledger['stores'] }) {
  const facts: [string, number][] = [
    [`in ${store}`, events.distinctRows],
    ['waiting', letters.waiting.events + letters.replaying.events],
    ['quarantined', letters.quarantined.events],
    ['discarded by operators', balance.discarded],
  ];
  return (
    <p class="sum quiet">
      Kept of all times:
      {facts.map(([name, count]) => (
        <span key={name}>
          <b>{grouped(count)}</b> {name}
        </span>
      ))}
    </p>
  );
}
